"""The device management API under the paths of the real server, as far as a program that accepts devices needs it.

The replies follow the public API description, not a recording of a real server; the error messages are our own.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

from aiohttp import web

from mender_client.errors import ServerError
from mender_devserver.browser import Guard
from mender_devserver.devices import AuthSet, KnownDevice
from mender_devserver.listener import read_body
from mender_devserver.messages import BODY_LIMIT_BYTES, Reply, Request, error_reply, json_reply, load_object
from mender_devserver.state import ServerState
from mender_devserver.views import stamp

PREFIX = "/api/management/v2/devauth/"
_DEVICES = f"{PREFIX}devices"
_PATH = re.compile(re.escape(_DEVICES) + "(?:/(?P<device>[^/]+)(?:/auth/(?P<auth_set>[^/]+)/status)?)?")
_STATES = ("pending", "accepted", "rejected", "preauthorized", "noauth")
_PAGE_LENGTH, _LONGEST_PAGE = 20, 500


class DeviceManagement:
    """Answers requests about devices.

    Args:
        state: the server's state.
        guard: checks the authorisation of requests.
    """

    def __init__(self, state: ServerState, guard: Guard) -> None:
        self._devices = state.devices
        self._lock = state.lock
        self._guard = guard

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request from a socket."""
        path, _, query = raw.raw_path.partition("?")
        headers = {name.lower(): value for name, value in raw.headers.items()}
        body = await read_body(raw, BODY_LIMIT_BYTES)
        reply = self.answer(Request(raw.method, unquote(path), query, headers, body or b""))
        return web.Response(status=reply.status, body=reply.body, headers=dict(reply.headers))

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        request_id = request.headers.get("x-men-requestid") or str(uuid.uuid4())
        try:
            self._guard.check(request)
            with self._lock:
                return self._answer(request)
        except ServerError as error:
            return error_reply(error.status, str(error), request_id)

    def _answer(self, request: Request) -> Reply:
        match = _PATH.fullmatch(request.path)
        if match is None:
            raise ServerError("not found", status=404)
        answers = {
            ("GET", False, False): self._list,
            ("POST", False, False): self._preauthorize,
            ("GET", True, False): self._show,
            ("PUT", True, True): self._decide,
        }
        place = (request.method, match["device"] is not None, match["auth_set"] is not None)
        if (answer := answers.get(place)) is None:
            raise ServerError("method not allowed", status=405)
        return answer(request, match.groupdict())

    def _list(self, request: Request, _: Mapping[str, str]) -> Reply:
        query = parse_qs(request.query)
        page, length = _number(query, "page", 1), _number(query, "per_page", _PAGE_LENGTH, _LONGEST_PAGE)
        status, ids = query.get("status", [""])[0], query.get("id", [])
        if status and status not in _STATES:
            raise ServerError(f"status must be one of: {', '.join(_STATES)}", status=400)
        found = [one for one in self._devices if status in ("", one.status) and (not ids or one.id in ids)]
        start = (page - 1) * length
        links = {"prev": page - 1, "next": page + 1 if len(found) > start + length else 0, "first": 1}
        other = {name: value for name, value in (("status", status), ("id", ids)) if value}
        header = ", ".join(
            f'<{_DEVICES}?{urlencode({"page": number, "per_page": length, **other}, doseq=True)}>; rel="{name}"'
            for name, number in links.items()
            if number
        )
        return json_reply([_device_json(one) for one in found[start : start + length]], headers={"Link": header})

    def _preauthorize(self, request: Request, _: Mapping[str, str]) -> Reply:
        body = load_object(request.body, "failed to decode preauth request: ")
        identity, public_key = body.get("identity_data"), body.get("pubkey")
        if not isinstance(identity, dict) or not identity or not isinstance(public_key, str):
            raise ServerError("identity_data: cannot be blank; pubkey: cannot be blank.", status=400)
        if (known := self._devices.of_identity(identity)) is not None:
            return json_reply(_device_json(known), 409)
        made = self._devices.preauthorize(identity, public_key)
        return Reply(201, headers={"Location": f"devices/{made.id}"})

    def _show(self, _: Request, path: Mapping[str, str]) -> Reply:
        return json_reply(_device_json(self._device(path)))

    def _decide(self, request: Request, path: Mapping[str, str]) -> Reply:
        device = self._device(path)
        if all(one.id != path["auth_set"] for one in device.auth_sets):
            raise ServerError("authorization set not found", status=404)
        status = load_object(request.body, "failed to decode status data: ").get("status")
        decisions = {"accepted": self._devices.accept, "rejected": self._devices.reject}
        if status not in decisions:
            raise ServerError("incorrect device status", status=400)
        decisions[status](device.id, path["auth_set"])
        return Reply(204)

    def _device(self, path: Mapping[str, str]) -> KnownDevice:
        device = self._devices.exact(path["device"])
        if device is None:
            raise ServerError("device not found", status=404)
        return device


def _number(query: Mapping[str, list[str]], name: str, default: int, most: int | None = None) -> int:
    text = query.get(name, [str(default)])[0]
    number = int(text) if text.isdecimal() and len(text) < 10 else 0
    if number < 1 or (most is not None and number > most):
        raise ServerError(f"invalid {name} query: '{text}'", status=400)
    return number


def _device_json(device: KnownDevice) -> dict[str, Any]:
    return {
        "id": device.id,
        "identity_data": device.identity,
        "status": device.status,
        "created_ts": stamp(device.created),
        "updated_ts": stamp(device.auth_sets[-1].created),
        "auth_sets": [_auth_set_json(device, one) for one in device.auth_sets],
        "decommissioning": False,
    }


def _auth_set_json(device: KnownDevice, auth_set: AuthSet) -> dict[str, Any]:
    return {
        "id": auth_set.id,
        "pubkey": auth_set.public_key,
        "identity_data": device.identity,
        "status": auth_set.status,
        "ts": stamp(auth_set.created),
    }
