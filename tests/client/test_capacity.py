"""Artifacts that are too large for this device: the deployment fails immediately, and the client continues."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.artifact.forge import HEADER_INFO, Forge, dump, tar, tar_file
from mender_client.client.download_policy import DownloadPolicy
from world import NEW, Options, Stage, World

from .acting import client_of, with_deployment

MIB = 1 << 20


@dataclass(frozen=True)
class Capacity:
    """A device of some size; see ``core.ports.Capacity``."""

    memory: int | None = None
    storage: int | None = None

    def memory_bytes(self) -> int | None:
        """The memory of the process."""
        return self.memory

    def storage_bytes(self, payload_type: str | None) -> int | None:
        """The space for a payload."""
        assert "app" == payload_type
        return self.storage


INFO = dump({**HEADER_INFO, "artifact_provides": {"artifact_name": NEW}})


def offered(directory: Path, policy: DownloadPolicy, content: bytes, window_mib: int = 8) -> World:
    """A device that is offered an Artifact of xz with one file."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": window_mib * MIB}]
    payload = lzma.compress(tar(tar_file("file", content)), filters=filters)
    stage = Stage(directory)
    stage.add(NEW, Forge(compression="xz", info=INFO, files=[("file", content)], payload=payload).build())
    return with_deployment(World(stage, Options(policy=policy)))


def outcome(world: World) -> str:
    """Poll once; how the deployment ended, or that it was handed over."""
    client_of(world).request_poll()
    client_of(world).step()
    return "handed over" if client_of(world).has_handed_over else world.server.status


@pytest.mark.parametrize(("memory_mib", "expected"), [(None, "handed over"), (400, "handed over"), (100, "failure")])
def test_a_window_for_which_there_is_no_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, memory_mib: int | None, expected: str
) -> None:
    """An xz window of 64 MiB is refused where memory is 100 MiB, before it is allocated."""
    policy = DownloadPolicy(capacity=Capacity(memory=memory_mib and memory_mib * MIB))
    assert expected == outcome(offered(tmp_path, policy, b"content", window_mib=64))
    assert (expected == "failure") == ("needs more memory to be decompressed" in caplog.text)


def test_memory_that_runs_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If the memory is insufficient for an Artifact, the deployment fails immediately, and the client continues."""

    def no_memory(manifest: bytes, signature: bytes) -> None:
        raise MemoryError

    stage = Stage(tmp_path)
    stage.add(NEW, Forge(info=INFO, signature=b"c2ln").build())
    world = with_deployment(World(stage, Options(policy=DownloadPolicy(check_signature=no_memory))))
    assert "failure" == outcome(world)
    assert "cannot verify the Artifact: this device has too little memory for it" in caplog.text


@pytest.mark.parametrize(
    ("storage", "expected"), [(None, "handed over"), (8 * MIB, "handed over"), (8 * MIB - 1, "failure")]
)
def test_a_payload_larger_than_the_device(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, storage: int | None, expected: str
) -> None:
    """A few kilobytes that claim to be more than the partition are refused by the size in their header."""
    policy = DownloadPolicy(capacity=Capacity(storage=storage))
    assert expected == outcome(offered(tmp_path, policy, bytes(8 * MIB)))
    said = f"its files take up {8 * MIB} bytes or more, but this device can hold {storage}" in caplog.text
    assert (expected == "failure") == said
