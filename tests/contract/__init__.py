"""Tests that compare the dev server with recorded answers of a real server."""
