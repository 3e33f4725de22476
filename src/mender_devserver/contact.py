"""How the command line finds a running server: one private file in the server's directory.

And how it talks to it, with nothing but the standard library.
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

FILE_NAME = "devserver.json"
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Contact:
    """Where a server is and what opens its management.

    Args:
        url: for devices and management.
        storage_url: of the object store.
        certificate: what to trust; empty for plain HTTP.
        token: opens the management; the file that holds it is for its owner only.
    """

    url: str
    storage_url: str
    certificate: str
    token: str

    @property
    def page_url(self) -> str:
        """The page's address, with the token in its fragment, which a browser keeps to itself."""
        return f"{self.url}/#{self.token}"

    def save(self, directory: Path) -> None:
        """Write the file, mode 0600."""
        write_private(directory / FILE_NAME, json.dumps(asdict(self), indent=2).encode() + b"\n")

    def remove(self, directory: Path) -> None:
        """Take the file away, unless another server has put its own there."""
        path = directory / FILE_NAME
        if path.exists() and self == load_contact(directory):
            path.unlink()

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask the management for something and return its JSON answer.

        Args:
            method: the HTTP method.
            path: after the management's prefix.
            body: a JSON value.

        Raises:
            NetworkError: no answer.
            ServerError: the answer is a refusal.
        """
        content = b"" if body is None else json.dumps(body).encode()
        return self._exchange(method, path, content, {"Content-Type": "application/json"})

    def upload(self, file: BinaryIO) -> Any:
        """Stream an open file to the server and return what it makes of it.

        Raises:
            NetworkError: no answer.
            ServerError: the server refuses the file.
        """
        length = file.seek(0, io.SEEK_END)
        file.seek(0)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        return self._exchange("PUT", "/artifacts", file, headers)

    def _exchange(self, method: str, path: str, content: bytes | BinaryIO, headers: dict[str, str]) -> Any:
        connection = self._connect()
        try:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
            connection.request(method, f"/api/management/dev{path}", content, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NetworkError(f"cannot reach the dev server at {self.url}: {error}; is it running?") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ServerError(str(answer["error"]), status=response.status)
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if not self.certificate:
            return http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_SECONDS)
        context = ssl.create_default_context(cafile=self.certificate)
        return http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_SECONDS, context=context)


def load_contact(directory: Path) -> Contact:
    """Read the file of the server that runs in this directory.

    Raises:
        MenderError: there is none.
    """
    path = directory / FILE_NAME
    try:
        return Contact(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise MenderError(
            f"cannot find a running dev server in {directory}: start one with "
            f"'mender-devserver serve --directory {directory}', or name its directory with --directory"
        ) from error
