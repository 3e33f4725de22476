"""Debian's mender-client (3.4, in Go) beside ours: the same devices, modules, scripts and Artifacts."""
