"""The identity and key that the server accepted, and what it means if the device is about to present others.

To the server, another identity is another device, and another key is a new authentication set of the same device
(protocol: Authentication). Both are pending until somebody accepts them.
"""

from __future__ import annotations

import hashlib
import json
import re

from mender_client.errors import Diagnostic

from .devicekey import fingerprint
from .model import AcceptedIdentity, Identity, NewKey

_NO_ADDRESS = re.compile(r"(00|[fF]{2})([:.-]?\1){5}", re.ASCII)


def accepted_identity(identity: Identity, public_key_pem: str, key_location: str) -> AcceptedIdentity:
    """The identity and key of an authentication request, as they are stored."""
    return AcceptedIdentity(_digest(identity.id_data), fingerprint(public_key_pem), key_location)


def has_real_value(identity: Identity) -> bool:
    """Whether any value identifies the device: not empty, and not the address of an interface that isn't up yet."""
    entries = json.loads(identity.id_data).values()
    values = [str(value).strip() for entry in entries for value in (entry if isinstance(entry, list) else [entry])]
    return any(value and not _NO_ADDRESS.fullmatch(value) for value in values)


def explain_change(
    accepted: AcceptedIdentity | None, now: AcceptedIdentity, identity: Identity, new_key: NewKey | None
) -> tuple[Diagnostic, ...]:
    """A message for each difference from what the server accepted last: the cause, what it means and what to do.

    Args:
        accepted: what the server accepted last; None if unknown.
        now: what the device is about to authenticate with.
        identity: the identity of ``now``.
        new_key: the key that this client generated last.
    """
    if accepted is None:
        return ()
    found = []
    if now.identity != accepted.identity:
        cause, remedy = _identity_cause(accepted.identity, identity)
        found.append(
            Diagnostic(
                "IDN11",
                f"the identity differs from the one that the server accepted (SHA-256 {accepted.identity}, now "
                f"{now.identity}): {cause}; to the server this is another device, pending acceptance",
                remedy,
            )
        )
    if now.key != accepted.key:
        cause, remedy = _key_cause(accepted, now, new_key)
        found.append(
            Diagnostic(
                "IDN12",
                f"the device key differs from the one that the server accepted (SHA-256 {accepted.key}, now "
                f"{now.key}): {cause}; the device is pending acceptance of the new key",
                remedy,
            )
        )
    return tuple(found)


def _identity_cause(accepted: str, identity: Identity) -> tuple[str, str]:
    plain, listed = _both_forms(identity)
    for form, text in (("plain", plain), ("list", listed)):
        if accepted == _digest(text):
            return "IdentityFormat was changed", f'to remain the same device, set IdentityFormat to "{form}"'
    return (
        "the output of the identity script has changed",
        "to remain the same device, make the identity script print what it printed before",
    )


def _both_forms(identity: Identity) -> tuple[str, str]:
    """The identity with single values as strings, and as lists."""
    attributes = json.loads(identity.id_data)
    lists = {key: value if isinstance(value, list) else [value] for key, value in attributes.items()}
    plain = {key: values[0] if len(values) == 1 else values for key, values in lists.items()}
    return Identity.from_attributes(plain).id_data, Identity.from_attributes(lists).id_data


def _key_cause(accepted: AcceptedIdentity, now: AcceptedIdentity, new_key: NewKey | None) -> tuple[str, str]:
    accept = "accept it on the server"
    if new_key is not None and new_key.key == now.key:
        if new_key.is_forced:
            return "--forcebootstrap has generated a new one", accept
        return f"{now.key_location} was missing, so a new one was made", f"{accept}, or restore the former file"
    if now.key_location != accepted.key_location:
        return (
            f"the configuration names another key, {now.key_location} instead of {accepted.key_location} "
            "(Security.AuthPrivateKey)",
            f"{accept}, or restore Security.AuthPrivateKey",
        )
    return f"{now.key_location} was replaced", f"{accept}, or restore the former key"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
