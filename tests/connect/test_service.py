"""The connection, with real shells and a server that is the other end of a socket pair."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection

from connect.world import config_of
from mender_client.app.connect import connect_settings
from mender_client.connect.protocol.reconnect import LASTING_SECONDS, RETURN_SECONDS, Reconnect
from mender_client.connect.service import MOST_TOLD, ConnectService, Opened
from mender_client.core.wire.deviceconnect import Message, Protocol, decode, encode
from mender_client.errors import NetworkError, ServerError
from waiting import NEVER_S, PATIENCE_S, wait_until


class Server:
    """The server's end of one connection."""

    def __init__(self) -> None:
        self.sock, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.sock.settimeout(PATIENCE_S)
        self.frames = Connection(ConnectionType.SERVER)

    @property
    def opened(self) -> Opened:
        """The result of opening the connection, for the device."""
        return Opened(self.theirs, b"", "http://server.example.com")

    def send(self, message: Message) -> None:
        """Send a message."""
        self.sock.sendall(self.frames.send(BytesMessage(data=encode(message))))

    def receive(self) -> Message:
        """The next message."""
        data = bytearray()
        while True:
            for event in self.frames.events():
                if isinstance(event, BytesMessage):
                    data += event.data
                    if event.message_finished:
                        return decode(bytes(data))
                assert not isinstance(event, CloseConnection)
            self.frames.receive_data(self.sock.recv(65536))


def make_service(open_websocket: Callable[[], Opened], wake: Callable[[str], None] = lambda _: None) -> ConnectService:
    """A service that opens its connection like this."""
    settings = connect_settings(config_of())
    return ConnectService(open_websocket, settings, wake, "test", {}, NEVER_S, lambda: 0.0)


def in_a_process(work: Callable[[], None]) -> None:
    """Run a function of this file in a process of its own, because the end of a shell also ends all other children."""
    program = f"from connect.test_service import {work.__name__} as work; work()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


Run = Callable[..., ConnectService]


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a service in a thread until the test ends; the end of a child process wakes it, as in the program."""
    services: list[tuple[ConnectService, threading.Thread]] = []

    def run(open_websocket: Callable[[], Opened]) -> ConnectService:
        service = make_service(open_websocket)
        thread = threading.Thread(target=service.run)
        services.append((service, thread))
        thread.start()
        return service

    yield run
    for service, thread in services:
        service.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_connecting_keeps_nothing_waiting(run: Run) -> None:
    """A server that delays a connection request doesn't block anything else."""
    may_go_on, has_passed = threading.Event(), threading.Event()
    server = Server()

    def open_websocket() -> Opened:
        assert may_go_on.wait(PATIENCE_S)
        return server.opened

    service = run(open_websocket)
    service.loop.post(has_passed.set)
    assert has_passed.wait(PATIENCE_S)
    assert not service.is_connected
    may_go_on.set()
    server.send(Message(Protocol.CONTROL, "ping", "s"))
    assert "pong" == server.receive().typ
    server.sock.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="the user of the shells is root")
def test_programs_of_the_authentication() -> None:
    """If a shell ends while the device connects, a running authentication program isn't affected by it."""
    in_a_process(run_a_program_of_the_authentication)


def run_a_program_of_the_authentication() -> None:
    """End a shell while such a program runs."""
    first, second = Server(), Server()
    may_go_on, is_running, codes = threading.Event(), threading.Event(), list[int]()

    def open_websocket() -> Opened:
        if not codes:
            codes.append(-1)
            return first.opened
        with subprocess.Popen(["/bin/sh", "-c", "read line; exit 7"], stdin=subprocess.PIPE) as process:
            is_running.set()
            assert may_go_on.wait(PATIENCE_S)
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            codes.append(process.wait())
        return second.opened

    service = make_service(open_websocket)
    thread = threading.Thread(target=service.run)
    thread.start()
    first.send(Message(Protocol.SHELL, "new", "s", {"user_id": "u"}))
    assert b"Shell started" == first.receive().body
    first.sock.close()
    assert is_running.wait(PATIENCE_S)
    service.loop.post(lambda: service._terminals.end_all("a limit"))  # as any limit does
    wait_until(lambda: not len(service._terminals))
    service.child_ended()
    time.sleep(0.05)  # if the program were killed, it would be by now; otherwise this has no effect
    may_go_on.set()
    second.send(Message(Protocol.CONTROL, "ping", "t"))
    while second.receive().typ != "pong":
        pass
    assert [-1, 7] == codes
    second.sock.close()
    service.stop()
    thread.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_ours_ends_the_program() -> None:
    """An unexpected error while connecting ends the program, so that the service manager restarts it."""

    def open_websocket() -> Opened:
        raise ZeroDivisionError

    service, before = make_service(open_websocket), set(threading.enumerate())
    with pytest.raises(RuntimeError):
        service.run()
    wait_until(lambda: before.issuperset(threading.enumerate()), what="the end of the thread")


def test_a_fault_of_ours_ends_one_session(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error while handling a message ends only its session, and is logged."""

    def wake(_: str) -> None:
        raise ZeroDivisionError

    server = Server()
    service = make_service(lambda: server.opened, wake)
    thread = threading.Thread(target=service.run)
    thread.start()
    server.send(Message(Protocol.CLIENT, "check-update", "s"))
    assert b"internal error" in (server.receive().body or b"")
    server.send(Message(Protocol.CONTROL, "ping", "t"))
    assert "pong" == server.receive().typ
    service.stop()
    thread.join()
    server.sock.close()
    (record,) = [one for one in caplog.records if "CON14" in one.getMessage()]
    assert record.exc_info is not None


def test_garbage_without_end(caplog: pytest.LogCaptureFixture) -> None:
    """After some invalid messages, further ones of a connection aren't logged, so that they can't fill the log."""
    server = Server()
    service = make_service(lambda: server.opened)
    thread = threading.Thread(target=service.run)
    thread.start()
    for _ in range(500):
        server.sock.sendall(server.frames.send(BytesMessage(data=b"\xc1")))
    server.send(Message(Protocol.CONTROL, "ping", "t"))
    assert "pong" == server.receive().typ
    service.stop()
    thread.join()
    server.sock.close()
    said = [one.getMessage() for one in caplog.records if "cannot understand a message" in one.getMessage()]
    assert MOST_TOLD == len(said)
    assert "further ones" in said[-1]


def test_pauses() -> None:
    """After a long connection a fleet reconnects over some seconds; after failures the pauses grow, up to a limit.

    The server's Retry-After is obeyed.
    """
    reconnect = Reconnect(60.0, lambda: 0.5)
    assert RETURN_SECONDS / 2 == reconnect.after_loss(LASTING_SECONDS)
    pauses = [reconnect.after_loss(LASTING_SECONDS - 1), *(reconnect.after_failure() for _ in range(30))]
    assert pauses == sorted(pauses)
    assert (1.0 * 2.5 / 3, 60 * 2.5 / 3) == (pauses[0], pauses[-1])
    assert 126.0 == reconnect.after_failure(120.0)
    assert RETURN_SECONDS / 2 == reconnect.after_loss(LASTING_SECONDS)
    assert pauses[0] == reconnect.after_failure()


def test_errors_that_the_server_answers(run: Run) -> None:
    """A server that refuses the connection is asked again after its Retry-After."""
    server, tries = Server(), list[float]()

    def open_websocket() -> Opened:
        tries.append(time.monotonic())
        if len(tries) == 1:
            raise ServerError("SRV01", "cannot open", status=503, retry_after_seconds=1.0)
        if len(tries) == 2:
            raise NetworkError("NET01", "cannot reach the server")
        return server.opened

    run(open_websocket)
    server.send(Message(Protocol.CONTROL, "ping", "s"))
    assert "pong" == server.receive().typ
    assert tries[1] - tries[0] >= 1.0
    server.sock.close()
