"""The server as an object: its life cycle, its records, its files, TLS."""

from __future__ import annotations

import http.client
import queue
import socket
import ssl
import stat
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devserver.caller import ATTRIBUTES, AUTH, Caller, Gadget, auth_request, calling, make_artifact, new_key
from mender_client.errors import NetworkError, ServerError
from mender_devserver import DevServer, Event, Fault
from mender_devserver.certificate import provide_certificate


def test_tls_is_verified_by_default_rules(tmp_path: Path) -> None:
    """A client that trusts only the server's certificate reaches both listeners, by any of its names."""
    with DevServer(tmp_path, auto_accept=True) as server, calling(server.certificate) as caller:
        gadget = Gadget(caller, server.url)
        assert 200 == gadget.authorize().status
        server.upload(make_artifact(tmp_path / "a.mender", "release-2"))
        server.deploy("release-2")
        assert 200 == caller.call("GET", gadget.link()).status
        by_name = Gadget(caller, server.url.replace("127.0.0.1", "localhost"), key=gadget.key)
        assert 200 == by_name.authorize().status


def test_certificate_passes_strict_checks(tmp_path: Path) -> None:
    """Strict X.509 verification, the default of the newest Python, accepts the certificate."""
    with DevServer(tmp_path) as server:
        context = ssl.create_default_context(cafile=server.certificate)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
        with (
            socket.create_connection((host, port or 0)) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            assert secured.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("damage", ["emptied", "cut", "of another"])
@pytest.mark.parametrize("name", ["authority.pem", "server.pem", "server.key"])
def test_damaged_certificate_is_replaced(tmp_path: Path, name: str, damage: str) -> None:
    """If a file of the certificate is damaged, or the files don't belong together, the server makes new ones."""
    path, other = tmp_path / name, tmp_path / "other"
    provide_certificate(tmp_path)
    provide_certificate(other)
    before = path.read_bytes()
    path.write_bytes({"emptied": b"", "cut": before[:100], "of another": (other / name).read_bytes()}[damage])
    with DevServer(tmp_path, auto_accept=True) as server, calling(server.certificate) as caller:
        assert 200 == Gadget(caller, server.url).authorize().status


def test_openssl_verifies_the_certificate(tmp_path: Path) -> None:
    """The openssl program accepts it as well, and the authority isn't the server's own certificate."""
    made = provide_certificate(tmp_path)
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(made.authority), str(made.chain)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (0, f"{made.chain}: OK") == (done.returncode, done.stdout.strip())
    assert 0o600 == stat.S_IMODE(made.key.stat().st_mode)


def test_certificate_is_kept_while_it_fits(tmp_path: Path) -> None:
    """Devices still trust a server after a restart; another host needs another certificate."""
    first = provide_certificate(tmp_path).authority.read_bytes()
    assert first == provide_certificate(tmp_path).authority.read_bytes()
    assert first != provide_certificate(tmp_path, ("server.example",)).authority.read_bytes()


def test_stranger_does_not_trust_it(tmp_path: Path) -> None:
    """Without the certificate the server isn't trusted."""
    with DevServer(tmp_path) as server:
        host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
        with socket.create_connection((host, port or 0)) as plain, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def test_plain_server_has_no_certificate(server: DevServer) -> None:
    """A server without TLS has no certificate to trust, and reports that."""
    with pytest.raises(ServerError, match="uses plain HTTP"):
        _ = server.certificate


def test_outage_is_rehearsed_by_stop_and_start(server: DevServer, gadget: Gadget) -> None:
    """After a restart a server has the same ports, and still knows its devices and tokens."""
    url = server.url
    server.stop()
    gadget.caller.close()
    with pytest.raises(ConnectionRefusedError):
        gadget.poll()
    server.start()
    assert (url, 204) == (server.url, gadget.poll().status)


def test_taken_port_is_an_error(server: DevServer, tmp_path: Path) -> None:
    """A port in use is named in the error, and nothing is left behind."""
    other = DevServer(tmp_path / "other", tls=False, port=urlsplit(server.url).port or 0)
    with pytest.raises(NetworkError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*choose another host or port"):
        other.start()
    other.stop()
    assert not (tmp_path / "other" / "devserver.json").exists()


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize(
    ("host", "port"),
    [("127.0.0.1", 65536), ("127.0.0.1", -1), ("", 0), ("a..b", 0), ("a b", 0), (f"{'a' * 64}.test", 0)],
)
def test_wrong_address_is_an_error(tmp_path: Path, host: str, port: int, *, tls: bool) -> None:
    """A host or a port that doesn't exist is named in the error."""
    with pytest.raises(NetworkError, match=f"cannot listen on {host or repr(host)}:{port}: "):
        DevServer(tmp_path, tls=tls, host=host, port=port).start()


def test_long_host_name(tmp_path: Path) -> None:
    """A certificate may be for a host name of more than 64 characters, the most that its common name can have."""
    assert provide_certificate(tmp_path, (f"{'a' * 40}.{'b' * 40}.test",)).context()


def test_stop_does_not_wait_for_a_stalled_client(tmp_path: Path) -> None:
    """The server stops immediately, even during downloads."""
    with DevServer(tmp_path / "server", auto_accept=True) as server, calling(server.certificate) as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        server.upload(make_artifact(tmp_path / "a.mender", "release-2"))
        server.deploy("release-2")
        link = gadget.link()
        server.add_fault(Fault(kind="artifact", stall_after_bytes=10))
        with calling(server.certificate) as other:
            thread = threading.Thread(target=_download_in_vain, args=(other, link))
            thread.start()
            server.wait_until(lambda: server.requests[-1].bytes_sent == 10)
            server.stop()
            thread.join()
            assert not thread.is_alive()


def _download_in_vain(caller: Caller, link: str) -> None:
    with pytest.raises((http.client.HTTPException, OSError)):
        caller.call("GET", link)


def test_requests_are_recorded(server: DevServer, gadget: Gadget, release: str) -> None:
    """Each request is recorded with kind, device, status, bytes and connection, but without token or signature."""
    link = gadget.link()
    gadget.caller.call("GET", link, b"", {"Range": "bytes=0-9"})
    gadget.call("PUT", ATTRIBUTES, [])
    device_id = server.devices()[0].id
    seen = [(one.kind, one.status, one.bytes_sent) for one in server.requests if one.kind not in ("auth", "next")]
    assert [("artifact", 206, 10), ("inventory", 200, 0)] == seen
    assert {device_id} == {one.device_id for one in server.requests if one.kind != "auth"}
    assert "Amz" not in str(server.requests)
    assert gadget.token not in str(server.requests)


def test_connections_are_told_apart(server: DevServer, gadget: Gadget) -> None:
    """Requests over one persistent connection have the same number; a new connection gets a new one."""
    gadget.poll()
    gadget.poll()
    gadget.caller.close()
    gadget.poll()
    assert [1, 1, 1, 2] == [one.connection for one in server.requests]


def test_events_tell_the_story(server: DevServer, gadget: Gadget, release: str) -> None:
    """The feed has a line for each event of interest, and a subscriber gets it as it happens."""
    heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
    end = server.subscribe(heard.put)
    gadget.caller.call("GET", gadget.link())
    server.wait_until(lambda: server.events[-1].name == "download-end")  # the client may have all of it before that
    for status in ("downloading", "success"):
        gadget.report(release, status)
    end()
    gadget.report(release, "success")
    names = [event.name for event in server.events]
    start = ["device-pending", "device-accepted", "token", "artifact", "deployment"]
    story = ["offered", "download", "download-end", "status", "status"]
    assert [*start, *story, "status"] == names
    assert story == [heard.get_nowait().name for _ in range(heard.qsize())]


def test_waiting_ends(server: DevServer) -> None:
    """Waiting for an event that never comes is an error of the waiting test."""
    with pytest.raises(TimeoutError, match=r"cannot wait longer than 0\.05 s"):
        server.wait_until(lambda: False, timeout_seconds=0.05)


def test_answers_are_copies(server: DevServer, gadget: Gadget) -> None:
    """Changing an object that the server has returned doesn't change the server."""
    server.devices()[0].identity.clear()
    assert {"mac": "02:00:00:00:00:01"} == server.devices()[0].identity


def test_types_without_a_name(server: DevServer, tmp_path: Path) -> None:
    """Device types require a name; without one they would be ignored silently."""
    with pytest.raises(ServerError, match="cannot use device_types without artifact_name"):
        server.upload(tmp_path / "any", device_types=["board"])


def test_given_names_survive_a_stop(server: DevServer, tmp_path: Path) -> None:
    """After a restart a server still offers a file under the name that it was given."""
    path = tmp_path / "real.mender"
    path.write_bytes(b"no Artifact")
    server.upload(path, artifact_name="given", device_types=["board"])
    before = server.artifacts()
    server.stop()
    server.start()
    assert before == server.artifacts()


@pytest.mark.parametrize("content", [b"", b"x" * 5000])
def test_broken_artifact_is_refused_at_upload(server: DevServer, tmp_path: Path, content: bytes) -> None:
    """A file without the header of an Artifact isn't offered by mistake …"""
    path = tmp_path / "broken.mender"
    path.write_bytes(content)
    with pytest.raises(ServerError, match=r"cannot upload .*broken\.mender"):
        server.upload(path)
    assert [] == list((server.directory / "artifacts").iterdir())


def test_broken_artifact_is_offered_on_demand(server: DevServer, gadget: Gadget, tmp_path: Path) -> None:
    """… but a test can offer it under a name of its choice."""
    path = tmp_path / "broken.mender"
    path.write_bytes(b"x" * 5000)
    server.upload(path, artifact_name="broken", device_types=["testdev"])
    server.deploy("broken")
    assert b"x" * 5000 == gadget.caller.call("GET", gadget.link()).body


def test_missing_file_is_named(server: DevServer, tmp_path: Path) -> None:
    """A missing file is named in the error."""
    with pytest.raises(ServerError, match=r"cannot upload .*missing\.mender"):
        server.upload(tmp_path / "missing.mender")


def test_download_ends_with_the_client(server: DevServer, gadget: Gadget, release: str) -> None:
    """A client that disconnects in the middle of a body doesn't affect the server."""
    link = gadget.link()
    server.add_fault(Fault(kind="artifact", stall_after_bytes=10))
    host, port = urlsplit(link).hostname, urlsplit(link).port
    with socket.create_connection((host, port or 0)) as raw:
        raw.sendall(f"GET {link.partition(str(port))[2]} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        raw.recv(100)
    server.wait_until(lambda: server.events[-1].name == "download-end")
    assert 204 == gadget.report(release, "downloading").status


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_foreign_host_makes_no_device(server: DevServer, caller: Caller, host: str) -> None:
    """A foreign name that resolves to this machine doesn't lead to the device API, as at the gateway; no log."""
    body, headers = auth_request(new_key(), {"mac": "1"})
    answer = caller.call("POST", server.url + AUTH, body, {**headers, "Host": host})
    assert (404, [], []) == (answer.status, server.devices(), server.requests)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1234", "[::1]:80", "192.0.2.1"])
def test_own_name_and_addresses_lead_to_the_device_api(server: DevServer, caller: Caller, host: str) -> None:
    """IP addresses and localhost can't be redirected to this machine by others."""
    body, headers = auth_request(new_key(), {"mac": "1"})
    assert 200 == caller.call("POST", server.url + AUTH, body, {**headers, "Host": host}).status


def test_long_requests_are_noted_in_part(server: DevServer, caller: Caller) -> None:
    """Of the headers and the path of a request only a few kilobytes are recorded."""
    headers = {"X-First": "1", **{f"X-Long-{number}": "x" * 2000 for number in range(5)}}
    caller.call("GET", f"{server.url}/{'p' * 6000}", b"", headers)
    (noted,) = server.requests
    assert (4096, "1") == (len(noted.path), noted.headers["x-first"])
    assert sum(len(name) + len(value) for name, value in noted.headers.items()) <= 4096
