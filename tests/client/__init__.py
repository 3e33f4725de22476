"""The workflow, tested in the in-memory world."""
