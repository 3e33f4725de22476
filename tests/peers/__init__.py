"""Debian's mender-client (3.4, in Go) compared with ours: the same devices, modules, scripts and Artifacts."""
