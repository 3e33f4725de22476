"""Tests of the installers: real modules, real FIFOs."""
