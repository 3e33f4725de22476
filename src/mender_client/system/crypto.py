"""Chooses the crypto back end."""

from __future__ import annotations

import importlib.util
from functools import cache

from .backend import Backend


@cache
def choose_backend() -> Backend:
    """``cryptography`` if it is installed, else the ``openssl`` program; cached, as there may be many keys."""
    if importlib.util.find_spec("cryptography"):
        from .cryptolib import CryptographyBackend

        return CryptographyBackend()
    from .openssl import OpensslBackend

    return OpensslBackend()
