"""A fleet that isn't there: simulated devices under Locust, to see what they will do to a server before they exist.

Each device is the real client; only its disk and the installation are simulated. ``mender-fleet`` runs Locust with the
user classes in ``mender_fleet.users``; a ``locustfile.py`` of your own can import and subclass them.
"""
