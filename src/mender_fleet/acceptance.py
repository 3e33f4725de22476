"""Preauthorizes devices by the management API of a server."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

from mender_client.core.wire.messages import Request
from mender_client.errors import ServerError
from mender_client.system.http import HttpTransport
from mender_client.system.tls import TlsSettings
from mender_devserver.contact import Contact, load_contact

_DEVICES = "/api/management/v2/devauth/devices"
_KNOWN = 409


class Preauthorization:
    """Preauthorizes devices; one that is known already is left as it is.

    Args:
        post: sends identity and public key, and returns the status.
    """

    def __init__(self, post: Callable[[Mapping[str, str], str], int]) -> None:
        self._post = post

    def add(self, identity: Mapping[str, str], public_key_pem: str) -> None:
        """Preauthorize a device.

        Raises:
            ServerError: the server refuses it.
            NetworkError: there is no reply.
        """
        status = self._post(identity, public_key_pem)
        if status >= 300 and status != _KNOWN:
            raise ServerError(f"cannot preauthorize {identity}: the server answered {status}", status=status)

    @classmethod
    def of_options(cls, options: Namespace, host: str) -> Preauthorization:
        """As the command line says: a dev server's, or by a token of the management API.

        Raises:
            OSError: the token can't be read.
            MenderError: there is no dev server in the directory.
        """
        if options.devserver:
            return cls(_by_devserver(load_contact(Path(options.devserver))))
        token = Path(options.management_token_file).read_text().strip()
        return cls(_by_management(host, token, options.certificate))


def _by_devserver(contact: Contact) -> Callable[[Mapping[str, str], str], int]:
    def post(identity: Mapping[str, str], public_key_pem: str) -> int:
        try:
            contact.call("POST", "/devices", {"identity": dict(identity), "public_key": public_key_pem})
        except ServerError as error:
            return error.status
        return 201

    return post


def _by_management(host: str, token: str, certificate: str) -> Callable[[Mapping[str, str], str], int]:
    transport = HttpTransport(
        tls=TlsSettings(ca_file=Path(certificate) if certificate else None), user_agent="mender-fleet"
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def post(identity: Mapping[str, str], public_key_pem: str) -> int:
        body = json.dumps({"identity_data": dict(identity), "pubkey": public_key_pem}).encode()
        return transport.send(Request("POST", host.rstrip("/") + _DEVICES, headers, body)).status

    return post
