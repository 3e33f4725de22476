"""Adaptive downloads: what the device has isn't fetched, whatever the index, the storage and the seeds do."""

from __future__ import annotations

import io
import logging
import random
from array import array
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from mender_client.core.artifact import rootfs_image
from mender_client.core.artifact.block_index import MEMBER_BYTES, encode_index, read_index
from mender_client.core.artifact.indexed import Indexing
from mender_client.core.artifact.repack import index_artifact
from mender_client.errors import StorageError
from world import NEW, Answer, ModuleOptions, Options, Stage, World, at, build_artifact
from world.stores import PARTIAL, REWRITTEN, WorldSeed, WorldSeeds

from .acting import client_of, with_deployment
from .scenarios import Scenario, effects, live, single_blows

BLOCK = 4096
BLOCKS = 400
Damage = Callable[[bytes], bytes]


def image(*changed: int, seed: int = 1) -> bytes:
    """An image of blocks of random bytes, every tenth of zeros, of which some were changed."""
    blocks = [random.Random(seed * 10_000 + number).randbytes(BLOCK) for number in range(BLOCKS)]
    for number in range(0, BLOCKS, 10):
        blocks[number] = bytes(BLOCK)
    for number in changed:
        blocks[number] = random.Random(-number).randbytes(BLOCK)
    return b"".join(blocks) + b"the end"


OLD_IMAGE = image()
NEW_IMAGE = image(37, 38, 150, 290)


def indexed(plain: bytes) -> bytes:
    """The Artifact with an index."""
    out = io.BytesIO()
    index_artifact(lambda: closing(io.BytesIO(plain)), out, Indexing(io.BytesIO()))
    return out.getvalue()


PLAIN = build_artifact(rootfs_image(NEW, ("board",)), NEW_IMAGE)
INDEXED = indexed(PLAIN)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """The Artifacts: indexed, and as it is when its payload is stored expanded."""
    stage = Stage(tmp_path)
    stage.add(NEW, INDEXED)
    stage.add(f"{NEW}.plain", PLAIN)
    return stage


def seed(content: bytes, name: str = "/dev/a", *, is_passive: bool = False) -> WorldSeed:
    """A seed."""
    return WorldSeed(name, lambda: content, is_passive=is_passive)


def world_with(stage: Stage, *seeds: WorldSeed, **options: object) -> World:
    """A world whose device has these seeds, and a deployment that waits for it."""
    return with_deployment(World(stage, Options(seeds=WorldSeeds(*seeds), **options)))  # type: ignore[arg-type]


def poll(world: World) -> World:
    """One step in which the deployment is found and carried out up to the hand-over."""
    client_of(world).request_poll()
    client_of(world).step()
    return world


def handed_over(world: World) -> bytes | None:
    """What was handed over."""
    return world.disk.read("artifact.mender")


def cost(world: World) -> tuple[int, int]:
    """Bytes fetched, and requests."""
    return world.transport.fetched, len(world.transport.ranges)


def test_only_what_is_missing_is_fetched(stage: Stage) -> None:
    """Changed blocks are fetched with their members, and the hand-over gets the Artifact with a plain payload."""
    world = poll(world_with(stage, seed(OLD_IMAGE)))
    fetched, requests = cost(world)
    assert (True, True) == (fetched < 64 * 1024 + 4 * MEMBER_BYTES + 2048, requests <= 5), (
        fetched,
        world.transport.ranges,
    )
    assert PLAIN == handed_over(world)


def test_bytes_are_told_apart(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Log, update and status say how much was fetched, and how much was reused; together they are the Artifact."""
    caplog.set_level(logging.INFO)
    world = poll(world_with(stage, seed(OLD_IMAGE)))
    update = world.journal.load().update
    assert update is not None
    assert (world.transport.fetched, len(INDEXED)) == (
        update.fetched_bytes,
        update.fetched_bytes + update.reused_bytes,
    )
    assert "reused" in next(line for line in caplog.messages if "verified" in line)


def test_nothing_in_common(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """If the device has none of the blocks, the whole Artifact is downloaded, and nothing twice."""
    caplog.set_level(logging.INFO)
    world = poll(world_with(stage, seed(image(seed=2))))
    assert (len(INDEXED), INDEXED) == (world.transport.fetched, handed_over(world))
    assert any("whole Artifact is downloaded" in line and "isn't on this device" in line for line in caplog.messages)
    assert None is world.disk.read(REWRITTEN)


def test_without_an_index(stage: Stage) -> None:
    """An Artifact without an index is downloaded as usual, with one additional request."""
    stage.add(NEW, PLAIN)
    world = poll(world_with(stage, seed(OLD_IMAGE)))
    assert (len(PLAIN), PLAIN) == (world.transport.fetched, handed_over(world))
    assert [f"bytes=0-{64 * 1024 - 1}", f"bytes={64 * 1024}-"] == world.transport.ranges


def test_without_seeds(stage: Stage) -> None:
    """A device that has nothing to look through asks for the whole at once."""
    world = poll(world_with(stage))
    assert ([""], INDEXED) == (world.transport.ranges, handed_over(world))


def test_a_storage_without_ranges(stage: Stage) -> None:
    """A storage that ignores ranges sends the whole in its first answer, which is taken."""
    world = world_with(stage, seed(OLD_IMAGE))
    data = stage.content(NEW)
    world.transport.rules.append(at("download", Answer(200, {"content-length": str(len(data))}, data)))
    poll(world)
    assert (1, INDEXED) == (len(world.transport.ranges), handed_over(world))


def test_ranges_that_are_ignored_later(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """If a storage server ignores ranges from the second request on, the whole Artifact is requested, once."""
    world = world_with(stage, seed(OLD_IMAGE))
    data = stage.content(NEW)
    world.transport.rules.append(at("download", Answer(200, {"content-length": str(len(data))}, data), 2, 3, 4, 5))
    poll(world)
    assert INDEXED == handed_over(world)
    assert len(world.transport.ranges) <= 4
    assert 1 == sum("whole Artifact is downloaded" in line for line in caplog.messages)


def test_a_seed_that_changes_while_it_is_used(stage: Stage) -> None:
    """A block that has changed since it was found is downloaded."""
    content = bytearray(OLD_IMAGE)
    world = world_with(stage, WorldSeed("/dev/a", lambda: bytes(content)))
    world.transport.before_request = lambda kind, number: content.__setitem__(
        slice(200 * BLOCK, 201 * BLOCK),
        bytes(BLOCK) if kind == "download" and number > 1 else content[200 * BLOCK : 201 * BLOCK],
    )
    assert PLAIN == handed_over(poll(world))


def test_a_seed_that_goes_away(stage: Stage) -> None:
    """If a seed has become unreadable or was overwritten, its blocks are downloaded."""
    content = [OLD_IMAGE]
    world = world_with(stage, WorldSeed("/dev/a", lambda: content[0]))

    def lose(kind: str, number: int) -> None:
        if kind == "download" and number == 2:
            content[0] = b""

    world.transport.before_request = lose
    assert PLAIN == handed_over(poll(world))
    assert world.transport.fetched <= 1.02 * len(INDEXED)


class BrokenSeed(WorldSeed):
    """A seed that can be read a few times only."""

    def __init__(self, content: bytes, reads: int) -> None:
        super().__init__("/dev/broken", lambda: content)
        self._reads = reads

    def read(self, buffer: memoryview, offset: int, /) -> int:
        """Read, as long as it works."""
        self._reads -= 1
        if self._reads < 0:
            raise StorageError("STO10", "cannot read /dev/broken: input/output error")
        return super().read(buffer, offset)


@pytest.mark.parametrize("reads", [0, 3, 9])
def test_a_seed_that_breaks(stage: Stage, reads: int) -> None:
    """If a partition has read errors, while it is scanned or used, its blocks are downloaded."""
    world = poll(world_with(stage, BrokenSeed(OLD_IMAGE, reads)))
    assert handed_over(world) in (PLAIN, INDEXED)
    assert world.transport.fetched <= 1.02 * len(INDEXED)


def changed_at(place: int, value: bytes) -> Damage:
    """Put other bytes into the head of the index."""

    def damage(content: bytes) -> bytes:
        start = content.index(b"\x1f\x8b\x08\x04") + 16 + place
        return content[:start] + value + content[start + len(value) :]

    return damage


def other_hash(content: bytes) -> bytes:
    """An index with a wrong hash for every third block, rebuilt so that it can be read."""
    return _rebuilt(content, lambda lengths, hashes: hashes.__setitem__(slice(320, 328), b"\1" * 8))


def claimed_hash(content: bytes) -> bytes:
    """An index that says of a changed block that it is the old one."""
    old = sha256(OLD_IMAGE[150 * BLOCK : 151 * BLOCK]).digest()[:8]
    return _rebuilt(content, lambda lengths, hashes: hashes.__setitem__(slice(150 * 8, 151 * 8), old))


def swapped_lengths(content: bytes) -> bytes:
    """An index that swaps the lengths of two members that differ."""

    def swap(lengths: list[int], hashes: bytearray) -> None:
        other = next(number for number in range(7, len(lengths)) if lengths[number] != lengths[5])
        lengths[5], lengths[other] = lengths[other], lengths[5]

    return _rebuilt(content, swap)


def wrong_length(content: bytes) -> bytes:
    """An index whose lengths are each a byte off, and right in sum."""

    def shift(lengths: list[int], hashes: bytearray) -> None:
        lengths[4] += 1
        lengths[6] -= 1

    return _rebuilt(content, shift)


def swapped_members(content: bytes) -> bytes:
    """Two members of the same length in each other's place can't be made with random content; their hashes can."""

    def swap(lengths: list[int], hashes: bytearray) -> None:
        first, second = bytes(hashes[37 * 8 : 38 * 8]), bytes(hashes[290 * 8 : 291 * 8])
        hashes[37 * 8 : 38 * 8], hashes[290 * 8 : 291 * 8] = second, first

    return _rebuilt(content, swap)


def _rebuilt(content: bytes, change: Callable[[list[int], bytearray], object]) -> bytes:
    """Another index in the place of the index; the tar header of the payload is written anew."""
    start = content.index(b"\x1f\x8b\x08\x04")
    size = int(content[start - 512 + 124 : start - 512 + 135], 8)
    index = read_index(io.BytesIO(content[start:]), size, lambda _: None).index
    assert index is not None
    lengths, hashes = list(index.lengths), bytearray(index.hashes)
    change(lengths, hashes)
    counts = bytes(len(index.blocks_of(member)) for member in range(bool(index.begin), len(index.lengths)))
    new = encode_index(index.size, index.begin, array("H", lengths), counts, bytes(hashes))
    payload = new + content[start + index.stored_bytes : start + size]
    header = content[start - 512 : start - 512 + 124] + b"%011o\0" % len(payload) + content[start - 512 + 136 : start]
    checksum = sum(header) - sum(header[148:156]) + 256
    header = header[:148] + b"%06o\0 " % checksum + header[156:]
    return content[: start - 512] + header + payload + bytes(-len(payload) % 512) + bytes(1024)


LIES = [other_hash, claimed_hash, swapped_lengths, wrong_length, swapped_members]


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("is_module", [False, True])
def test_an_index_that_lies(stage: Stage, lie: Damage, is_module: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an index contains, the update succeeds, by one ordinary download and with one line in the log."""
    stage.add(NEW, lie(INDEXED))
    world = world_with(stage, seed(OLD_IMAGE), modules=ModuleOptions() if is_module else None)
    world.live()
    assert "success" == world.server.status
    whole = [line for line in caplog.messages if "whole Artifact is downloaded" in line]
    assert (1, True) == (len(whole), world.transport.fetched <= 1.2 * len(INDEXED)), whole


@pytest.mark.parametrize(
    "damage",
    [
        changed_at(0, b"\2"),
        changed_at(4, b"\xff\xff\xff\x7f"),
        changed_at(8, b"\1"),
        changed_at(16, b"\xff\xff"),
        changed_at(20, b"\xff" * 8),
        changed_at(28, b"\xff" * 60),
    ],
    ids=["version", "size", "blocks", "begin", "expanded", "body"],
)
def test_an_index_that_is_broken(stage: Stage, damage: Damage) -> None:
    """An index that can't be used counts as none: everything is fetched once."""
    stage.add(NEW, damage(INDEXED))
    world = world_with(stage, seed(OLD_IMAGE))
    world.live()
    assert ("success", len(INDEXED)) == (world.server.status, world.transport.fetched)


def test_straight_into_the_module(stage: Stage) -> None:
    """An update module gets the payload as it is put together, and nothing but the front is stored."""
    world = world_with(stage, seed(OLD_IMAGE), modules=ModuleOptions())
    stored: list[int] = []
    world.transport.before_request = lambda kind, number: stored.append(len(world.disk.read(PARTIAL) or b""))
    world.live()
    assert ("success", None) == (world.server.status, world.disk.read(REWRITTEN))
    assert (True, True) == (max(stored) < 128 * 1024, cost(world)[0] < 64 * 1024 + 4 * MEMBER_BYTES + 2048)


@pytest.mark.parametrize("is_spooled", [True, False])
def test_spooling_is_respected(stage: Stage, is_spooled: bool) -> None:
    """With SpoolArtifact always, the rewritten Artifact is stored and read again; with never, nothing is stored."""
    world = world_with(stage, seed(OLD_IMAGE), modules=ModuleOptions(), is_spooled=is_spooled)
    world.live()
    assert "success" == world.server.status
    assert is_spooled == any("rewritten" in name for name in world.power.trace)
    assert cost(world)[0] < 64 * 1024 + 4 * MEMBER_BYTES + 2048


def test_too_little_space_for_the_expanded_payload(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Where the rewritten Artifact has no room but the ordinary one has, that is fetched."""
    caplog.set_level(logging.INFO)
    stage.add(
        NEW,
        content := indexed(
            plain := build_artifact(rootfs_image(NEW, ("board",)), bytes(8 * len(OLD_IMAGE)) + NEW_IMAGE)
        ),
    )
    assert len(content) < len(plain) / 4
    world = world_with(stage, seed(bytes(8 * len(OLD_IMAGE)) + OLD_IMAGE))
    world.disk.free_bytes = 16 * 1024 * 1024 + len(content)
    assert content == handed_over(poll(world))
    assert any("cannot store the Artifact" in line for line in caplog.messages)


def test_cut_connections(stage: Stage) -> None:
    """A request that breaks off is resumed in its middle."""
    world = world_with(stage, seed(OLD_IMAGE))
    world.transport.cut_bodies_at = lambda number: 10_000
    poll(world)
    assert PLAIN == handed_over(world)
    assert world.transport.fetched < 64 * 1024 + 4 * MEMBER_BYTES + 2048


def test_the_passive_partition_is_written_over(stage: Stage) -> None:
    """While a module writes the passive partition, only what it still holds is taken from there."""
    target = bytearray(OLD_IMAGE[5 * BLOCK :] + OLD_IMAGE[: 5 * BLOCK])
    passive = WorldSeed("/dev/b", lambda: bytes(target), is_passive=True)
    world = world_with(stage, passive, modules=ModuleOptions())
    world.on_block = lambda offset, data: target.__setitem__(slice(offset, offset + len(data)), data)
    world.live()
    assert "success" == world.server.status
    assert NEW_IMAGE[: len(target)] == bytes(target)[: len(NEW_IMAGE)]


_BLOWS = 5
"""Blows on each road, where not all of them fall."""


@pytest.mark.usefixtures("quietly")
@pytest.mark.parametrize("road", ["rewritten", "module", "lie"])
def test_every_blow(stage: Stage, road: str, is_nightly: bool) -> None:
    """Whatever happens at whichever effect: the update ends as if nothing had, and nothing is left."""
    old, new = OLD_IMAGE[: 96 * BLOCK], NEW_IMAGE[: 96 * BLOCK]
    plain = build_artifact(rootfs_image(NEW, ("board",)), new)
    stage.add(f"{NEW}.plain", plain)
    stage.add(NEW, other_hash(indexed(plain)) if road == "lie" else indexed(plain))
    modules = ModuleOptions() if road == "module" else None
    scenario = Scenario("adaptive", "success", Options(seeds=WorldSeeds(seed(old)), modules=modules))
    trace = effects(stage, scenario)
    end = trace.index("finish the image") if modules else len(trace)  # what comes then isn't the download's
    cases = [case for case in single_blows(trace, scenario) if case[0] <= end]
    if not is_nightly:
        cases = random.Random(1).sample(cases, _BLOWS)
    failures = []
    for number, blow in cases:
        try:
            live(stage, scenario, {number: blow})
        except (AssertionError, ValueError) as error:
            failures.append(f"{blow} at effect {number} ({trace[number - 1]}): {error!r}")
    assert [] == failures
