"""The shells that the modules must run in."""

from __future__ import annotations

from support.conftest import shell

__all__ = ["shell"]
