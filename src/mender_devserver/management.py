"""The management API: what the command line and the page ask of the server.

It is this server's own, JSON in and out, under ``/api/management/dev``, opened by a token. One table of routes; an
upload and the feed of a page are the two things that are streamed.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs, unquote

from aiohttp import web

from mender_client.errors import ServerError
from mender_devserver import artifacts, faults
from mender_devserver.browser import check_browser
from mender_devserver.listener import read_body
from mender_devserver.live import Live
from mender_devserver.messages import BODY_LIMIT_BYTES, Reply, Request, error_reply, json_reply, load_object
from mender_devserver.settings import apply_settings, read_settings
from mender_devserver.state import World
from mender_devserver.views import deployment_json, device_json, event_json

PREFIX = "/api/management/dev/"

Answer = Callable[["Call"], object]


class Call:
    """One request to the management, taken apart.

    Args:
        world: the server's state.
        name: what the path names, if it does: an id.
        query: the fields of the query.
        body: the JSON object of the body, empty without one.
    """

    def __init__(self, world: World, name: str, query: Mapping[str, str], body: Mapping[str, Any]) -> None:
        self.world = world
        self.name = name
        self.query = query
        self.body = body

    def required(self, field: str, kind: type) -> Any:
        """A field of the body that must be there.

        Raises:
            ServerError: 400.
        """
        value = self.body.get(field)
        if not isinstance(value, kind):
            raise ServerError(f"cannot go on without field '{field}' ({kind.__name__}) in the body", status=400)
        return value


class Management:
    """Answers the management's requests.

    Args:
        world: the server's state.
        token: what opens it.
        host: the name or address that the server listens on.
    """

    def __init__(self, world: World, token: str, host: str) -> None:
        self._world = world
        self._token = token
        self._host = host
        self._live = Live(world)

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
            self._check(request)
            answer, name = _find(request)
            query = {field: values[0] for field, values in parse_qs(request.query).items()}
            body = load_object(request.body) if request.body else {}
            with self._world.lock:
                return json_reply(answer(Call(self._world, name, query, body)))
        except ServerError as error:
            return error_reply(error.status, str(error))

    def _check(self, request: Request) -> None:
        check_browser(request, self._host)
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise ServerError("cannot open the management: the token is missing or wrong", status=401)

    async def _feed(self, raw: web.BaseRequest, request: Request) -> web.StreamResponse:
        try:
            self._check(request)
        except ServerError as error:
            return _response(error_reply(error.status, str(error)))
        return await self._live.send(raw)

    async def _upload(self, raw: web.BaseRequest, request: Request) -> Reply:
        """Write the body to a file as it comes; a file of several GiB needs no memory."""
        part = self._world.artifacts.new_part()
        try:
            self._check(request)
            with part.open("wb") as file:
                async for chunk in raw.content.iter_any():
                    file.write(chunk)
            artifact = await asyncio.to_thread(self._world.artifacts.keep, part)
            with self._world.lock:
                return json_reply(artifacts.as_json(self._world.artifacts.add(artifact)), 201)
        except ServerError as error:
            return error_reply(error.status, str(error))
        except OSError as error:
            return error_reply(500, f"cannot store the upload: {error}")
        finally:
            part.unlink(missing_ok=True)


def _response(reply: Reply) -> web.Response:
    content = reply.body if isinstance(reply.body, bytes) else b""
    return web.Response(status=reply.status, body=content, headers=dict(reply.headers))


# What it does


def _decommission(call: Call) -> object:
    return device_json(call.world.decommission(call.name))


def _preauthorize(call: Call) -> object:
    identity, public_key = call.required("identity", dict), call.required("public_key", str)
    return device_json(call.world.devices.preauthorize(identity, public_key))


def _deploy(call: Call) -> object:
    name, device_ids = call.required("artifact_name", str), call.body.get("device_ids")
    return deployment_json(call.world.deploy(name, device_ids, force=bool(call.body.get("force"))))


def _log(call: Call) -> object:
    deployment = call.world.deployments.get(call.name)
    wanted = call.query.get("device")
    chosen = [call.world.devices.get(wanted).id] if wanted else deployment.device_ids
    if len(chosen) > 1:
        raise ServerError("cannot tell which device's log is meant: name the device", status=409)
    known = deployment.devices.get(chosen[0])
    if known is None or known.log is None:
        raise ServerError(f"cannot show the log: device {chosen[0]} has sent none for this deployment", status=404)
    return known.log


def _add_fault(call: Call) -> object:
    fault = faults.from_json(call.body)
    call.world.faults.add(fault)
    return faults.as_json(fault)


def _clear_faults(call: Call) -> object:
    call.world.faults.clear()
    return None


def _settings(call: Call) -> object:
    apply_settings(call.world, call.body)
    return read_settings(call.world)


def _events(call: Call) -> object:
    after = call.query.get("after", "0")
    if not after.isdecimal():
        raise ServerError("cannot list events after something that is not a number", status=400)
    return [event_json(one) for one in call.world.record.events(int(after))]


def _requests(call: Call) -> object:
    return [{**asdict(one), "time": one.time.isoformat()} for one in call.world.record.exchanges()]


_ROUTES: tuple[tuple[str, str, Answer], ...] = (
    ("GET", "devices", lambda call: [device_json(one) for one in call.world.devices]),
    ("POST", "devices", _preauthorize),
    ("POST", "devices/(.+)/accept", lambda call: device_json(call.world.devices.accept(call.name))),
    ("POST", "devices/(.+)/reject", lambda call: device_json(call.world.devices.reject(call.name))),
    ("POST", "devices/(.+)/decommission", _decommission),
    ("GET", "devices/(.+)/inventory", lambda call: call.world.devices.get(call.name).inventory),
    ("GET", "artifacts", lambda call: [artifacts.as_json(one) for one in call.world.artifacts]),
    ("DELETE", "artifacts/(.+)", lambda call: artifacts.as_json(call.world.artifacts.delete(call.name))),
    ("GET", "deployments", lambda call: [deployment_json(one) for one in call.world.deployments]),
    ("POST", "deployments", _deploy),
    ("GET", "deployments/([^/]+)", lambda call: deployment_json(call.world.deployments.get(call.name))),
    ("POST", "deployments/(.+)/abort", lambda call: deployment_json(call.world.deployments.abort(call.name))),
    ("GET", "deployments/(.+)/log", _log),
    ("GET", "faults", lambda call: [faults.as_json(one) for one in call.world.faults.listed()]),
    ("POST", "faults", _add_fault),
    ("DELETE", "faults", _clear_faults),
    ("GET", "settings", lambda call: read_settings(call.world)),
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
