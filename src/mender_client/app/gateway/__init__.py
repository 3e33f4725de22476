"""The gateway: many devices in one process, each of which is a separate device on the server."""
