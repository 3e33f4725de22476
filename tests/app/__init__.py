"""Tests of the program: configuration and command line."""
