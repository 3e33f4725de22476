"""Maps paths to the services of the real server, and gives the replies of its gateway and routers.

The gateway replies in plain text to paths that belong to no service. The router of a service replies to unknown paths,
in JSON, to unsupported methods, to ``OPTIONS``, and to paths with a trailing slash. Only the deployments service omits
the request id from these replies.
"""

from __future__ import annotations

import re

from mender_devserver.messages import Reply, Request, collapse_slashes, error_reply

_DEVICE = "/api/devices/v1/deployments/device/deployments"
_PATTERNS = {
    "auth": re.compile("/api/devices/v1/authentication/auth_requests"),
    "inventory": re.compile("/api/devices/v1/inventory/.*"),
    "next": re.compile(f"{_DEVICE}/next"),
    "next v2": re.compile(_DEVICE.replace("v1", "v2") + "/next"),
    "status": re.compile(f"{_DEVICE}/(?P<id>[^/]+)/status"),
    "log": re.compile(f"{_DEVICE}/(?P<id>[^/]+)/log"),
    "configuration": re.compile("/api/devices/v1/deviceconfig/configuration"),
    "artifact": re.compile("/api/devices/v1/deployments/download/configuration/[^/]+/[^/]+/[^/]+"),
}
_METHODS = {
    "auth": ("POST",),
    "inventory": ("PUT", "PATCH"),
    "next": ("GET", "POST"),
    "next v2": ("POST",),
    "status": ("PUT",),
    "log": ("PUT",),
    "configuration": ("GET", "PUT"),
    "artifact": ("GET",),
}
_SERVICE = re.compile(
    r"/api/devices/(?:v[0-9a-z]+/(authentication|deployments/download|deployments)|v[1-9]/(inventory|deviceconfig))"
)


def route(path: str) -> tuple[str, str]:
    """The kind of request for a path, and the deployment id in the path; empty if there is none.

    The kinds are ``auth``, ``inventory``, ``next``, ``next v2``, ``status``, ``log``, ``configuration``, ``artifact``
    (an Artifact with a configuration) and ``other``.
    """
    for name, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(collapse_slashes(path)):
            return name, match.groupdict().get("id", "")
    return "other", ""


def service_of(path: str) -> str:
    """The service to which the gateway forwards a path; empty if there is none.

    The services are ``authentication``, ``inventory``, ``deviceconfig``, ``deployments``, and ``deployments/download``,
    which needs no token.
    """
    match = _SERVICE.match(collapse_slashes(path))
    return (match[1] or match[2]) if match else ""


def answer_of_gateway() -> Reply:
    """The reply to a path that belongs to no service."""
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    return Reply(404, b"404 page not found\n", headers)


def answer_of_router(request: Request, request_id: str, *, v2: bool) -> Reply | None:
    """The reply to a request that has no handler; ``None`` if it has one.

    Args:
        request: a request for one of the services.
        request_id: its id.
        v2: whether version 2 of the update poll is offered.
    """
    is_deployments = service_of(request.path).startswith("deployments")
    request_id = "" if is_deployments else request_id
    methods = _methods(request.path, v2=v2)
    if not methods:
        return _redirect(request, v2=v2) or error_reply(404, "not found", request_id)
    if request.method in methods:
        return None
    with_options = ", ".join((*methods, "OPTIONS"))
    if request.method == "OPTIONS":
        return Reply(200, headers={"Allow": with_options if is_deployments else ", ".join(methods)})
    return error_reply(405, "method not allowed", request_id, {"Allow": with_options})


def _methods(path: str, *, v2: bool) -> tuple[str, ...]:
    name = route(path)[0]
    return () if name == "next v2" and not v2 else _METHODS.get(name, ())


def _redirect(request: Request, *, v2: bool) -> Reply | None:
    """Redirect a path with a trailing slash to the path without it."""
    path = collapse_slashes(request.path)
    methods = _methods(path.removesuffix("/"), v2=v2)
    if not methods or request.method not in (*methods, "OPTIONS"):
        return None
    location = path.removesuffix("/") + (f"?{request.query}" if request.query else "")
    if request.method != "GET":
        return Reply(307, headers={"Location": location})
    body = f'<a href="{location.replace("&", "&amp;")}">Moved Permanently</a>.\n\n'
    return Reply(301, body.encode(), {"Location": location, "Content-Type": "text/html; charset=utf-8"})
