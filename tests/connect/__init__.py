"""Tests of device connect."""
