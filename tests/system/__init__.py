"""Tests of the system package: network, disk, processes and time."""
