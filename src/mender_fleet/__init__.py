"""A simulated fleet: devices under Locust, to test how a server copes with a fleet before it is deployed.

Each device is the real client; only its disk and the installation are simulated. ``mender-fleet`` runs Locust with the
user classes in ``mender_fleet.users``; your own ``locustfile.py`` can import and subclass them.
"""
