"""Requests as add-ons send them, to the address that they got on the bus."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from waiting import PATIENCE_S

CONFIGURATION = "/api/devices/v1/deviceconfig/configuration"


def ask(
    url: str, token: str, method: str = "GET", path: str = CONFIGURATION, body: bytes | None = None
) -> tuple[int, Any]:
    """Status and content of the response to a request; only the status if the content is empty."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data else None
    finally:
        connection.close()
