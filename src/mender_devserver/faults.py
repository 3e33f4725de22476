"""Faults that can be injected, as they occur in a server, a gateway or a network.

A fault defines which requests it applies to, how often, and what happens to them; it can combine several effects. Only
the first fault in the list that matches a request is applied to it.

=================  =========================================================================================
effect             fault
=================  =========================================================================================
gateway down       ``Fault(status=502, body="Bad Gateway")``
too many requests  ``Fault(status=429, headers={"Retry-After": "2"})``
redirect           ``Fault(kind="artifact", status=302, headers={"Location": "https://…"})``
broken JSON        ``Fault(kind="next", body="{")``, an empty body ``Fault(kind="next", body="")``
cut download       ``Fault(kind="artifact", drop_after_bytes=5000)``; with ``reset=True`` by a TCP reset
lost reply         ``Fault(kind="status", drop_after_bytes=0)``: the request is carried out
stalled download   ``Fault(kind="artifact", stall_after_bytes=5000, stall_seconds=60)``
slow download      ``Fault(kind="artifact", bytes_per_second=2000, times=None)``
other object       ``Fault(kind="artifact", etag='"other"')``
=================  =========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from mender_client.errors import ServerError

Kind = Literal["any", "auth", "inventory", "next", "status", "log", "configuration", "artifact", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Args:
        kind: the kind of request it applies to; ``any`` means all except management requests.
        times: the number of requests to apply it to; ``None`` for all from now on.
        after: the number of matching requests to let through first.
        delay_seconds: delay before the reply.
        status: reply with this status; the request is **not** processed, as if a gateway had replied.
        headers: headers of the reply; they replace the server's own.
        body: body of the reply; without ``status`` the request is processed and only the reply is changed.
        drop_after_bytes: close the connection after this many bytes of the body; the request is processed. 0 closes
            it before the status line.
        reset: close with a TCP reset instead; without ``drop_after_bytes``, before the status line.
        stall_after_bytes: stop sending after this many bytes of the body …
        stall_seconds: … for this long, then continue.
        bytes_per_second: the rate limit of the body.
        ignore_range: reply to a Range request with 200 and the whole object.
        etag: the ETag to send.
        content_range: the Content-Range to send in a 206.
        expired: reply as if the link had expired.
    """

    kind: Kind = "any"
    times: int | None = 1
    after: int = 0
    delay_seconds: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | None = None
    drop_after_bytes: int | None = None
    reset: bool = False
    stall_after_bytes: int | None = None
    stall_seconds: float = 3600.0
    bytes_per_second: float | None = None
    ignore_range: bool = False
    etag: str | None = None
    content_range: str | None = None
    expired: bool = False

    def __post_init__(self) -> None:
        """Refuse what would have no effect, or an effect other than its name says."""
        if self.kind not in get_args(Kind):
            choice = ", ".join(get_args(Kind))
            raise ServerError(f"cannot use fault kind '{self.kind}': choose from {choice}", status=400)
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                text = f"cannot use {value} for fault field '{name}': it must be from {least} to {most}"
                raise ServerError(text, status=400)
        for name, text in self.headers.items():
            if not name or not f"{name}{text}".isprintable():
                raise ServerError(f"cannot use {name!r}: {text!r} as a header: it is not printable", status=400)

    @property
    def body_bytes(self) -> bytes | None:
        """The body as bytes, if the fault has one."""
        return self.body.encode() if isinstance(self.body, str) else self.body


class Faults:
    """The remaining faults, in the order in which they were added.

    Args:
        emit: where events go.
    """

    def __init__(self, emit: Callable[..., None]) -> None:
        self._faults: list[Fault] = []
        self._emit = emit

    def add(self, fault: Fault) -> None:
        """Append a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def listed(self) -> list[Fault]:
        """The remaining faults; ``times`` and ``after`` count down."""
        return list(self._faults)

    def take(self, kind: str) -> Fault | None:
        """Return the fault for a request of this kind and count it as used once; ``None`` if there is none."""
        for place, fault in enumerate(self._faults):
            if fault.kind not in (kind, "any"):
                continue
            if fault.after:
                self._faults[place] = replace(fault, after=fault.after - 1)
                continue
            if fault.times is not None:
                self._spend(place, fault)
            self._emit("fault", kind=kind, fault=as_json(fault))
            return fault
        return None

    def _spend(self, place: int, fault: Fault) -> None:
        left = (fault.times or 0) - 1
        if left > 0:
            self._faults[place] = replace(fault, times=left)
        else:
            del self._faults[place]


def as_json(fault: Fault) -> dict[str, Any]:
    """The fields of a fault that differ from their defaults, as JSON values."""
    shown = {}
    for one in fields(fault):
        value = getattr(fault, one.name)
        if one.name == "kind" or value != _PLAIN[one.name]:
            shown[one.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return shown


def from_json(given: Mapping[str, Any]) -> Fault:
    """Make a fault from JSON values.

    Raises:
        ServerError: 400, naming the invalid field.
    """
    for name, value in given.items():
        kinds = _KINDS_OF_VALUES.get(name)
        if kinds is None:
            choice = ", ".join(_KINDS_OF_VALUES)
            raise ServerError(f"cannot use fault field '{name}': choose from {choice}", status=400)
        is_fit = isinstance(value, kinds) and isinstance(value, bool) is (bool in kinds)
        if not is_fit or (isinstance(value, dict) and not all(isinstance(text, str) for text in value.values())):
            raise ServerError(f"cannot use {value!r} for fault field '{name}'", status=400)
    return Fault(**given)


_MOST = 10**12
_RANGES: dict[str, tuple[int, int]] = {
    "times": (1, _MOST),
    "after": (0, _MOST),
    "delay_seconds": (0, _MOST),
    "status": (200, 599),
    "drop_after_bytes": (0, _MOST),
    "stall_after_bytes": (0, _MOST),
    "stall_seconds": (0, _MOST),
    "bytes_per_second": (1, _MOST),
}
_PLAIN = {one.name: getattr(Fault(), one.name) for one in fields(Fault)}
_NONE = type(None)
_KINDS_OF_VALUES: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "times": (int, _NONE),
    "after": (int,),
    "delay_seconds": (int, float),
    "status": (int, _NONE),
    "headers": (dict,),
    "body": (str, _NONE),
    "drop_after_bytes": (int, _NONE),
    "reset": (bool,),
    "stall_after_bytes": (int, _NONE),
    "stall_seconds": (int, float),
    "bytes_per_second": (int, float, _NONE),
    "ignore_range": (bool,),
    "etag": (str, _NONE),
    "content_range": (str, _NONE),
    "expired": (bool,),
}
