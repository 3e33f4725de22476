"""The device API of a Mender server: builds requests and parses replies, one module for each service."""
