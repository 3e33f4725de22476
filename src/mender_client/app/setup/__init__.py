"""``setup``: from nothing, or from another Mender client, to a client that runs."""
