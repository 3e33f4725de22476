"""Tests of ``dbus``, with real buses and add-ons."""
