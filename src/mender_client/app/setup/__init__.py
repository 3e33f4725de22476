"""``setup``: sets up the client on a new device, or on one that has run another Mender client."""
