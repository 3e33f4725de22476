"""Every single-entry change of the state tables, and whether a test notices."""
