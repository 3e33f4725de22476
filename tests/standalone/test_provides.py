"""What the device provides after an update, and the bootstrap Artifact (contract, sections 5 and 9)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .bench import OLD, Bench
from .test_way import AUTOMATIC, BEGUN

BEFORE = {"artifact_name": "old", "artifact_group": "g", "a.x": "1", "a.y": "1", "b.x": "1"}
BROUGHT = {"a.x": "2", "c": "2"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A device whose module can't roll back, so that an install is a complete update."""
    bench = Bench(tmp_path, is_reversible=False)
    bench.info.write_text("".join(f"{key}={value}\n" for key, value in BEFORE.items()))
    return bench


def _without(*keys: str) -> dict[str, str]:
    return {key: value for key, value in BEFORE.items() if key not in keys} | {"artifact_name": "new"}


@pytest.mark.parametrize(
    ("type_info", "group", "after"),
    [
        ({}, None, {"artifact_name": "new"}),
        ({}, "h", {"artifact_name": "new", "artifact_group": "h"}),
        ({"clears_artifact_provides": ["a.*"]}, None, _without("a.x", "a.y")),
        ({"artifact_provides": BROUGHT}, None, {"artifact_name": "new", **BROUGHT}),
        ({"artifact_provides": BROUGHT}, "h", {"artifact_name": "new", "artifact_group": "h", **BROUGHT}),
        (
            {"artifact_provides": BROUGHT, "clears_artifact_provides": ["a.*"]},
            None,
            {**_without("a.x", "a.y"), **BROUGHT},
        ),
        ({"artifact_provides": {}, "clears_artifact_provides": []}, None, _without()),
        ({"artifact_provides": {}, "clears_artifact_provides": ["*"]}, None, {"artifact_name": "new"}),
        ({"clears_artifact_provides": ["*.x"]}, None, _without("a.x", "b.x")),
        ({"clears_artifact_provides": ["*.longer-than-any-key-is"]}, None, _without()),
        ({"clears_artifact_provides": ["a*x", "*.y"]}, None, _without("a.x", "a.y")),
        ({"clears_artifact_provides": ["*.*"]}, None, _without("a.x", "a.y", "b.x")),
        ({"clears_artifact_provides": ["**"]}, None, {"artifact_name": "new"}),
        ({"clears_artifact_provides": [""]}, None, _without()),
        ({"clears_artifact_provides": ["a", "x", "A.X", "a?x", "[ab].x", "a.x."]}, None, _without()),
        ({"clears_artifact_provides": ["artifact_group"]}, None, _without("artifact_group")),
        (
            {"clears_artifact_provides": ["artifact_group"]},
            "h",
            {**_without("artifact_group"), "artifact_group": "h"},
        ),
        ({"clears_artifact_provides": ["artifact_name"]}, None, _without()),
        (
            {"artifact_provides": {"artifact_name": "x", "artifact_group": "y"}, "clears_artifact_provides": []},
            "h",
            {**_without(), "artifact_group": "h"},
        ),
    ],
)
def test_new_provides(bench: Bench, type_info: dict[str, Any], group: str | None, after: dict[str, str]) -> None:
    """The new provides follow from the old, the cleared and the added ones; artifact_info has them as well."""
    provides = {"artifact_name": "new"} | ({"artifact_group": group} if group else {})
    path = bench.root / "table.mender"
    _write(bench, path, type_info, provides)
    assert (0, f"{BEGUN}{AUTOMATIC}Installed and committed.\n") == bench.does("install", path)
    assert after == bench.provides()
    assert after == dict(line.split("=", 1) for line in bench.info.read_text().splitlines())
    assert (0, "new\n") == bench.does("show-artifact")


def _write(bench: Bench, path: Path, type_info: dict[str, Any], provides: dict[str, str]) -> None:
    bench.artifact(path.name, info={"artifact_provides": provides}, type_info=type_info)


def test_group_of_an_inconsistent_update(bench: Bench) -> None:
    """An inconsistent update leaves the new provides, with the name marked once."""
    name = "new_INCONSISTENT"
    _write(bench, bench.root / "a", {"artifact_provides": BROUGHT}, {"artifact_name": name, "artifact_group": "h"})
    bench.fails("ArtifactInstall")
    assert 1 == bench.does("install", bench.root / "a")[0]
    assert {"artifact_name": name, "artifact_group": "h", **BROUGHT} == bench.provides()


def test_order(bench: Bench) -> None:
    """``show-provides`` prints the name first, then the other provides in the order of their keys."""
    lines = bench.does("show-provides")[1].splitlines()
    assert ["artifact_name=old", "a.x=1", "a.y=1", "artifact_group=g", "b.x=1"] == lines


def test_artifact_info_that_cannot_be_written(bench: Bench) -> None:
    """If artifact_info can't be written, the state file has the new provides, and ``show-provides`` shows them."""
    bench.info.unlink()
    bench.info.parent.joinpath("mender.conf").unlink()
    bench.root.joinpath("etc/mender/scripts").rmdir()
    bench.root.joinpath("etc/mender").rmdir()
    bench.root.joinpath("etc/mender").write_text("")
    _write(bench, bench.root / "a", {"artifact_provides": BROUGHT}, {"artifact_name": "new"})
    config = bench.root / "conf"
    config.write_text("{}")
    assert 0 == bench.run("--config", config, "install", bench.root / "a").returncode
    stored = json.loads((bench.data / "journal.json").read_text())["software"]
    assert ("new", BROUGHT) == (stored["artifact_name"], stored["provides"])
    assert {"artifact_name": "new", **BROUGHT} == bench.provides()


# -- the bootstrap Artifact -------------------------------------------------------------------------------------------


def _nameless(bench: Bench, **parts: Any) -> Path:
    """A device without an artifact name, and with a bootstrap Artifact if parts of it are given."""
    bench.info.unlink()
    path = bench.data / "bootstrap.mender"
    if parts:
        usual = {"payloads": [{"type": None}], "artifact_provides": {"artifact_name": "boot", "artifact_group": "g"}}
        info, type_info = {**usual, **parts.pop("info", {})}, {"type": None, "artifact_provides": {"a": "1"}}
        bench.artifact("made", **{"info": info, "type_info": type_info, "files": (), "scripts": (), **parts})
        (bench.root / "made").rename(path)
    return path


BOOT = {"artifact_name": "boot", "artifact_group": "g", "a": "1"}


@pytest.mark.parametrize("command", ["show-artifact", "show-provides"])
def test_bootstrap_artifact(bench: Bench, command: str) -> None:
    """A device without a name gets it from the bootstrap Artifact, which is then removed; it needs no signature."""
    path = _nameless(bench, info={})
    (bench.root / "etc/mender/mender.conf").write_text(json.dumps({"ArtifactVerifyKey": "/missing"}))
    done = bench.run(command)
    assert (0, "boot" in done.stdout, False) == (done.returncode, True, path.exists())
    assert BOOT == bench.provides()


def test_bootstrap_before_an_install(bench: Bench) -> None:
    """``install`` installs the bootstrap Artifact first, without mentioning it on standard output."""
    path = _nameless(bench, info={})
    artifact = bench.artifact(type_info={"artifact_depends": {"a": "1"}, "clears_artifact_provides": []})
    assert (0, f"{BEGUN}{AUTOMATIC}Installed and committed.\n") == bench.does("install", artifact)
    assert (False, {**BOOT, "artifact_name": "new"}) == (path.exists(), bench.provides())


@pytest.mark.parametrize(
    "parts",
    [
        {"info": {"artifact_depends": {"device_type": ["other"]}}},
        {"info": {"payloads": [{"type": "app"}]}, "type_info": {"type": "app"}, "files": [("f", b"")]},
        {"version": b"{}"},
    ],
)
@pytest.mark.parametrize("command", ["show-artifact", "install"])
def test_bootstrap_artifact_that_fails(bench: Bench, command: str, parts: dict[str, Any]) -> None:
    """An unusable bootstrap Artifact makes the name unknown; the command exits with 1 this time."""
    path = _nameless(bench, **parts)
    words = [command, bench.artifact()] if command == "install" else [command]
    assert (1, "") == bench.does(*words)
    assert ([], False) == (bench.calls(), path.exists())
    assert (0, "unknown\n") == bench.does("show-artifact")


def test_no_bootstrap_artifact(bench: Bench) -> None:
    """Without a bootstrap Artifact the name is unknown; one that appears later is removed without effect."""
    path = _nameless(bench)
    assert {"artifact_name": "unknown"} == bench.provides()
    path.write_bytes(b"")
    assert ((0, "unknown\n"), False) == (bench.does("show-artifact"), path.exists())


def test_bootstrap_artifact_of_a_named_device(tmp_path: Path) -> None:
    """A device that has a name ignores the bootstrap Artifact and removes it."""
    bench = Bench(tmp_path)
    path = bench.data / "bootstrap.mender"
    path.write_bytes(b"anything")
    assert OLD == bench.provides()
    assert not path.exists()
