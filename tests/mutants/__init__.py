"""Every single-entry change to the state tables, and whether a test detects it."""
