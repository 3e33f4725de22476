"""Downloading an Artifact from an unreliable object store."""

from __future__ import annotations

import logging
import re

import pytest

from mender_client.client.download_policy import DownloadPolicy
from mender_client.client.pace import PaceLimits
from mender_client.core.artifact import rootfs_image
from mender_client.core.model import Status
from mender_client.errors import ArtifactError, ErrorKind, Interrupted, NetworkError
from world import NEW, Answer, Options, Refused, Stage, World, at, build_artifact
from world.stores import PARTIAL

from .acting import client_of, kinds_since, run_for, started, with_deployment

SIZE_OF_A_PIECE = 4096


def poll(world: World) -> World:
    """One step in which the deployment is found."""
    client_of(world).request_poll()
    client_of(world).step()
    return world


def size(world: World) -> int:
    """The Artifact's length."""
    return len(world.stage.content(NEW))


def is_in_hands(world: World) -> bool:
    """Whether it was handed over; the sub-updater's own check has then found it whole."""
    return client_of(world).has_handed_over


def test_in_one_piece(stage: Stage) -> None:
    """Without faults, the object is downloaded in a single request without a range."""
    world = poll(with_deployment(World(stage)))
    assert ([""], size(world), True) == (world.transport.ranges, world.transport.fetched, is_in_hands(world))


def test_broken_connections(stage: Stage) -> None:
    """A connection that breaks is resumed where it broke, as often as there is progress."""
    world = with_deployment(World(stage, Options(policy=DownloadPolicy(tries_without_progress=2))))
    world.transport.cut_bodies_at = lambda number: 1000
    poll(world)
    assert is_in_hands(world)
    assert ["", "bytes=1000-", "bytes=2000-"] == world.transport.ranges[:3]


def test_short_bodies(stage: Stage) -> None:
    """A body that ends before the promised length is found out by counting, and resumed."""
    world = with_deployment(World(stage))
    data = world.stage.content(NEW)
    headers = {"content-length": str(len(data)), "etag": '"e"'}
    world.transport.rules.append(at("download", Answer(200, headers, data[:1500]), 1))
    poll(world)
    assert is_in_hands(world)
    assert ["", "bytes=1500-"] == world.transport.ranges


def test_without_a_length(stage: Stage) -> None:
    """A response without a length may end anywhere; the Artifact's own digests show whether it is complete."""
    world = with_deployment(World(stage))
    data = world.stage.content(NEW)
    world.transport.rules.append(at("download", Answer(200, {}, data), 1))
    assert is_in_hands(poll(world))
    world = with_deployment(World(stage))
    world.transport.rules.append(at("download", Answer(200, {}, data[:-2000])))
    assert not is_in_hands(poll(world))
    assert "failure" == world.server.status


def test_whole_object_on_resume(stage: Stage) -> None:
    """A storage that answers a range with the whole object is taken from zero, and nothing is spliced."""
    world = with_deployment(World(stage))
    world.transport.cut_bodies_at = lambda number: 1000 if number == 1 else None
    data = world.stage.content(NEW)
    world.transport.rules.append(at("download", Answer(200, {"content-length": str(len(data))}, data), 2))
    poll(world)
    assert ["", "bytes=1000-", ""] == world.transport.ranges
    assert is_in_hands(world)


@pytest.mark.parametrize("header", [{"etag": '"other"'}, {"content-range": "bytes 1000-1999/99999"}])
def test_changed_object(stage: Stage, header: dict[str, str]) -> None:
    """An object that changed while it was fetched is begun from zero."""
    world = with_deployment(World(stage))
    world.transport.cut_bodies_at = lambda number: 1000 if number == 1 else None
    total = size(world)
    headers = {"content-range": f"bytes 1000-{total - 1}/{total}", **header}
    world.transport.rules.append(at("download", Answer(206, headers, b"x" * 1000), 2))
    poll(world)
    assert ["", "bytes=1000-", ""] == world.transport.ranges
    assert is_in_hands(world)


def test_more_than_promised(stage: Stage) -> None:
    """A storage that sends more bytes than it promised is begun from zero."""
    world = with_deployment(World(stage))
    data = world.stage.content(NEW)
    world.transport.rules.append(at("download", Answer(200, {"content-length": "3000"}, data), 1))
    poll(world)
    assert ["", ""] == world.transport.ranges
    assert is_in_hands(world)


def interrupted_after(world: World, kept: int) -> World:
    """A client that was stopped when ``kept`` bytes were there, and a fresh one."""
    world.transport.cut_bodies_at = lambda number: kept
    world.clock.stops_after_sleeps = len(world.clock.sleeps)
    with pytest.raises(Interrupted):
        poll(world)
    world.transport.cut_bodies_at = lambda number: None
    world.clock.stops_after_sleeps = None
    world.client = world.new_client()
    return world


def test_across_a_restart(stage: Stage) -> None:
    """Bytes that a previous process downloaded are read to verify them, and are not downloaded again."""
    world = interrupted_after(with_deployment(World(stage)), 2500)
    poll(world)
    assert ["", "bytes=2500-"] == world.transport.ranges
    assert is_in_hands(world)


def test_everything_is_there(stage: Stage) -> None:
    """When every byte is there already, nothing is fetched."""
    world = with_deployment(World(stage))
    world.transport.rules.append(at("status installing", Refused(), 1))
    poll(world)
    before = world.transport.counts["download"]
    world.client = world.new_client()
    poll(world)
    assert (before, True) == (world.transport.counts["download"], is_in_hands(world))


@pytest.mark.parametrize("where", [10, 1200])
def test_damaged_bytes_on_disk(stage: Stage, where: int) -> None:
    """If bytes of a previous process are corrupt, as after a power cut, the whole Artifact is downloaded again."""
    world = interrupted_after(with_deployment(World(stage)), 2500)
    inode = world.disk.inode(PARTIAL)
    assert inode is not None
    inode.data[where] ^= 0xFF
    poll(world)
    assert is_in_hands(world)
    assert "" == world.transport.ranges[-1]


def test_bytes_of_nobody(stage: Stage) -> None:
    """Bytes on disk of which the journal knows no promise are not trusted."""
    world = with_deployment(World(stage))
    world.disk.put(PARTIAL, b"bytes of an older client")
    poll(world)
    assert ([""], True) == (world.transport.ranges, is_in_hands(world))


@pytest.mark.parametrize(("total", "begins_anew"), [("same", False), ("longer", True), ("none", True)])
def test_range_past_the_end(stage: Stage, total: str, begins_anew: bool) -> None:
    """416 means that every byte is there if the total is what is on disk; else the download starts again."""
    world = with_deployment(World(stage))
    data = world.stage.content(NEW)
    said = {"same": {"content-range": f"bytes */{len(data)}"}, "longer": {"content-range": "bytes */99999"}, "none": {}}
    world.transport.rules += [
        at("download", Answer(200, {"etag": '"e"'}, data), 1),  # no length: the end is only the proof's to find
        at("download", Answer(416, said[total]), 2),
        at("status installing", Refused(), 1),
    ]
    poll(world)
    world.client = world.new_client()
    poll(world)
    assert is_in_hands(world)
    assert (["", f"bytes={len(data)}-"] + [""] * begins_anew) == world.transport.ranges


@pytest.mark.parametrize("status", [401, 403])
def test_expired_link(stage: Stage, status: int) -> None:
    """An expired link is replaced by asking for the deployment again; the bytes stay."""
    world = with_deployment(World(stage))
    world.transport.cut_bodies_at = lambda number: 1000 if number == 1 else None
    world.transport.rules.append(at("download", Answer(status), 2))
    before = len(world.transport.requests)
    poll(world)
    assert ["next", "status downloading", "download", "download", "next", "download", "status installing"] == (
        kinds_since(world, before)
    )
    assert "bytes=1000-" == world.transport.ranges[-1]


def test_really_expired_link(stage: Stage) -> None:
    """A link whose time is over when the device comes back succeeded after one poll."""
    world = with_deployment(World(stage))
    world.server.state.storage.link_seconds = 0.5
    world.transport.cut_bodies_at = lambda number: 1000 if number == 1 else None
    poll(world)
    assert is_in_hands(world)


def test_no_longer_offered(stage: Stage) -> None:
    """A deployment that is no longer offered when a fresh link is asked for has ended."""
    world = with_deployment(World(stage))
    world.transport.rules.append(at("download", Answer(403), 1))
    world.transport.before_request = lambda kind, number: world.server.abort() if kind == "download" else None
    poll(world)
    assert (None, (), None) == (
        world.journal.load().update,
        world.journal.load().outbox,
        world.disk.read(PARTIAL),
    )


def test_no_fresh_link_now(stage: Stage) -> None:
    """When the server is in trouble while a fresh link is asked for, the download goes on later."""
    world = with_deployment(World(stage))
    world.transport.cut_bodies_at = lambda number: 1000 if number == 1 else None
    world.transport.rules += [
        at("download", Answer(403), 2),
        at("next", Answer(500), world.transport.counts["next"] + 2),
    ]
    poll(world)
    assert not is_in_hands(world)
    run_for(world, 61)
    assert "bytes=1000-" == world.transport.ranges[-1]


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_object_is_gone(stage: Stage, status: int) -> None:
    """An object that fresh links don't lead to either fails the deployment after RetryDownloadCount tries."""
    world = with_deployment(World(stage))
    world.transport.rules.append(at("download", Answer(status)))
    poll(world)
    assert ("failure", 12) == (world.server.status, world.transport.counts["download"])


def test_link_that_may_not_be_followed(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A link to a forbidden address fails the deployment after RetryDownloadCount attempts, each with a fresh link."""
    world = with_deployment(World(stage))

    def refuse(kind: str, number: int) -> None:
        if kind == "download":
            raise NetworkError("NET01", "cannot follow the link", kind=ErrorKind.REDIRECT)

    world.transport.before_request = refuse
    polls = world.transport.counts["next"]
    poll(world)
    assert ("failure", 11) == (world.server.status, world.transport.counts["download"])
    assert 10 <= world.transport.counts["next"] - polls
    assert "cannot follow the link; gave up after 11 failed attempts" in caplog.text


def test_object_is_gone_now_and_then(stage: Stage) -> None:
    """An object that is missing now and then, with new bytes in between, is not gone."""
    world = with_deployment(World(stage))
    world.transport.cut_bodies_at = lambda number: 1000 if number in (1, 3) else None
    world.transport.rules.append(at("download", Answer(404), 2, 4))
    assert is_in_hands(poll(world))


def test_object_is_back(stage: Stage) -> None:
    """An object that is there under a fresh link is fetched."""
    world = with_deployment(World(stage))
    world.transport.rules.append(at("download", Answer(404), 1))
    assert is_in_hands(poll(world))


@pytest.mark.parametrize("status", [500, 502, 503])
def test_storage_in_trouble(stage: Stage, status: int) -> None:
    """A storage in trouble is asked again after about a second, then later and later."""
    world = with_deployment(World(stage))
    world.transport.rules.append(at("download", Answer(status), 1, 2, 3))
    poll(world)
    assert is_in_hands(world)
    first, second, third = world.clock.sleeps
    assert 0.6 <= first <= 1 < second <= 2 < third <= 4


def test_storage_asks_for_patience(stage: Stage) -> None:
    """A 429 with Retry-After is asked again when the storage wants it."""
    world = with_deployment(World(stage))
    world.transport.rules.append(at("download", Answer(429, {"retry-after": "77"}), 1))
    poll(world)
    assert is_in_hands(world)
    assert 77 <= world.clock.sleeps[0] <= 85


def test_only_tries_without_progress_count(stage: Stage) -> None:
    """RetryDownloadCount tries in a row without a new byte end a download; bytes seen before are no progress."""
    policy = DownloadPolicy(tries_without_progress=3, patience_seconds=0)
    world = with_deployment(World(stage, Options(policy=policy)))
    world.transport.cut_bodies_at = lambda number: 500 if number < 5 else 0
    poll(world)
    assert "failure" == world.server.status
    assert 4 + 3 == world.transport.counts["download"]


@pytest.mark.parametrize("fault", [Refused(), Answer(503)], ids=["unreachable", "503"])
def test_outage_during_the_download(stage: Stage, fault: Refused | Answer) -> None:
    """A storage that can't be reached, or is in trouble, fails the download after an hour, not after some tries."""
    world = with_deployment(World(stage, Options(policy=DownloadPolicy(longest_wait_seconds=5))))
    world.transport.rules.append(at("download", fault))
    began = world.clock.seconds
    poll(world)
    assert "failure" == world.server.status
    assert 3600 <= world.clock.seconds - began < 3700


def test_short_outage_with_short_waits(stage: Stage) -> None:
    """An outage of half an hour costs no deployment, however short the waits between the tries are."""
    world = with_deployment(World(stage, Options(policy=DownloadPolicy(longest_wait_seconds=5))))
    end = world.clock.seconds + 1800
    world.transport.rules.append(
        lambda kind, number: Refused() if kind == "download" and world.clock.seconds < end else None
    )
    assert is_in_hands(poll(world))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_fresh_link_at_once(stage: Stage, status: int) -> None:
    """A link that doesn't work is replaced at once, also after an outage; only a fresh one that fails is waited for."""
    world = with_deployment(World(stage))
    world.transport.rules += [at("download", Refused(), *range(1, 10)), at("download", Answer(status), 10, 11)]
    poll(world)
    assert is_in_hands(world)
    assert 9 + 1 == len(world.clock.sleeps)


@pytest.mark.parametrize("times", [1, 3, 10])
def test_captive_portal(stage: Stage, times: int) -> None:
    """A web page with 200 in place of the Artifact is tried again with a fresh link."""
    world = with_deployment(World(stage))
    page = b"<html>please log in</html>" * 100
    answer = Answer(200, {"content-length": str(len(page)), "content-type": "text/html"}, page)
    world.transport.rules.append(at("download", answer, *range(1, times + 1)))
    polls = world.transport.counts["next"]
    assert is_in_hands(poll(world))
    assert times == world.transport.counts["next"] - polls - 1


def test_captive_portal_for_good(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A web page that stays fails the deployment, with the reason."""
    world = with_deployment(World(stage))
    world.transport.rules.append(at("download", Answer(200, {}, b"<html>please log in</html>" * 100)))
    poll(world)
    assert ("failure", 11) == (world.server.status, world.transport.counts["download"])
    assert "something else was sent in its place" in caplog.text


def test_cut_without_a_length(stage: Stage) -> None:
    """A body without a length that is cut is fetched again."""
    world = with_deployment(World(stage))
    data = world.stage.content(NEW)
    world.transport.rules.append(at("download", Answer(200, {}, data[:-2000]), 1, 2))
    assert is_in_hands(poll(world))
    assert ["", "", ""] == world.transport.ranges


def test_other_etag_of_each_node(stage: Stage) -> None:
    """Nodes of a storage that give the same object different ETags don't make the download start over."""
    world = with_deployment(World(stage))
    data = world.stage.content(NEW)
    total = len(data)
    for number, start in enumerate(range(0, total, 1000), 1):
        headers = {"content-length": str(total - start), "etag": f'"{number}"'}
        if start:
            headers["content-range"] = f"bytes {start}-{total - 1}/{total}"
        answer = Answer(206 if start else 200, headers, data[start : start + 1000])
        world.transport.rules.append(at("download", answer, number))
    assert is_in_hands(poll(world))
    assert ["", "bytes=1000-", "bytes=2000-"] == world.transport.ranges[:3]
    assert 1 == world.transport.ranges.count("")


def test_not_enough_room(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """An Artifact that doesn't fit is refused before its first byte is stored, and both figures are named."""
    world = with_deployment(World(stage, Options(policy=DownloadPolicy(reserve_bytes=1000))))
    world.disk.free_bytes = 2000
    poll(world)
    assert "failure" == world.server.status
    assert f"it needs {size(world) + 1000} bytes" in caplog.text
    assert "2000 are free" in caplog.text
    assert not [name for name in world.power.trace if name.startswith("append")]


def big(stage: Stage, name: str, device_type: str) -> str:
    """An Artifact with a large payload."""
    stage.add("big-one", build_artifact(rootfs_image(name, (device_type,)), b"x" * 1_000_000))
    return "big-one"


def received(world: World) -> int:
    """Bytes that came to the disk."""
    return SIZE_OF_A_PIECE * sum(name.startswith("append") for name in world.power.trace)


@pytest.mark.parametrize(
    ("name", "device_type", "words"),
    [(NEW, "another", "another"), ("release-9", "board", "announced 'release-2'")],
)
def test_refused_after_the_header(
    stage: Stage, caplog: pytest.LogCaptureFixture, name: str, device_type: str, words: str
) -> None:
    """A wrong device type or another name than announced is refused before the payload is fetched."""
    world = with_deployment(World(stage), big(stage, name, device_type))
    poll(world)
    assert "failure" == world.server.status
    assert words in caplog.text
    assert received(world) < 100_000


def test_refused_after_a_restart(stage: Stage) -> None:
    """An Artifact that is refused after a resumed download is downloaded again once; then the deployment fails."""
    world = interrupted_after(with_deployment(World(stage), "not-for-this-board"), 600)
    poll(world)
    assert ("failure", "") == (world.server.status, world.transport.ranges[-1])


def test_signature(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """With a key to check signatures with, an Artifact without one is refused."""

    def refuse(manifest: bytes, signature: bytes | None = None) -> None:
        raise ArtifactError("cannot trust it")

    world = with_deployment(World(stage, Options(policy=DownloadPolicy(check_signature=refuse))))
    poll(world)
    assert "failure" == world.server.status
    assert {} == dict(world.starts)


def test_progress_in_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The log says every half a minute how far a download is and how fast, without naming the deployment each time."""
    caplog.set_level(logging.INFO, "mender_client")
    policy = DownloadPolicy(pace=PaceLimits(most_bytes_per_second=10_240))
    world = with_deployment(World(stage, Options(policy=policy)), big(stage, NEW, "board"))
    poll(world)
    lines = [record for record in caplog.records if record.message.startswith("download: ")]
    assert 3 == len(lines)
    assert re.fullmatch(r"download: \d+\.\d KiB of 9\d\d\.\d KiB \(3\d %\), 10\.\d KiB/s", lines[0].message)
    assert all(hasattr(record, "is_routine") for record in lines)


def test_no_progress_of_a_quick_download(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A download of less than half a minute leaves no progress in the log, however large it is."""
    caplog.set_level(logging.INFO, "mender_client")
    poll(with_deployment(World(stage), big(stage, NEW, "board")))
    assert "download: " not in caplog.text


def test_stop_keeps_the_bytes(stage: Stage) -> None:
    """A client that is to stop in the middle keeps what has arrived."""
    world = interrupted_after(with_deployment(World(stage)), 2500)
    assert 2500 == len(world.disk.read(PARTIAL) or b"")


def test_interrupted_everywhere(stage: Stage) -> None:
    """A client may be stopped in any request or wait, and the deployment goes on in its next life."""
    for number in range(1, 12):
        world = with_deployment(World(stage))
        total = sum(world.transport.counts.values())

        def stop(kind: str, _: int, world: World = world, stop_at: int = total + number) -> None:
            if sum(world.transport.counts.values()) == stop_at:
                raise Interrupted("the client was asked to stop")

        world.transport.before_request = stop
        client_of(world).request_poll()
        try:
            client_of(world).step()
        except Interrupted:
            world.client = world.new_client()
        world.transport.before_request = lambda kind, number: None
        world.live()
        assert "success" == world.server.status


def test_interrupted_at_the_start(stage: Stage) -> None:
    """A stop while the client authorises, delivers or looks at the lock comes through, too."""

    def stop(kind: str, _: int) -> None:
        raise Interrupted("the client was asked to stop")

    world = started(World(stage))
    world.transport.before_request = stop
    for _ in ("authorise", "inventory"):
        world.client = world.new_client()
        with pytest.raises(Interrupted):
            client_of(world).step()
    world.transport.before_request = lambda kind, number: None
    world.client = world.new_client()
    client_of(world).step()
    world.journal.update(lambda record: record.telling("gone", Status.DOWNLOADING))
    world.transport.before_request = stop
    client_of(world).request_poll()
    with pytest.raises(Interrupted):
        client_of(world).step()


def test_reserve_without_a_length(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Where the storage doesn't say how much will come, the reserve is kept all the same."""
    world = with_deployment(World(stage, Options(policy=DownloadPolicy(reserve_bytes=3000))))
    world.transport.rules.append(at("download", Answer(200, {}, world.stage.content(NEW)), 1))
    world.disk.free_bytes = 2000
    poll(world)
    assert "failure" == world.server.status
    assert "a reserve of 3000" in caplog.text
