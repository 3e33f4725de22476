"""The soak test: devices, faults at every level, hundreds of deployments, and a table of their results."""
