"""The client as a part of another program: what ``mender_client`` exports of it."""
