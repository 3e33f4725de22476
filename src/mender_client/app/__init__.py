"""The program: the only room that knows arguments, environment, signals, standard output and exit codes.

It reads the configuration, assembles the other rooms into a client and runs it. Nothing imports from here.
"""
