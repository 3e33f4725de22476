"""The parts of simulated devices: names, keys, inventories, options, and the report."""

from __future__ import annotations

import argparse
import stat
import threading
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mender_client import __version__
from mender_fleet.cli import locust_arguments, main
from mender_fleet.hardware import DerivedKey, digest_of, make_identity, make_inventory, provide_seed, read_same_seed
from mender_fleet.memory import MadeUpLog
from mender_fleet.options import add_options, foreign_server, settings_of, wrong_usage
from mender_fleet.report import Outcomes, draw, summary
from mender_fleet.shares import apply_shares, parse_shares
from mender_fleet.traffic import name_of

SEED = bytes(range(32))


def options(*given: str) -> Namespace:
    """The options that the command line gives."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(given)


# Keys and names


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_key_follows_from_seed_and_name(kind: str) -> None:
    """The same seed and name make the same key, so the next run has the same devices; each signs with its own key."""
    key = DerivedKey(SEED, "one", kind)
    assert key.public_key_pem() == DerivedKey(SEED, "one", kind).public_key_pem()
    assert key.public_key_pem() != DerivedKey(SEED, "two", kind).public_key_pem()
    public = load_pem_public_key(key.public_key_pem().encode())
    if isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(key.sign(b"message"), b"message")
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(key.sign(b"message"), b"message", ec.ECDSA(hashes.SHA256()))


def test_seed_is_made_once_and_private(tmp_path: Path) -> None:
    """The first run creates the seed, readable only by its owner, and the next one reads it."""
    file = tmp_path / "fleet.seed"
    seed = provide_seed(file)
    assert (seed, 0o600) == (provide_seed(file), stat.S_IMODE(file.stat().st_mode))
    assert seed == read_same_seed(file, digest_of(seed))
    with pytest.raises(ValueError, match="it is not the master's"):
        read_same_seed(file, digest_of(bytes(32)))
    file.write_text("abcd\n")
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        provide_seed(file)


def test_workers_that_start_together_have_one_seed(tmp_path: Path) -> None:
    """Whichever worker creates the seed first, all use the same one, and read it only when it is complete."""
    workers = 8
    for attempt in range(20):
        file, together = tmp_path / f"{attempt}.seed", threading.Barrier(workers)

        def provide(_: int, file: Path = file, together: threading.Barrier = together) -> bytes:
            together.wait()
            return provide_seed(file)

        with ThreadPoolExecutor(workers) as pool:
            assert len(set(pool.map(provide, range(workers)))) == 1
    assert {".seed"} == {one.suffix for one in tmp_path.iterdir()}


def test_inventory_is_as_long_as_wished() -> None:
    """An inventory has the requested number of attributes, and differs between devices."""
    assert [5, 60, 99] == [len(make_inventory("one", length)) for length in (5, 60, 99)]
    assert make_inventory("one", 60) != make_inventory("two", 60)
    assert make_identity("one")["mac"] == make_inventory("one", 60)["mac_eth0"]


def test_log_is_as_long_as_wished() -> None:
    """The log of a failed device has the requested number of lines, and ends with the reason."""
    log = MadeUpLog(20)
    log.fail("no space left")
    lines = list(log.messages("1234"))
    assert (20, "error", "no space left") == (len(lines), lines[-1].level, lines[-1].message)
    assert sorted(lines, key=lambda one: one.timestamp) == lines


# The command line


def test_own_names_become_those_of_locust() -> None:
    """``--server`` and ``--devices`` are Locust's host and users; all other options are passed through."""
    told = locust_arguments(["--server", "https://x", "--devices=10000", "--headless", "--csv", "out"])
    assert ["--host", "https://x", "--users=10000", "--headless", "--csv", "out", "--spawn-rate", "100"] == told[2:-2]
    assert ["--web-host", "127.0.0.1"] == told[-2:]
    assert "--locustfile" == told[0]
    assert Path(told[1]).exists()


def test_given_file_and_rate_stay() -> None:
    """A given locustfile, spawn rate or address of the web page is used."""
    given = ["-f", "mine.py", "-u", "10", "-r", "5", "--web-host", "192.0.2.1"]
    assert given == locust_arguments(given)


def test_intervals_can_be_sped_up() -> None:
    """All intervals are divided by the factor, and none becomes shorter than the client allows."""
    settings = settings_of("https://x", options("--poll", "1800", "--speed-up", "10"), {"DownloadSpeedLimit": 5})
    assert {
        "ServerURL": "https://x",
        "UpdatePollIntervalSeconds": 180,
        "InventoryPollIntervalSeconds": 2880,
        "RetryPollIntervalSeconds": 30,
        "DownloadSpeedLimit": 5,
    } == settings
    assert 1 == settings_of("https://x", options("--speed-up", "100000"), {})["UpdatePollIntervalSeconds"]


@pytest.mark.parametrize(
    ("url", "given", "is_refused"),
    [
        ("https://127.0.0.1:8443", (), False),
        ("https://localhost", (), False),
        ("https://[::1]:1", (), False),
        ("https://hosted.mender.io", (), True),
        ("https://192.168.0.2", (), True),
        ("https://hosted.example.com", ("--this-is-my-server",), False),
    ],
)
def test_other_servers_need_a_word(url: str, given: tuple[str, ...], is_refused: bool) -> None:
    """A server on another machine is put under load only if the user confirms that it is theirs."""
    assert is_refused == bool(foreign_server(url, options(*given)))


@pytest.mark.parametrize(
    ("url", "given", "has_page", "problem"),
    [
        ("", (), False, "specify a server with --server"),
        ("", (), True, ""),
        ("https://localhost", ("--preauthorize",), False, "pass --management-token-file"),
        ("https://localhost", ("--preauthorize", "--devserver", "server"), False, ""),
        ("https://localhost", ("--accept",), False, "pass --management-token-file"),
        ("https://localhost", ("--accept", "--management-token-file", "token"), False, ""),
        ("https://localhost", (), False, ""),
    ],
)
def test_wrong_usage_is_said(url: str, given: tuple[str, ...], has_page: bool, problem: str) -> None:
    """A fleet without a server, or without a token for preauthorising, doesn't start."""
    said = wrong_usage(url, options(*given), has_page=has_page)
    assert (bool(problem), True) == (bool(said), problem in said)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("--speed-up", "0"), "argument --speed-up: '0' is too small"),
        (("--accept-rate", "inf"), "argument --accept-rate: 'inf' is too large"),
        (("--poll", "1.5"), "argument --poll: '1.5' is not a whole number"),
        (("--attributes", "-1"), "argument --attributes: '-1' is too small"),
        (("--shares", "healthy"), "argument --shares: 'healthy' isn't KIND=NUMBER"),
        (("--shares", "healthy=0"), "argument --shares: all shares are 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(
    given: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that no device could use is refused before any device starts."""
    with pytest.raises(SystemExit):
        options(*given)
    assert problem in capsys.readouterr().err


def test_shares_decide_what_the_fleet_is_made_of() -> None:
    """Each class has the given share, by its name with or without the suffix; other classes have none."""
    kinds = [type(name, (), {"weight": 7}) for name in ("HealthyDevice", "SlowDevice", "Camera")]
    left = apply_shares(parse_shares("healthy=95, CAMERA=5, slow=0"), kinds)
    assert [("HealthyDevice", 95), ("Camera", 5)] == [(one.__name__, vars(one)["weight"]) for one in left]
    with pytest.raises(ValueError, match="there is no 'toaster'; there are camera, healthy, slow"):
        apply_shares({"toaster": 1}, kinds)


@pytest.mark.parametrize(("word", "told"), [("--help", "fleet options:"), ("-V", "mender-fleet ")])
def test_program_tells_about_itself(word: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` has the options of a fleet in a separate group; ``--version`` prints both versions."""
    with pytest.raises(SystemExit) as caught:
        main([word])
    assert (0, True) == (caught.value.code, told in (said := capsys.readouterr().out))
    assert __version__ in said or "--accept-rate NUMBER" in said


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/devices/v1/authentication/auth_requests", "v1/authentication/auth_requests"),
        (
            "/api/devices/v1/deployments/device/deployments/0a1b/status",
            "v1/deployments/device/deployments/{id}/status",
        ),
        (
            "/api/devices/v1/deployments/device/deployments/next?artifact_name=x",
            "v1/deployments/device/deployments/next",
        ),
    ],
)
def test_endpoint_has_one_name(path: str, name: str) -> None:
    """Parts of a path that differ between deployments aren't in the name under which requests are counted."""
    assert name == name_of(f"https://x{path}")


# The report


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_master_puts_reports_together() -> None:
    """Each worker's counts are sent once, and are added up at the master."""
    clock = Clock()
    worker, master = Outcomes(clock), Outcomes(clock)
    worker.note("offered")
    worker.note_sent(100)
    master.add(worker.take())
    clock.seconds += 60
    worker.note("success")
    master.add(worker.take())
    master.add(worker.take())
    assert (worker.slots, 100) == (master.slots, master.sent_bytes)
    assert (1, 1) == (master.total("offered"), master.total("success"))
    assert 65.0 == master.seconds()
    for _ in range(64):
        master.note("failure")
    clock.seconds += 35
    assert (60.0, 65) == master.per_minute()


def test_summary_tells_how_it_went() -> None:
    """The report has the number, the duration and the rate of deployments; without any it says that."""
    clock = Clock()
    outcomes = Outcomes(clock)
    outcomes.note_sent(1 << 20)
    assert "deployments       none was offered" in summary(outcomes, download_bytes=0, received_bytes=0)
    for kind, count in (("offered", 10), ("success", 7), ("failure", 2)):
        for _ in range(count):
            outcomes.note(kind)
        clock.seconds += 10
    text = summary(outcomes, download_bytes=3 << 20, received_bytes=5 << 20)
    assert "10 offered, 7 success, 2 failure, 1 unfinished" in text
    assert "25 s from the first offer" in text
    assert "3.0 MiB Artifacts, 2.0 MiB other replies, 1.0 MiB sent" in text


def test_picture_is_svg() -> None:
    """The chart is valid XML with a line for offers, successes and failures, whatever the title contains."""
    clock = Clock()
    outcomes = Outcomes(clock)
    outcomes.note("offered")
    clock.seconds += 100
    outcomes.note("success")
    picture = ElementTree.fromstring(draw(outcomes, "a <title> & more"))
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
    assert 3 == len(lines)
    assert "672.0,48.0" == lines[1].get("points", "").split()[-1]
