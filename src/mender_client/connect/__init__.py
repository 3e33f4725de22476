"""Device connect: remote terminal, file transfer, port forwarding and requests from the server, in a separate process.

``protocol`` implements the protocols without I/O; the modules here provide it with terminals, files and sockets.
"""
