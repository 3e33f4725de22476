"""Gives third-party add-ons the authorisation of this device, over D-Bus as the C++ client does.

The loop is that of ``connect``. The daemon loads nothing of it.
"""
