"""Chooses the crypto back end."""

from __future__ import annotations

import importlib.util

from .backend import Backend


def choose_backend() -> Backend:
    """``cryptography`` if it is installed, else the ``openssl`` program."""
    if importlib.util.find_spec("cryptography"):
        from .cryptolib import CryptographyBackend

        return CryptographyBackend()
    from .openssl import OpensslBackend

    return OpensslBackend()
