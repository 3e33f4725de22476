"""A fault of one device of a gateway affects only that device."""

from __future__ import annotations

import json
import os
import shutil
import signal

from system.tmpfs import empty, fill, small_disk
from waiting import wait_until

from .gateway import GatewayStage, MakeStage


def received(stage: GatewayStage, name: str, deployment: str) -> list[str]:
    """The final statuses that the server has received from a device."""
    return [one for one in stage.server.statuses(deployment, stage.id_of(name)) if one in ("success", "failure")]


def test_a_bad_description_while_it_runs(make_stage: MakeStage) -> None:
    """While a description is invalid its devices keep their old one; when it is corrected it takes effect."""
    stage = make_stage()
    stage.describe({"entry": {"Group": "line"}}, {"line": 2})
    stage.describe_folder("folder")
    gateway = stage.start()
    stage.id_of("entry")
    stage.id_of("folder")
    half = json.dumps({"Devices": {"entry": {}, "more": {}}})
    (stage.devices / "devices.json").write_text(half[:-9])
    stage.write("devices/folder/device.json", "{")
    gateway.send(signal.SIGHUP)
    gateway.wait_for("the devices that it described before stay in service")
    gateway.wait_for("device folder: its previous description stays in effect")
    deployment = stage.deploy("new", "entry", "folder")
    stage.wait_for(deployment, "entry", "folder")
    shutil.rmtree(stage.devices / "folder")
    gateway.wait_for("device folder: its description is gone")
    stage.describe({"entry": {}, "more": {}})
    gateway.wait_for("device more: it is new")
    assert "device entry: its description is gone" not in gateway.text


def test_a_description_that_others_can_write(make_stage: MakeStage) -> None:
    """A device whose description has become writable by another user is no longer served; the others are."""
    stage = make_stage()
    stage.describe({"entry": {}})
    stage.describe_folder("folder")
    gateway = stage.start()
    stage.id_of("entry")
    stage.id_of("folder")
    (stage.devices / "folder").chmod(0o777)
    gateway.send(signal.SIGHUP)
    gateway.wait_for("device folder: its description can no longer be trusted; it is no longer served")
    deployment = stage.deploy("new", "entry")
    stage.wait_for(deployment, "entry")
    entry, folder = stage.polls("entry"), stage.polls("folder")
    wait_until(lambda: stage.polls("entry") >= entry + 3, what="further polls")
    assert folder == stage.polls("folder")
    (stage.devices / "devices.json").chmod(0o666)
    gateway.send(signal.SIGHUP)
    gateway.wait_for("device entry: its description can no longer be trusted; it is no longer served")
    assert "stay in service" not in gateway.text


def test_no_directory_for_a_while(make_stage: MakeStage) -> None:
    """While the directory of descriptions is missing its devices continue, and that is reported once."""
    stage = make_stage()
    stage.describe({"one": {}})
    gateway = stage.start()
    stage.id_of("one")
    away = stage.devices.with_name("away")
    stage.devices.rename(away)
    gateway.wait_for("cannot read the devices in")
    away.rename(stage.devices)
    stage.describe({"one": {}, "two": {}})
    gateway.wait_for("device two: it is new")
    deployment = stage.deploy("new", "one", "two")
    stage.wait_for(deployment, "one", "two")
    assert 1 == gateway.text.count("cannot read the devices in")
    assert "device one: its description is gone" not in gateway.text


def test_a_state_that_cannot_be_read(make_stage: MakeStage) -> None:
    """The history of all devices names the one whose state can't be read, and shows the others."""
    stage = make_stage()
    stage.describe({"bad": {}, "good": {}})
    (stage.data / "devices/bad/journal.json").mkdir(parents=True)
    stage.start()
    deployment = stage.deploy("new", "good")
    stage.wait_for(deployment, "good")
    wait_until(lambda: "good: " in stage.run("history"), what="the outcome")
    assert "bad: cannot read" in stage.run("history")
    document = json.loads(stage.run("history", "--json"))
    assert (["good"], ["bad"]) == (list(document["devices"]), list(document["problems"]))


def test_devices_with_the_same_identity(make_stage: MakeStage) -> None:
    """Of the devices with the same identity one is served; another one only after the first was removed."""
    stage = make_stage()
    stage.describe({"first": {"Identity": {"serial": "4711"}}})
    gateway = stage.start()
    gateway.wait_for("first: authorised by")
    stage.describe({"first": {"Identity": {"serial": "4711"}}, "other": {}, "second": {"Identity": {"serial": "4711"}}})
    gateway.wait_for("device first already has it")
    gateway.wait_for("other: authorised by")
    assert "second: authorised by" not in gateway.text
    stage.describe({"other": {}, "second": {"Identity": {"serial": "4711"}}})
    gateway.wait_for("second: authorised by")
    assert 1 == gateway.text.count("device first already has it")


def test_one_device_is_asked(make_stage: MakeStage) -> None:
    """A command for a device wakes only that device, and waits for the result."""
    stage = make_stage(UpdatePollIntervalSeconds=86400)
    stage.describe({name: {} for name in ("one", "two", "three")})
    gateway = stage.start()
    wait_until(lambda: gateway.text.count(": inventory sent") >= 3, what="the first polls")

    def polls(name: str) -> int:
        serial = {one.id: str(one.identity["serial"]) for one in stage.server.devices()}
        # the first poll also tries a newer form, which the server doesn't know
        asked = [one for one in stage.server.requests if one.kind == "next" and one.status in (200, 204)]
        return sum(serial.get(one.device_id or "") == name for one in asked)

    wait_until(lambda: all(polls(name) for name in ("one", "two", "three")), what="a poll of each")
    before = {name: polls(name) for name in ("one", "two", "three")}
    deployment = stage.deploy("new", "one", "two")
    assert "new" in stage.run("--device", "one", "check-update", "--wait")
    assert "success" == stage.server.status(deployment, stage.id_of("one"))
    assert (before["two"], before["three"]) == (polls("two"), polls("three"))
    assert "the gateway (pid" in stage.run("--device", "three", "send-inventory")
    wait_until(lambda: 2 == gateway.text.count("three: inventory sent"), what="the inventory")
    assert 1 == gateway.text.count("two: inventory sent")
    assert "paused" in stage.run("--device", "two", "pause", "--all", "--reason", "shift")
    stage.run("--device", "two", "check-update", "--wait")
    assert "shift" in stage.run("--device", "two", "status")
    assert "pending" == stage.server.status(deployment, stage.id_of("two")) or not stage.order[2:]
    stage.run("--device", "two", "continue", "--all")
    stage.wait_for(deployment, "two")
    assert [] == os.listdir(stage.data / "requests")


def test_a_full_disk_of_one_device(make_stage: MakeStage) -> None:
    """A device with a full disk stops neither the gateway nor other devices; the next update succeeds with space."""
    stage = make_stage()
    (stage.data / "devices").mkdir(parents=True, mode=0o700)
    with small_disk(stage.data / "devices" / "full", kib=256):
        stage.describe({"full": {}, "other": {}})
        gateway = stage.start()
        stage.id_of("full")
        fill(stage.data / "devices" / "full")
        deployment = stage.deploy("new", "full", "other")
        stage.wait_for(deployment, "other")
        gateway.wait_for("No space left on device")
        empty(stage.data / "devices" / "full")
        wait_until(lambda: received(stage, "full", deployment), what="the end")
        again = stage.deploy("newer", "full")
        stage.wait_for(again, "full")
        assert gateway.is_alive
        assert 0 == gateway.stop()


def test_scripts_that_misbehave(make_stage: MakeStage) -> None:
    """Identity scripts that print nonsense and inventory scripts that fail are named; the others are served."""
    stage = make_stage()
    stage.write_script("devices/garbage", "head -c 5000 /dev/zero")
    stage.write_script("devices/lines", "echo serial=1; echo what")
    stage.write_script("devices/bad-inventory", "echo a=1; exit 3")
    stage.write_script("devices/endless", "yes a=b")
    names = ("garbage", "lines", "endless")
    stage.describe({name: {"Identity": name} for name in names} | {"odd": {"Inventory": "bad-inventory"}, "good": {}})
    gateway = stage.start()
    stage.id_of("good")
    stage.id_of("odd")
    for words in ("garbage: ", "lines: cannot use the identity: line 'what'", "odd: cannot use", "endless: cannot use"):
        gateway.wait_for(words)
    assert 2 == len(stage.server.devices())
    deployment = stage.deploy("new", "good", "odd")
    stage.wait_for(deployment, "good", "odd")
