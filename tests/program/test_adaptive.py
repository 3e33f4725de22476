"""Adaptive downloads with the real program: blocks on the partitions aren't downloaded, even after kills."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mender_client.core.artifact import Compression, PayloadSource, rootfs_image, write_artifact
from mender_client.core.artifact.indexed import Indexing
from mender_devserver import Fault
from program.stage import DEVICE_TYPE, Device
from waiting import wait_until

MIB = 1024 * 1024
BLOCK = 4096
KILLS = 10


def make_image(path: Path, *, blocks: int, changed: Sequence[int] = ()) -> Path:
    """An image of random blocks, some of which differ from those of other images."""
    source, other = random.Random(1), random.Random(2)
    content = bytearray(source.randbytes(blocks * BLOCK))
    for number in changed:
        content[number * BLOCK : (number + 1) * BLOCK] = other.randbytes(BLOCK)
    content[10 * BLOCK : 200 * BLOCK] = bytes(190 * BLOCK)
    path.write_bytes(content)
    return path


def make_indexed(path: Path, name: str, image: Path) -> Path:
    """An Artifact of an image, with an index."""
    payload = image.read_bytes()
    spec = rootfs_image(name, [DEVICE_TYPE], compression=Compression.GZIP)
    source = PayloadSource("rootfs.img", len(payload), lambda: io.BytesIO(payload))
    with path.open("wb") as file:
        write_artifact(file, spec, [source], indexing=Indexing(io.BytesIO()))
    return path


MODULE = """
case $1 in
SupportsRollback) echo Yes ;;
NeedsArtifactReboot) echo No ;;
Download)
    cd "$2" || exit 1
    while file=$(cat stream-next) && [ -n "$file" ]; do
        dd if="$file" of="{target}" bs=4k conv=notrunc status=none || exit 1
    done
    find "{data}" -type f -size +1024k >"{target}.stored" ;;
esac
"""
"""Streams the image to the other partition, as a module for A/B devices does, and notes which large files exist."""


def with_partitions(device: Device, *, blocks: int, changed: Sequence[int], **keys: object) -> Path:
    """Give the device a partition with the old image; return the Artifact of the new one."""
    directory = device.root.parent
    old = make_image(directory / "a.img", blocks=blocks)
    device.configure(RootfsPartA=str(old), RootfsPartB=str(directory / "b.img"), **keys)
    return make_indexed(
        directory / "new.mender", "release-2", make_image(directory / "new.img", blocks=blocks, changed=changed)
    )


def with_module(device: Device) -> Path:
    """Let an update module install, into the second partition, which holds an older image."""
    target = make_image(device.root.parent / "b.img", blocks=100)
    modules = device.root / "usr/share/mender/modules/v3"
    modules.mkdir(parents=True)
    device.write_script("usr/share/mender/modules/v3/rootfs-image", MODULE.format(target=target, data=device.data))
    (device.root / "usr/share/mender/install").unlink()
    return target


def generate_key_pair(directory: Path) -> tuple[Path, Path]:
    """A key that signs Artifacts, and the one that verifies them."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private, public = directory / "private.pem", directory / "public.pem"
    private.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo))
    private.chmod(0o600)
    return private, public


def served(device: Device) -> tuple[int, int]:
    """Bytes of the Artifact that the server has sent, and requests for them."""
    downloads = [one for one in device.server.requests if one.kind == "artifact"]
    return sum(one.bytes_sent for one in downloads), len(downloads)


def test_a_small_change_is_a_small_download(device: Device) -> None:
    """If only a few blocks of an image changed, only those are downloaded; the sub-updater gets a valid Artifact."""
    artifact = with_partitions(device, blocks=2048, changed=[700, 701, 1500])
    deployment = device.deploy("release-2", file=artifact)
    assert 0 == device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    fetched, requests = served(device)
    assert (True, True) == (fetched < 64 * 1024 + 5 * 33_000, requests <= 5), (fetched, requests)
    installed = device.root / "installed.mender"
    assert 0 == device.run("artifact", "verify", str(installed), root=False).returncode
    assert (device.root.parent / "new.img").read_bytes() in installed.read_bytes()
    connections = {one.connection for one in device.server.requests if one.kind == "artifact"}
    assert 1 == len(connections)


def test_it_is_told(device: Device) -> None:
    """The log, the history and its JSON say what was downloaded and what was reused."""
    artifact = with_partitions(device, blocks=1024, changed=[700])
    deployment = device.deploy("release-2", file=artifact)
    daemon = device.daemon()
    daemon.wait_exit()
    device.wait_status(deployment, "success")
    assert ("fetched" in daemon.text, "reused" in daemon.text) == (True, True)
    assert "reused" in device.run("history").stdout
    outcome = device.journal["outcomes"][-1]
    assert artifact.stat().st_size == outcome["fetched_bytes"] + outcome["reused_bytes"]


def test_it_can_be_switched_off(device: Device) -> None:
    """With AdaptiveDownload off the complete Artifact is downloaded unchanged in one request."""
    artifact = with_partitions(device, blocks=1024, changed=[700], AdaptiveDownload="off")
    device.deploy("release-2", file=artifact)
    device.daemon().wait_exit()
    wait_until((device.root / "installed.mender").exists)
    assert (artifact.stat().st_size, 1) == served(device)


def test_a_storage_without_ranges(device: Device) -> None:
    """From a storage that ignores Range the complete Artifact is downloaded with one request."""
    artifact = with_partitions(device, blocks=1024, changed=[700])
    device.server.add_fault(Fault(kind="artifact", ignore_range=True, times=None))
    deployment = device.deploy("release-2", file=artifact)
    device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    assert (artifact.stat().st_size, 1) == served(device)


def test_straight_into_an_update_module(device: Device) -> None:
    """An update module gets the image while it is assembled; nothing of its size is stored."""
    artifact = with_partitions(device, blocks=2048, changed=[700, 701, 1500])
    target = with_module(device)
    deployment = device.deploy("release-2", file=artifact)
    daemon = device.daemon()
    device.wait_status(deployment, "success")
    daemon.stop()
    fetched, requests = served(device)
    assert (True, True) == (fetched < 64 * 1024 + 5 * 33_000, requests <= 5), (fetched, requests)
    assert (device.root.parent / "new.img").read_bytes() == target.read_bytes()
    assert "" == target.with_name("b.img.stored").read_text()


def test_a_signature_stays_valid(device: Device) -> None:
    """With ArtifactVerifyKey, the handed-over Artifact has a valid signature, which the sub-updater can verify."""
    directory = device.root.parent
    private, public = generate_key_pair(directory)
    device.write("etc/mender/verify.pem", public.read_text())
    with_partitions(device, blocks=2048, changed=[700], ArtifactVerifyKey="/etc/mender/verify.pem")
    artifact, image = str(directory / "signed.mender"), str(directory / "new.img")
    arguments = ["-f", image, "-n", "release-2", "-t", DEVICE_TYPE, "-o", artifact, "-k", str(private)]
    assert 0 == device.run("artifact", "write", "rootfs-image", *arguments, root=False).returncode
    deployment = device.deploy("release-2", file=directory / "signed.mender")
    device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    assert served(device)[0] < 64 * 1024 + 5 * 33_000
    installed = device.root / "installed.mender"
    assert 0 == device.run("artifact", "verify", str(installed), "-k", str(public), root=False).returncode


def test_killed_again_and_again(device: Device, is_nightly: bool) -> None:
    """After ten kills during the download, the client has downloaded hardly more than without any."""
    members = range(30, 830, 4)
    artifact = with_partitions(device, blocks=835 * 8, changed=[8 * member for member in members])
    device.server.add_fault(Fault(kind="artifact", delay_seconds=0.01, times=None))
    deployment = device.deploy("release-2", file=artifact)
    for number in range(1, 1 + (KILLS if is_nightly else 1)):
        daemon = device.daemon()
        wanted = number * len(members) // (KILLS + 1)
        wait_until(lambda: served(device)[1] > wanted, what=lambda: f"more than {wanted} requests ({device.said})")  # noqa: B023
        daemon.kill()
    device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    undisturbed = len(members) * 32_800 + 64 * 1024 + 835 * 8 * 8
    assert served(device)[0] <= 1.05 * undisturbed, (served(device), undisturbed)
    outcome = device.journal["outcomes"][-1]
    assert 0 <= served(device)[0] - outcome["fetched_bytes"] <= (KILLS + 1) * 320 * 1024  # recorded now and then
    assert (device.root.parent / "new.img").read_bytes() in (device.root / "installed.mender").read_bytes()
