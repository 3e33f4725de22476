"""The management API, for the command line and the page.

It is specific to this server: JSON under ``/api/management/dev``, protected by a token. Uploads and the feed of the
page are streamed; all other requests are in the table of routes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

from aiohttp import web

from mender_client.errors import ServerError
from mender_devserver import artifacts, faults
from mender_devserver.browser import Guard
from mender_devserver.listener import read_body
from mender_devserver.live import LiveFeed
from mender_devserver.messages import BODY_LIMIT_BYTES, Reply, Request, error_reply, json_reply, load_object
from mender_devserver.pageview import View, matching
from mender_devserver.reasons import reason_of
from mender_devserver.settings import apply_settings, read_settings
from mender_devserver.state import ServerState
from mender_devserver.views import deployment_json, device_json, event_json

PREFIX = "/api/management/dev/"
_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Answer = Callable[["Call"], object]


class Call:
    """A parsed management request.

    Args:
        state: the server's state.
        name: the id in the path, if any.
        query: the query parameters.
        body: the JSON object in the body; empty if there is none.
    """

    def __init__(self, state: ServerState, name: str, query: Mapping[str, str], body: Mapping[str, Any]) -> None:
        self.state = state
        self.name = name
        self.query = query
        self.body = body

    def required(self, field: str, kind: type) -> Any:
        """A required field of the body.

        Raises:
            ServerError: 400.
        """
        value = self.body.get(field)
        if not isinstance(value, kind):
            raise ServerError(f"cannot find field '{field}' ({kind.__name__}) in the body", status=400)
        return value


class Management:
    """Answers management requests.

    Args:
        state: the server's state.
        guard: checks the authorisation of requests.
    """

    def __init__(self, state: ServerState, guard: Guard) -> None:
        self._state = state
        self._guard = guard
        self._live = LiveFeed(state)

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request from a socket."""
        path, _, query = raw.raw_path.partition("?")
        headers = {name.lower(): value for name, value in raw.headers.items()}
        request = Request(raw.method, unquote(path), query, headers)
        if raw.method == "PUT" and request.path == f"{PREFIX}artifacts":
            reply = await self._upload(raw, request)
        elif raw.method == "GET" and request.path == f"{PREFIX}live":
            return await self._feed(raw, request)
        else:
            body = await read_body(raw, BODY_LIMIT_BYTES)
            reply = self.answer(Request(raw.method, request.path, query, headers, body or b""))
        return _response(reply)

    def answer(self, request: Request) -> Reply:
        """Answer one request other than an upload."""
        try:
            self._guard.check(request)
            answer, name = _find(request)
            query = {field: values[0] for field, values in parse_qs(request.query).items()}
            body = load_object(request.body) if request.body else {}
            with self._state.lock:
                return json_reply(answer(Call(self._state, name, query, body)))
        except ServerError as error:
            return error_reply(error.status, str(error))

    async def _feed(self, raw: web.BaseRequest, request: Request) -> web.StreamResponse:
        try:
            self._guard.check(request)
        except ServerError as error:
            return _response(error_reply(error.status, str(error)))
        return await self._live.send(raw, View.of_query(request.query))

    async def _upload(self, raw: web.BaseRequest, request: Request) -> Reply:
        """Write the body to a file while it is received, so that a large file isn't held in memory."""
        part = self._state.artifacts.new_part()
        try:
            self._guard.check(request)
            with part.open("wb") as file:
                async for chunk in raw.content.iter_any():
                    file.write(chunk)
            artifact = await asyncio.to_thread(self._state.artifacts.keep, part)
            with self._state.lock:
                return json_reply(artifacts.as_json(self._state.artifacts.add(artifact)), 201)
        except ServerError as error:
            return error_reply(error.status, str(error))
        except OSError as error:
            return error_reply(500, f"cannot store the upload: {reason_of(error)}")
        finally:
            part.unlink(missing_ok=True)


def _response(reply: Reply) -> web.Response:
    content = reply.body if isinstance(reply.body, bytes) else b""
    return web.Response(status=reply.status, body=content, headers=dict(reply.headers))


# Handlers


def _devices(call: Call) -> object:
    """All devices; with a ``part``, that part of the devices that match the search."""
    view = View.of_query(urlencode(call.query))
    found = matching(call.state.devices, view)
    return [device_json(one) for one in (view.part("part", found)[0] if "part" in call.query else found)]


def _decommission(call: Call) -> object:
    return device_json(call.state.decommission(call.name))


def _preauthorize(call: Call) -> object:
    identity, public_key = call.required("identity", dict), call.required("public_key", str)
    return device_json(call.state.devices.preauthorize(identity, public_key))


def _deploy(call: Call) -> object:
    name, device_ids = call.required("artifact_name", str), call.body.get("device_ids")
    for one in device_ids or ():
        if not _ID.fullmatch(one):
            call.state.devices.get(one)  # otherwise a deployment for a mistyped id would never finish
    return deployment_json(call.state.deploy(name, device_ids, force=bool(call.body.get("force"))))


def _configuration(call: Call) -> object:
    device = call.state.devices.get(call.name)
    return {"configured": device.configured, "reported": device.reported}


def _save_configuration(call: Call) -> object:
    device = call.state.save_configuration(call.name, call.required("configuration", dict))
    return {"configured": device.configured, "reported": device.reported}


def _configure(call: Call) -> object:
    return deployment_json(call.state.configure(call.name, call.required("configuration", dict)))


def _log(call: Call) -> object:
    deployment = call.state.deployments.get(call.name)
    logs = {device_id: one for device_id, one in deployment.devices.items() if one.packed_log}
    if wanted := call.query.get("device"):
        device_id = call.state.devices.get(wanted).id
        if device_id not in logs:
            raise ServerError(f"cannot show the log: device {device_id} has sent none for this deployment", status=404)
        return logs[device_id].log
    if not logs:
        raise ServerError("cannot show the log: no device has sent one for this deployment", status=404)
    if len(logs) > 1:
        raise ServerError(f"cannot select a log: specify one of the devices {', '.join(logs)}", status=409)
    return next(iter(logs.values())).log


def _add_fault(call: Call) -> object:
    fault = faults.from_json(call.body)
    call.state.faults.add(fault)
    return faults.as_json(fault)


def _clear_faults(call: Call) -> object:
    call.state.faults.clear()
    return None


def _abort(call: Call) -> object:
    """As on the real server, a deployment that is finished can't be aborted."""
    deployment = call.state.deployments.get(call.name)
    if deployment.status == "finished":
        raise ServerError(f"cannot abort {deployment.id}: it is finished", status=422)
    return deployment_json(call.state.deployments.abort(call.name))


def _settings(call: Call) -> object:
    apply_settings(call.state, call.body)
    return read_settings(call.state)


def _events(call: Call) -> object:
    after = call.query.get("after", "0")
    if not after.isdecimal():
        raise ServerError("cannot list events: after must be a number", status=400)
    return [event_json(one) for one in call.state.activity.events(int(after))]


def _requests(call: Call) -> object:
    return [{**asdict(one), "time": one.time.isoformat()} for one in call.state.activity.exchanges()]


_ROUTES: tuple[tuple[str, str, Answer], ...] = (
    ("GET", "devices", _devices),
    ("POST", "devices", _preauthorize),
    ("POST", "devices/accept", lambda call: [device_json(one) for one in call.state.devices.accept_pending()]),
    ("POST", "devices/(.+)/accept", lambda call: device_json(call.state.devices.accept(call.name))),
    ("POST", "devices/(.+)/reject", lambda call: device_json(call.state.devices.reject(call.name))),
    ("POST", "devices/(.+)/decommission", _decommission),
    ("GET", "devices/(.+)/configuration", _configuration),
    ("PUT", "devices/(.+)/configuration", _save_configuration),
    ("POST", "devices/(.+)/configuration", _configure),
    ("GET", "devices/(.+)/inventory", lambda call: call.state.devices.get(call.name).inventory),
    ("GET", "artifacts", lambda call: [artifacts.as_json(one) for one in call.state.artifacts]),
    ("DELETE", "artifacts/(.+)", lambda call: artifacts.as_json(call.state.artifacts.delete(call.name))),
    ("GET", "deployments", lambda call: [deployment_json(one) for one in call.state.deployments]),
    ("POST", "deployments", _deploy),
    ("GET", "deployments/([^/]+)", lambda call: deployment_json(call.state.deployments.get(call.name))),
    ("POST", "deployments/(.+)/abort", _abort),
    ("GET", "deployments/(.+)/log", _log),
    ("GET", "faults", lambda call: [faults.as_json(one) for one in call.state.faults.listed()]),
    ("POST", "faults", _add_fault),
    ("DELETE", "faults", _clear_faults),
    ("GET", "settings", lambda call: read_settings(call.state)),
    ("PATCH", "settings", _settings),
    ("GET", "events", _events),
    ("GET", "requests", _requests),
)


def _find(request: Request) -> tuple[Answer, str]:
    path = request.path.removeprefix(PREFIX)
    for method, pattern, answer in _ROUTES:
        match = re.fullmatch(pattern, path)
        if match and method == request.method:
            return answer, match.group(1) if match.groups() else ""
    raise ServerError(f"cannot find {request.method} {request.path}", status=404)
