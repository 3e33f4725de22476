"""Names with several addresses, some of which don't answer, and names that take long to resolve."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import pytest

from mender_client.core.proxies import read_proxies
from mender_client.core.wire.messages import Request
from mender_client.errors import Interrupted, NetworkError
from mender_client.system.dial import Address, in_turn
from mender_client.system.tls import TlsSettings
from waiting import NEVER_S, PATIENCE_S, wait_until

from .authority import Authority
from .conftest import MakeTransport
from .forwardproxy import ForwardProxy
from .rawserver import RawServer, answer, keep_alive, raw
from .test_fetch import read_all
from .test_http import INTERRUPTED_SOON_S, by_signal, by_thread

HOST = "updates.example"
SILENT_ADDRESSES = 8
WITHIN_S = 10.0
"""Ten times the usual duration, and no more than the time limit of one connection."""


@contextlib.contextmanager
def swallowing(family: socket.AddressFamily = socket.AF_INET6) -> Iterator[int]:
    """A port of this device where a SYN is never answered, because the queue of its listener is full."""
    host = "::1" if family is socket.AF_INET6 else "127.0.0.1"
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def v4(port: int) -> Address:
    """An IPv4 address of this device, as the resolver returns it."""
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))


def v6(port: int) -> Address:
    """An IPv6 address of this device, as the resolver returns it."""
    return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", port, 0, 0))


def get(port: int = 80) -> Request:
    """A request to a name that only the test's resolver knows."""
    return Request("GET", f"http://{HOST}:{port}/")


def test_swallowed_family(make_transport: MakeTransport) -> None:
    """If IPv6 packets are dropped, eight silent addresses before the good one hardly delay requests and downloads."""
    with swallowing() as silent, RawServer(raw(answer(b"x"))) as server:
        found = [*[v6(silent)] * SILENT_ADDRESSES, v4(server.port)]
        transport = make_transport(connect=NEVER_S, resolve=lambda *_: found)
        began = time.monotonic()
        assert b"x" == transport.send(get()).body
        assert b"x" == read_all(transport.open(f"http://{HOST}/", {}))
        assert time.monotonic() - began < WITHIN_S
        assert 2 == server.connections


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_silent_addresses_of_one_family(make_transport: MakeTransport, family: socket.AddressFamily) -> None:
    """Eight silent addresses of either family before the good one don't make a request exceed its time limit."""
    with swallowing(family) as silent, RawServer(raw(answer(b"x"))) as server:
        found = [v4(silent) if family is socket.AF_INET else v6(silent)] * SILENT_ADDRESSES + [v4(server.port)]
        transport = make_transport(connect=NEVER_S, total=WITHIN_S, resolve=lambda *_: found)
        assert b"x" == transport.send(get()).body


def test_what_answered_is_tried_first(make_transport: MakeTransport) -> None:
    """The address that answered is tried first the next time; if the name no longer has it, another of its family."""
    servers = [RawServer(raw(answer(name))) for name in (b"other", b"good", b"new")]
    with (
        swallowing(socket.AF_INET) as silent,
        servers[0] as other,
        servers[1] as good,
        servers[2] as new,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as mute,
    ):
        found = [v4(silent), v4(good.port)]
        transport = make_transport(resolve=lambda *_: found)
        assert b"good" == transport.send(get()).body
        transport.rest()
        found = [v4(other.port), v4(good.port)]
        assert b"good" == transport.send(get()).body
        transport.rest()
        found = [v6(mute.getsockname()[1]), v4(new.port)]
        assert b"new" == transport.send(get()).body


def test_family_that_loses_what_is_sent(
    make_transport: MakeTransport, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After a TLS handshake has timed out over one address family, the other one is tried first."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    context = authority.issue(HOST).server_context()
    tls = TlsSettings(ca_file=authority.certificate)
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as mute,
        RawServer(raw(answer(b"x")), tls=context) as server,
    ):
        found = [v6(mute.getsockname()[1]), v4(server.port)]
        transport = make_transport(tls, connect=5.0, resolve=lambda *_: found)
        request = Request("GET", f"https://{HOST}/")
        with pytest.raises(NetworkError) as caught:
            transport.send(request)
        assert "timeout" == caught.value.kind
        for _ in range(3):
            assert b"x" == transport.send(request).body
            transport.rest()


def test_proxy_of_several_addresses(make_transport: MakeTransport) -> None:
    """The addresses of a proxy are raced, too."""
    with swallowing() as silent, RawServer(raw(answer(b"x"))) as server, ForwardProxy(server) as proxy:
        found = [*[v6(silent)] * SILENT_ADDRESSES, v4(proxy.port)]
        proxies = read_proxies({"all_proxy": "http://proxy.example:3128"})
        transport = make_transport(connect=WITHIN_S, proxies=proxies, resolve=lambda *_: found)
        began = time.monotonic()
        assert b"x" == transport.send(get()).body
        assert time.monotonic() - began < WITHIN_S
        transport.rest()


def test_no_address_answers(make_transport: MakeTransport, closed_port: int) -> None:
    """If an address never answers, the request ends at its time limit; if all refuse, it ends with their error."""
    with swallowing() as silent:
        transport = make_transport(total=0.5, resolve=lambda *_: [v6(silent), v4(closed_port)])
        with pytest.raises(NetworkError) as caught:
            transport.send(get())
        assert "timeout" == caught.value.kind
    transport = make_transport(resolve=lambda *_: [v6(closed_port), v4(closed_port)])
    with pytest.raises(NetworkError) as caught:
        transport.send(get())
    assert "refused" == caught.value.kind


def test_one_silent_address(make_transport: MakeTransport) -> None:
    """A connection attempt to a silent address ends at the time limit for connections."""
    with swallowing() as silent, pytest.raises(NetworkError) as caught:
        make_transport(connect=0.2, resolve=lambda *_: [v6(silent)]).send(get())
    assert "timeout" == caught.value.kind


def test_order() -> None:
    """Families alternate, starting with the resolver's first; the last address to answer, or its family, is first."""
    found = [v6(1), v6(2), v6(3), v4(4), v4(5)]
    assert [v6(1), v4(4), v6(2), v4(5), v6(3)] == in_turn(found, None)
    assert [v4(5), v6(1), v4(4), v6(2), v6(3)] == in_turn(found, v4(5))
    assert [v4(4), v6(1), v4(5), v6(2), v6(3)] == in_turn(found, v4(6))


@pytest.mark.parametrize("inward", [v4, v6])
def test_internal_among_others(make_transport: MakeTransport, inward: Callable[[int], Address]) -> None:
    """A redirect from outside to a name with an internal address among others is refused without a connection to it."""
    with RawServer(raw(answer(b"inside"))) as inside:
        outside: Address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("192.0.2.1", inside.port))
        script = keep_alive(answer(b"", "Location: http://inward.example/", status=302))
        with RawServer(script) as server, ForwardProxy(server) as proxy:
            proxies = read_proxies({"all_proxy": proxy.url, "no_proxy": "inward.example"})
            addresses = {"127.0.0.1": [v4(proxy.port)], "inward.example": [outside, inward(inside.port)]}
            transport = make_transport(proxies=proxies, resolve=lambda host, _: addresses[host])
            with pytest.raises(NetworkError, match="it leads from outside to an address of this device"):
                transport.open(f"http://{HOST}/", {})
        assert 0 == inside.connections


class Stuck:
    """A resolver that never returns, as with a name server that doesn't answer."""

    def __init__(self) -> None:
        self.calls = 0
        self._end = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[Address]:
        """Wait for the test to end, and then fail."""
        self.calls += 1
        self._end.wait(PATIENCE_S)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")

    def end(self) -> None:
        """Make all calls fail."""
        self._end.set()


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    """A resolver whose threads end with the test."""
    made = Stuck()
    yield made
    made.end()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "resolver"])


@pytest.mark.parametrize("by", [by_thread, by_signal])
def test_stop_while_a_name_is_resolved(
    make_transport: MakeTransport,
    stuck: Stuck,
    by: Callable[[Callable[[], None]], AbstractContextManager[Callable[[], None]]],
) -> None:
    """A stop ends the wait for a name server that doesn't answer."""
    transport = make_transport(resolve=stuck)
    with by(transport.stop) as stop:

        def watch() -> None:
            wait_until(lambda: stuck.calls)
            stop()

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            transport.send(get())
        assert time.monotonic() - began < INTERRUPTED_SOON_S
        watcher.join()


def test_deadline_while_names_are_resolved(make_transport: MakeTransport, stuck: Stuck) -> None:
    """The time limit of a request applies to resolving its name, too; a resolver that never returns is called once."""
    transport = make_transport(total=0.2, resolve=stuck)
    for _ in range(3):
        with pytest.raises(NetworkError) as caught:
            transport.send(get())
        assert "dns" == caught.value.kind
    assert 1 == stuck.calls


def test_resolved_later(make_transport: MakeTransport, stuck: Stuck) -> None:
    """A lookup that ends after its request is not used for the next one: the resolver is called again."""
    transport = make_transport(total=0.2, resolve=stuck)
    with pytest.raises(NetworkError):
        transport.send(get())
    stuck.end()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "resolver"])
    with pytest.raises(NetworkError):
        transport.send(get())
    assert 2 == stuck.calls


EXITS = """
import signal, time
from mender_client.core.wire.messages import Request
from mender_client.errors import Interrupted
from mender_client.system.http import HttpTransport
from mender_client.system.tls import TlsSettings

def stuck(host, port):
    print("asked", flush=True)
    time.sleep(3600)

transport = HttpTransport(tls=TlsSettings(), user_agent="test", resolve=stuck)
signal.signal(signal.SIGTERM, lambda *_: transport.stop())
try:
    transport.send(Request("GET", "http://updates.example/"))
except Interrupted:
    print("stopped", flush=True)
"""


def test_exit_while_a_name_is_resolved() -> None:
    """The process exits even while a name is being resolved."""
    with subprocess.Popen([sys.executable, "-c", EXITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "asked\n" == process.stdout.readline()
        process.terminate()
        assert "stopped\n" == process.communicate(timeout=PATIENCE_S)[0]
    assert 0 == process.returncode


NO_THREADS = """
import threading
from mender_client.system.connection import ConnectionGuard, Timeouts
from mender_client.system.dial import Dialer

threading.stack_size(1 << 46)
print(Dialer(ConnectionGuard(Timeouts()), lambda *_: [threading.current_thread().name]).resolve("updates.example", 80))
"""


def test_no_thread_to_be_had() -> None:
    """If no thread can be started, a name is resolved without one."""
    done = subprocess.run([sys.executable, "-c", NO_THREADS], capture_output=True, text=True, check=False)
    assert ("['MainThread']\n", "") == (done.stdout, done.stderr)


def test_no_thread_for_an_address(make_transport: MakeTransport) -> None:
    """A numeric address is resolved without a thread, and the thread for a name ends with the lookup."""
    threads: list[str] = []

    def resolve(host: str, port: int) -> Sequence[Address]:
        threads.append(threading.current_thread().name)
        return [v4(server.port)]

    with RawServer(raw(answer(b"x"))) as server:
        transport = make_transport(resolve=resolve)
        for host in ("127.0.0.1", "0x7f000001", "[::1]", "[fe80::1%25lo]", HOST):
            transport.send(Request("GET", f"http://{host}/"))
    assert [threading.current_thread().name] * 4 + ["resolver"] == threads
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "resolver"])
