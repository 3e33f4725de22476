"""As what the server accepted this device, and what it means when the device is about to ask as something else.

The server takes another identity for another device, and another key for a new key of the same device (protocol:
Authentication). Both wait, unseen, until somebody accepts them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from .devicekey import fingerprint
from .model import Identity


@dataclass(frozen=True, slots=True)
class AcceptedIdentity:
    """What a device asks as.

    Attributes:
        identity: SHA-256 of the identity as it is sent, in hexadecimal.
        key: the fingerprint of the public key.
        key_location: where the private key is, for people.
    """

    identity: str
    key: str
    key_location: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that this client made after the server had accepted the device.

    Attributes:
        key: its fingerprint.
        is_forced: somebody asked for it, by ``--forcebootstrap``; else there was none.
    """

    key: str
    is_forced: bool


def accepted_identity(identity: Identity, public_key_pem: str, key_location: str) -> AcceptedIdentity:
    """What a request with this identity and this key asks as."""
    return AcceptedIdentity(_digest(identity.id_data), fingerprint(public_key_pem), key_location)


def explain_change(
    accepted: AcceptedIdentity | None, now: AcceptedIdentity, identity: Identity, new_key: NewKey | None
) -> str:
    """Say what differs from what the server accepted last, why, what it means and what to do.

    Args:
        accepted: what the server accepted last, None when that isn't known.
        now: what is asked as next.
        identity: the identity in it.
        new_key: the key that this client made last.

    Returns:
        One sentence for each difference; empty when there is none.
    """
    if accepted is None:
        return ""
    parts = []
    if now.identity != accepted.identity:
        cause, remedy = _identity_cause(accepted.identity, identity)
        parts.append(
            f"the identity differs from the one that the server accepted (SHA-256 {accepted.identity}, now "
            f"{now.identity}): {cause}; the server takes this for another device, which waits until somebody accepts "
            f"it; {remedy}"
        )
    if now.key != accepted.key:
        cause, remedy = _key_cause(accepted, now, new_key)
        parts.append(
            f"the device key differs from the one that the server accepted (SHA-256 {accepted.key}, now {now.key}): "
            f"{cause}; the device waits until somebody accepts the new key; {remedy}"
        )
    return "; ".join(parts)


def _identity_cause(accepted: str, identity: Identity) -> tuple[str, str]:
    plain, listed = _both_forms(identity)
    for form, text in (("plain", plain), ("list", listed)):
        if accepted == _digest(text):
            return "IdentityFormat was changed", f'to stay the same device, set IdentityFormat to "{form}"'
    return (
        "the identity script prints something else",
        "to stay the same device, make the identity script print what it printed before",
    )


def _both_forms(identity: Identity) -> tuple[str, str]:
    """The identity with single values written plainly, and as lists."""
    attributes = json.loads(identity.id_data)
    lists = {key: value if isinstance(value, list) else [value] for key, value in attributes.items()}
    plain = {key: values[0] if len(values) == 1 else values for key, values in lists.items()}
    return Identity.from_attributes(plain).id_data, Identity.from_attributes(lists).id_data


def _key_cause(accepted: AcceptedIdentity, now: AcceptedIdentity, new_key: NewKey | None) -> tuple[str, str]:
    accept = "accept it on the server"
    if new_key is not None and new_key.key == now.key:
        if new_key.is_forced:
            return "--forcebootstrap made a new one", accept
        return f"{now.key_location} was missing, so a new one was made", f"{accept}, or put the former file back"
    if now.key_location != accepted.key_location:
        return (
            f"the configuration names another key, {now.key_location} in the place of {accepted.key_location} "
            "(Security.AuthPrivateKey)",
            f"{accept}, or set Security.AuthPrivateKey back",
        )
    return f"{now.key_location} was replaced", f"{accept}, or put the former key back"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
