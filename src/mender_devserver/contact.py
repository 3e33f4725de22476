"""How the command line finds and calls a running server.

The server writes its URL and the management token to a private file in its directory.
"""

from __future__ import annotations

import http.client
import io
import json
import ssl
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from mender_client.errors import MenderError, NetworkError, ServerError
from mender_devserver.private import write_private
from mender_devserver.reasons import reason_of

FILE_NAME = "devserver.json"
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Contact:
    """The addresses of a running server, and its management token.

    Args:
        url: the URL for devices and management.
        storage_url: the URL of the object store.
        certificate: the path of the certificate to trust; empty for plain HTTP.
        token: the management token.
    """

    url: str
    storage_url: str
    certificate: str
    token: str

    @property
    def page_url(self) -> str:
        """The URL of the page, with the token in the fragment, which browsers don't send to the server."""
        return f"{self.url}/#{self.token}"

    def save(self, directory: Path) -> None:
        """Write the file, mode 0600."""
        write_private(directory / FILE_NAME, json.dumps(asdict(self), indent=2).encode() + b"\n")

    def remove(self, directory: Path) -> None:
        """Remove the file, unless another server has replaced it."""
        path = directory / FILE_NAME
        if path.exists() and self == load_contact(directory):
            path.unlink()

    def call(self, method: str, path: str, body: object = None, *, prefix: str = "/api/management/dev") -> Any:
        """Call the management API and return its JSON reply.

        Args:
            method: the HTTP method.
            path: the path below the prefix.
            body: a JSON value.
            prefix: the prefix of the API.

        Raises:
            NetworkError: there is no reply.
            ServerError: the server refuses the request.
        """
        content = b"" if body is None else json.dumps(body).encode()
        return self._exchange(method, prefix + path, content, {"Content-Type": "application/json"})

    def upload(self, file: BinaryIO) -> Any:
        """Upload an open file and return its description.

        Raises:
            NetworkError: there is no reply.
            ServerError: the server refuses the file.
        """
        length = file.seek(0, io.SEEK_END)
        file.seek(0)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        return self._exchange("PUT", "/api/management/dev/artifacts", file, headers)

    def _exchange(self, method: str, path: str, content: bytes | BinaryIO, headers: dict[str, str]) -> Any:
        connection = self.connect()
        try:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NetworkError(
                f"cannot reach the dev server at {self.url}: {reason_of(error)}; is it running?"
            ) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ServerError(str(answer["error"]), status=response.status)
        return answer

    def connect(self, timeout_seconds: float = TIMEOUT_SECONDS) -> http.client.HTTPConnection:
        """A connection to the server, not opened yet."""
        parts = urlsplit(self.url)
        host, context = parts.hostname or "", self.context()
        if context is None:
            return http.client.HTTPConnection(host, parts.port, timeout=timeout_seconds)
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_seconds, context=context)

    def context(self) -> ssl.SSLContext | None:
        """The TLS context for requests to the server; None for plain HTTP."""
        return ssl.create_default_context(cafile=self.certificate) if self.certificate else None


def load_contact(directory: Path, option: str = "--directory") -> Contact:
    """Read the file that a running server wrote to this directory.

    Args:
        directory: the directory of the server.
        option: the command line option that names the directory.

    Raises:
        MenderError: there is no such file.
    """
    path = directory / FILE_NAME
    try:
        return Contact(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise MenderError(
            f"cannot find a running dev server in {directory}: start one with "
            f"'mender-devserver serve --directory {directory}', or specify its directory with {option}"
        ) from error
