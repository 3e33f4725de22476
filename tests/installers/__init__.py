"""Tests of the ways to install: real modules, real FIFOs."""
