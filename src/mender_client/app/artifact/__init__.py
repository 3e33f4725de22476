"""``artifact …``: show, verify, create and sign Artifact files, without a server.

Its modules are imported only when they are needed, to save memory.
"""
