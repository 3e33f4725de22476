"""The program: the only package that deals with arguments, environment, signals, standard output and exit codes.

It reads the configuration, assembles the other packages into a client and runs it.
"""
