"""Tests of the devices that are not there."""
