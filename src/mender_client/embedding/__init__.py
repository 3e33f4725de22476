"""The client embedded in another program; ``mender_client`` exports its public names."""
