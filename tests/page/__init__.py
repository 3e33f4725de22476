"""Tests of the dev server's page in a real browser."""
