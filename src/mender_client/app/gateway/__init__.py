"""The gateway: many devices in one process, each of which is a device of its own on the server."""
