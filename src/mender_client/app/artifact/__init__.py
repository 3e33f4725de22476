"""``artifact …``: look into Artifact files, prove, make and sign them, without a server.

Nothing in this folder is loaded unless one of these commands is given.
"""
