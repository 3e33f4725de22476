"""Tests of the hands: network, disk, processes and time."""
