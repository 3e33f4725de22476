"""I/O adapters: the only code that touches network, disk, processes and time.

Everything here implements a protocol from ``core.ports`` or is used by ``app``. Exceptions of other libraries are
translated here into the client's own errors, which name the file or host and the next step.
"""
