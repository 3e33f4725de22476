"""Knowledge: what is true about Mender, and nothing else.

Pure: no os, socket, time, subprocess, open or logging here (a test holds this). Bytes and plain values come
in, frozen values or one of our errors come out, so every rule can be tested without a world around it.
"""
