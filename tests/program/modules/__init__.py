"""The daemon with a real update module and real state scripts, row by row of the installer contract."""
