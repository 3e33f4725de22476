"""``artifact …``: look into Artifact files, verify, make and sign them, without a server.

Nothing in this directory is loaded unless one of these commands is given.
"""
