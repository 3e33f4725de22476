"""``artifact …``: show, verify, make and sign Artifact files, without a server.

Nothing in this directory is loaded unless one of these commands is given.
"""
