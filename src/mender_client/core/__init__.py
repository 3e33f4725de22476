"""Domain logic: Mender's API and formats, updates and Artifacts.

This package is pure: it doesn't use os, socket, time, subprocess, open or logging (a test enforces this). It takes
bytes and plain values, and returns frozen values or raises one of our errors, so every rule can be tested without I/O.
"""
