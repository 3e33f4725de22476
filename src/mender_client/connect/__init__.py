"""Device connect: terminals, files, ports and requests from the server, in a process of its own beside the daemon.

``protocol`` holds what is said and when, without I/O; the modules here give it terminals, files and sockets.
"""
