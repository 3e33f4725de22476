"""The soak: devices, faults at every level, hundreds of deployments, and a table of what became of them."""
