"""Domain logic: Mender's API and formats, updates and Artifacts.

Pure: no os, socket, time, subprocess, open or logging here (a test holds this). Bytes and plain values come
in, frozen values or one of our errors come out, so every rule can be tested without I/O.
"""
