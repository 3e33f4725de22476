"""The device API, with one small method for each route.

As in the gateway of the real server, the token is checked first, repeated slashes count as one, and large JSON bodies
are compressed if the client accepts that.
"""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Callable, Mapping

from mender_client.errors import ServerError, UnauthorizedError
from mender_devserver.artifacts import Names
from mender_devserver.configuration import read_configuration
from mender_devserver.deployments import Poll
from mender_devserver.devices import KnownDevice
from mender_devserver.inventory import merge_attributes, read_attributes
from mender_devserver.messages import Reply, Request, error_reply, json_reply, require_json_type
from mender_devserver.reports import read_log, read_poll_query, read_poll_v1, read_poll_v2, read_status
from mender_devserver.routes import answer_of_gateway, answer_of_router, route, service_of
from mender_devserver.state import ServerState
from mender_devserver.storage import Link

GZIP_FROM_BYTES = 1024


class DeviceApi:
    """Answers the requests of devices.

    Args:
        state: the server's state.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._handlers: Mapping[str, Mapping[str, Callable[[Request, KnownDevice, str], Reply]]] = {
            "inventory": {"PUT": self._inventory, "PATCH": self._inventory},
            "next": {"GET": self._next_get, "POST": self._next_post},
            "next v2": {"POST": self._next_v2},
            "status": {"PUT": self._status},
            "log": {"PUT": self._log},
            "configuration": {"GET": self._wanted_configuration, "PUT": self._reported_configuration},
        }

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        request_id = request.headers.get("x-men-requestid") or str(uuid.uuid4())
        try:
            reply = self._answer(request, request_id)
        except ServerError as error:
            reply = error_reply(error.status, str(error), request_id)
        reply = _compress(reply, request.headers.get("accept-encoding", ""))
        return Reply(reply.status, reply.body, {**reply.headers, "X-Men-Requestid": request_id})

    def device_of(self, request: Request) -> str:
        """The id of the device that the token or the link belongs to; empty without one."""
        if route(request.path)[0] == "artifact":
            return request.path.rpartition("/")[2]
        try:
            return self._state.devices.authenticate(request.headers.get("authorization", "")).id
        except UnauthorizedError:
            return ""

    def _answer(self, request: Request, request_id: str) -> Reply:
        service = service_of(request.path)
        if not service:
            return answer_of_gateway()
        if service == "authentication":
            return answer_of_router(request, request_id, v2=False) or self._auth(request)
        if service == "deployments/download":
            return answer_of_router(request, request_id, v2=False) or self._state.configurations.answer(request)
        try:
            device = self._state.devices.authenticate(request.headers.get("authorization", ""))
        except UnauthorizedError as error:
            return _unauthorized(str(error), request_id)
        if wait := self._state.seconds_to_wait(device.id):
            return error_reply(429, "too many requests", request_id, {"Retry-After": str(wait)})
        if reply := answer_of_router(request, request_id, v2=self._state.v2):
            return reply
        name, deployment_id = route(request.path)
        if name != "configuration":  # the configuration service doesn't check the type
            require_json_type(request)
        return self._handlers[name][request.method](request, device, deployment_id)

    def _auth(self, request: Request) -> Reply:
        require_json_type(request)
        token = self._state.devices.authorize(request)
        return Reply(200, token.encode(), {"Content-Type": "application/jwt"})

    def _inventory(self, request: Request, device: KnownDevice, _: str) -> Reply:
        sent = read_attributes(request.body)
        device.inventory = merge_attributes(device.inventory, sent, replace=request.method == "PUT")
        device.inventory_time = self._state.now()
        self._state.activity.emit("inventory", device_id=device.id, attributes=len(device.inventory))
        return Reply(200)

    def _next_get(self, request: Request, device: KnownDevice, _: str) -> Reply:
        return self._next(device, read_poll_query(request.query))

    def _next_post(self, request: Request, device: KnownDevice, _: str) -> Reply:
        return self._next(device, read_poll_v1(request.body))

    def _next_v2(self, request: Request, device: KnownDevice, _: str) -> Reply:
        return self._next(device, read_poll_v2(request.body))

    def _next(self, device: KnownDevice, poll: Poll) -> Reply:
        found = self._state.deployments.next_for(device.id, poll)
        if found is None:
            return Reply(204)
        deployment, artifact = found
        if artifact is None:
            link = self._state.configurations.link(deployment, self._state.url, poll.device_type, device.id)
            names = Names(deployment.artifact_name, (poll.device_type,))
            return _offer(deployment.id, deployment.id + device.id, names, _source(link))
        link = self._state.storage.link(artifact, self._state.storage_url, device.id)
        names = Names(artifact.name, artifact.device_types)
        return _offer(deployment.id, artifact.id, names, {**_source(link), "method": "GET"})

    def _status(self, request: Request, device: KnownDevice, deployment_id: str) -> Reply:
        self._state.deployments.set_status(deployment_id, device.id, read_status(request.body))
        return Reply(204)

    def _log(self, request: Request, device: KnownDevice, deployment_id: str) -> Reply:
        self._state.deployments.set_log(deployment_id, device.id, read_log(request.body))
        return Reply(204)

    def _wanted_configuration(self, _: Request, device: KnownDevice, __: str) -> Reply:
        return json_reply(device.configured)

    def _reported_configuration(self, request: Request, device: KnownDevice, _: str) -> Reply:
        device.reported = read_configuration(request.body)
        device.reported_time = self._state.now()
        self._state.activity.emit("configuration", device_id=device.id, keys=len(device.reported))
        return Reply(204)


def _source(link: Link) -> dict[str, str]:
    return {"uri": link.uri, "expire": f"{link.expires:%Y-%m-%dT%H:%M:%S.%f}Z"}


def _offer(deployment_id: str, artifact_id: str, names: Names, source: Mapping[str, str]) -> Reply:
    described = {
        "id": artifact_id,
        "artifact_name": names.artifact_name,
        "source": source,
        "device_types_compatible": list(names.device_types),
    }
    return json_reply({"id": deployment_id, "artifact": described})


def _unauthorized(message: str, request_id: str) -> Reply:
    """The reply to a malformed header has a message; that to an expired, revoked or unknown token has an empty body."""
    if not message:
        return Reply(401)
    return error_reply(401, message, request_id, {"Www-Authenticate": 'Bearer realm="ManagementJWT"'})


def _compress(reply: Reply, accepted: str) -> Reply:
    is_json = reply.headers.get("Content-Type", "").startswith("application/json")
    if not is_json or "gzip" not in accepted.lower() or not isinstance(reply.body, bytes):
        return reply
    if len(reply.body) < GZIP_FROM_BYTES:
        return reply
    headers = {**reply.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Reply(reply.status, gzip.compress(reply.body), headers)
