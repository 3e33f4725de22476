"""The commands for standalone updates: their arguments, output and exit codes."""
