"""The daemon with a real update module and real state scripts, row by row as the installer contract has it."""
