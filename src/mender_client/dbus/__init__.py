"""Shares the authorisation of this device with third-party add-ons over D-Bus, like the C++ client.

It uses the event loop of ``connect``. The daemon doesn't load it.
"""
