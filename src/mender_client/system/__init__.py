"""I/O adapters: the only code that touches network, disk, processes and time.

Everything here implements a protocol of ``core.ports`` or serves ``app``. Foreign exceptions end here: what leaves is
one of our errors, with the name of the file or host and the next step.
"""
