"""``setup``: from nothing, or from another client of the field, to a client that runs."""
