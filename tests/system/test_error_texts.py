"""Secrets appear neither in errors and their tracebacks, causes included, nor in the ``repr`` of values.

A program that embeds the client may log an error with its traceback, and the texts of its causes are not the client's.
"""

from __future__ import annotations

import contextlib
import json
import traceback
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mender_client.app.config import load_config
from mender_client.core.model import Deployment, Link, Token, parse_link
from mender_client.core.proxies import read_proxies
from mender_client.core.signature import parse_public_key
from mender_client.core.wire.authentication import parse_auth_reply
from mender_client.core.wire.deployments import parse_next_reply
from mender_client.core.wire.messages import Reply, Request
from mender_client.errors import MenderError
from mender_client.system.cryptolib import CryptographyBackend
from mender_client.system.exchange import HttpBody
from mender_client.system.keys import DeviceKey
from mender_client.system.openssl import OpensslBackend
from mender_client.system.signatures import SigningKey, load_public_key

from .conftest import MakeTransport
from .rawserver import RawServer, answer, raw

MARK = "LEAKED" + "0123456789abcdef"
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)

ANSWERS: Mapping[str, bytes] = {
    "nothing": b"",
    "no HTTP": MARK.encode() + b"\r\n\r\n",
    "no status": b"HTTP/1.1 " + MARK.encode() + b" OK\r\n\r\n",
    "an endless line": b"HTTP/1.1 200 OK\r\nX: " + MARK.encode() * 5000,
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + MARK.encode(),
    "a cut body": answer(MARK.encode() * 10)[:-5],
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + MARK.encode() + b"\r\n",
    "a redirect to a file": answer(b"", f"Location: file:///{MARK}", status=302),
    "a redirect with a password": answer(b"", f"Location: http://u:{MARK}@h/", status=302),
    "a redirect to nowhere": answer(b"", f"Location: http://127.0.0.1:1/?{MARK}", status=302),
    "a redirect to a bad port": answer(b"", f"Location: http://h:{MARK}/", status=302),
    "a redirect to a bad name": answer(b"", f"Location: http://{'x' * 80}/?{MARK}", status=302),
}


def whole_text(action: Callable[[], object]) -> str:
    """The traceback of the MenderError or ValueError that an action raises, including all causes."""
    with pytest.raises((MenderError, ValueError)) as caught:
        action()
    assert isinstance(caught.value, MenderError | ValueError)
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ANSWERS)
def test_network(make_transport: MakeTransport, name: str) -> None:
    """A network error contains neither the query of a link nor the content of a malformed response."""
    with RawServer(raw(ANSWERS[name])) as server:
        url = f"{server.url}/a?X-Amz-Signature={MARK}"
        transport = make_transport()
        text = whole_text(lambda: _download(transport.open(url, {})))
    assert MARK not in text


@pytest.mark.parametrize("name", [name for name in ANSWERS if "redirect" not in name])
def test_answer_to_a_request(make_transport: MakeTransport, name: str) -> None:
    """The error for a malformed response contains nothing of it, and neither token, body nor query of the request."""
    with RawServer(raw(ANSWERS[name])) as server:
        request = Request("PUT", f"{server.url}/a?{MARK}", {"Authorization": f"Bearer {MARK}"}, MARK.encode())
        text = whole_text(lambda: make_transport().send(request))
        assert MARK.encode() in server.requests[0]
    assert MARK not in text


def _download(body: HttpBody) -> None:
    with contextlib.closing(body):
        while body.readinto(memoryview(bytearray(65536))):
            pass


@pytest.mark.parametrize("name", ["nothing", "no HTTP", "no status", "an endless line"])
def test_answer_of_a_proxy(make_transport: MakeTransport, name: str) -> None:
    """The error for a malformed response of a proxy contains neither the proxy's password nor that response."""
    with RawServer(raw(ANSWERS[name])) as proxy:
        proxies = read_proxies({"https_proxy": f"http://u:{MARK}@127.0.0.1:{proxy.port}"})
        text = whole_text(lambda: make_transport(proxies=proxies).send(Request("GET", "https://h/")))
        assert b"Proxy-Authorization: Basic " in proxy.requests[0]
    assert [] == [secret for secret in (MARK, b64encode(f"u:{MARK}".encode()).decode()) if secret in text]


def test_request_that_is_invalid(make_transport: MakeTransport) -> None:
    """The error for a request that can't be sent because it is invalid contains neither its query nor its headers."""
    with RawServer(raw(b"")) as server:
        for request in (
            Request("GET", f"{server.url}/?{MARK} x"),
            Request("GET", server.url, {"Authorization": f"Bearer {MARK}\nx"}),
        ):
            assert MARK not in whole_text(lambda one=request: make_transport().send(one))  # type: ignore[misc]


def test_request_that_can_not_be_sent(make_transport: MakeTransport) -> None:
    """The errors for a refused connection and an invalid host name contain no secrets of the request."""
    requests = [
        Request("GET", f"http://127.0.0.1:1/?{MARK}", {"Authorization": f"Bearer {MARK}"}),
        Request("GET", "http://127.0.0.1:1/", {"Authorization": f"Bearer {MARK}"}, MARK.encode()),
        Request("GET", f"http://{'x' * 80}/?{MARK}", {}),
    ]
    for request in requests:
        assert MARK not in whole_text(lambda one=request: make_transport().send(one))  # type: ignore[misc]
        assert MARK not in repr(request)


LINKS = [f"ftp://h/?{MARK}", f"http://u:{MARK}@h/", f"http://h:{MARK}/", f"http://[{MARK}/", f"http://h/ {MARK}"]


@pytest.mark.parametrize("link", LINKS)
def test_offer(link: str) -> None:
    """The error for an invalid link, alone or in the reply to an update poll, doesn't contain its secrets."""
    artifact = {"artifact_name": "a", "source": {"uri": link}, "device_types_compatible": ["t"]}
    body = json.dumps({"id": "d1", "artifact": artifact}).encode()
    assert MARK not in whole_text(lambda: parse_link(link))
    assert MARK not in whole_text(lambda: parse_next_reply(Reply(200, {}, body), now=NOW))


def test_token() -> None:
    """The error for a reply that is not a valid token doesn't repeat it: it may be part of one."""
    assert MARK not in whole_text(lambda: parse_auth_reply(Reply(200, {}, f"{MARK} x".encode()), "https://h", now=NOW))


CONFIGURATIONS = [
    {"TenantToken": [MARK]},
    {"TenantToken": f"{MARK}\n"},
    {"ServerURL": f"https://u:{MARK}@h"},
    {"ServerURL": f"https://h?{MARK}"},
    {"ServerURL": f"https://h:{MARK}"},
    {"Servers": [{"ServerURL": f"ftp://u:{MARK}@h"}]},
    {"HttpsClient": {"Key": [MARK]}},
    f'{{"TenantToken": "{MARK}" oops',
    f'{{"TenantToken": {MARK}',
    f'{{"TenantToken": "{MARK}\\q"}}',
]


@pytest.mark.parametrize("content", CONFIGURATIONS)
def test_configuration(tmp_path: Path, content: object) -> None:
    """The error for an invalid configuration doesn't contain values that may be secret."""
    path = tmp_path / "mender.conf"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    assert MARK not in whole_text(lambda: load_config(path, tmp_path / "none"))


@pytest.mark.parametrize("url", [f"ftp://u:{MARK}@h", f"http://u:{MARK}@h:x", f"http://u:{MARK}@[h", f"{MARK}@"])
def test_proxy(url: str) -> None:
    """The error for an invalid proxy doesn't contain its password."""
    assert MARK not in whole_text(lambda: read_proxies({"https_proxy": url}))


def _pem(body: str) -> str:
    return f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("backend", [OpensslBackend(), CryptographyBackend()], ids=["openssl", "cryptography"])
def test_damaged_keys(tmp_path: Path, backend: OpensslBackend | CryptographyBackend) -> None:
    """The error for a damaged private key, or for one in place of a public key, doesn't contain the key."""
    path = tmp_path / "key.pem"
    path.write_text(_pem(MARK))
    path.chmod(0o600)
    for action in (
        lambda: DeviceKey(path, backend).public_key_pem(),
        lambda: DeviceKey(path, backend).sign(b"x"),
        lambda: SigningKey(path, backend),
        lambda: load_public_key(path, backend),
        lambda: parse_public_key(path.read_bytes()),
    ):
        assert MARK not in whole_text(action)


def test_values_hide_their_secrets(tmp_path: Path) -> None:
    """The ``str`` and ``repr`` of tokens, links, requests, replies, proxies and the configuration show no secrets."""
    path = tmp_path / "mender.conf"
    path.write_text(json.dumps({"ServerURL": "https://h", "TenantToken": MARK}))
    link = Link(f"https://h/?{MARK}")
    values = [
        Token(MARK, "https://h"),
        link,
        Deployment("d1", "a", ("t",), link),
        Request("GET", f"https://h/?{MARK}", {"Authorization": MARK}, MARK.encode()),
        Reply(200, {}, MARK.encode()),
        load_config(path, tmp_path / "none").config,
        read_proxies({"https_proxy": f"http://u:{MARK}@h:1"}),
    ]
    assert [] == [value for value in values if MARK in f"{value!r} {value}"]


def test_openssl_gets_no_secret(tmp_path: Path) -> None:
    """No key, passphrase or message appears on the command line or in the environment of the openssl program."""
    seen = tmp_path / "seen"
    spy = tmp_path / "openssl"
    spy.write_text(
        f"#!/bin/sh\ntr '\\0' '\\n' </proc/$$/cmdline >>{seen}\ntr '\\0' '\\n' </proc/$$/environ >>{seen}\n"
        'exec openssl "$@"\n'
    )
    spy.chmod(0o755)
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(MARK.encode()),
    )
    path = tmp_path / "key.pem"
    path.write_bytes(locked)
    path.chmod(0o600)
    device_key = DeviceKey(path, OpensslBackend(str(spy)), passphrase=lambda: MARK.encode())
    assert device_key.sign(b"the message " + MARK.encode())
    text = seen.read_text()
    assert "pkey" in text or "dgst" in text
    assert "PATH=" in text
    body = [line for line in locked.decode().splitlines() if "-----" not in line]
    assert [] == [secret for secret in (MARK, *body) if secret in text]
