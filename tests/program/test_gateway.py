"""The gateway: several devices in one process, each of which is a separate device on the server."""

from __future__ import annotations

import json
import signal

from waiting import wait_until

from .gateway import MakeStage

PUMPS = ("pump-1", "pump-2", "pump-3", "pump-4")


def test_each_is_a_device_of_its_own(make_stage: MakeStage) -> None:
    """Devices of both kinds are on the server with their identity and inventory, and their keys differ."""
    stage = make_stage()
    stage.describe({"entry-1": {"Variables": {"PORT": "7"}}, "entry-2": {}})
    stage.write_script("devices/inventory", 'echo "port=$PORT $MENDER_DEVICE"')
    stage.describe_folder("folder-1")
    stage.write_script("devices/folder-1/inventory/mender-inventory-own", "echo own=yes")
    gateway = stage.start()
    names = ("entry-1", "entry-2", "folder-1")
    devices = {name: stage.id_of(name) for name in names}

    def inventory(name: str) -> dict[str, object]:
        return next(one.inventory for one in stage.server.devices() if one.id == devices[name])

    wait_until(lambda: all("device_type" in inventory(name) for name in names), what="the inventories")
    assert ("7 entry-1", " entry-2", "yes") == (
        inventory("entry-1")["port"],
        inventory("entry-2")["port"],
        inventory("folder-1")["own"],
    )
    assert 3 == len({stage.own(name, "mender-agent.pem") for name in names})
    assert 0 == gateway.stop()


def test_updates_one_after_the_other(make_stage: MakeStage) -> None:
    """The devices of a group are updated one at a time from a single download; each has one final status in the end."""
    stage = make_stage()
    stage.describe({name: {"Group": "line"} for name in PUMPS})
    stage.start()
    deployment = stage.deploy("pump-2.0", *PUMPS)
    stage.wait_for(deployment, *PUMPS)
    begun = stage.order[::2]
    assert [line for name in begun for line in (name, name.replace("begin", "end"))] == stage.order
    downloads = [one.status for one in stage.server.requests if one.kind == "artifact"]
    assert [200, 304, 304, 304] == downloads
    for name in PUMPS:
        assert "firmware" == stage.own(name, "installed")
        assert "artifact_name=pump-2.0" == stage.own(name, "artifact_info").splitlines()[0]
        assert 1 == stage.server.statuses(deployment, stage.id_of(name)).count("success")


def test_a_slow_device_holds_up_nobody(make_stage: MakeStage) -> None:
    """While one device is installing for any length of time, others are updated and poll."""
    stage = make_stage()
    stage.describe({name: {} for name in PUMPS})
    go = stage.directory / "go"
    stage.write("devices/plan-pump-1", f'while [ ! -e "{go}" ]; do sleep 0.05; done\n')
    stage.start("--at-once", "2")
    slow = stage.deploy("slow", "pump-1")
    wait_until(lambda: stage.order == ["begin pump-1"], what="the slow installation")
    quick = stage.deploy("quick", *PUMPS[1:])
    stage.wait_for(quick, *PUMPS[1:])
    assert "end pump-1" not in stage.order
    go.touch()
    stage.wait_for(slow, "pump-1")


def test_a_turn_is_kept_during_other_work(make_stage: MakeStage) -> None:
    """A device that sends its inventory while it waits for its turn keeps its place, and is updated when it comes."""
    stage = make_stage(UpdatePollIntervalSeconds=86400)
    stage.write("devices/plan-slow", 'while [ ! -e "$MENDER_DEVICES/go" ]; do sleep 0.05; done\n')
    stage.describe({"slow": {}, "other": {}})
    gateway = stage.start("--at-once", "1")
    wait_until(lambda: 2 == gateway.text.count(": inventory sent"), what="the first polls")
    slow = stage.deploy("slow", "slow")
    stage.run("--device", "slow", "check-update")
    wait_until(lambda: stage.order == ["begin slow"], what="the update of the slow device")
    other = stage.deploy("other", "other")
    stage.run("--device", "other", "check-update")
    stage.run("--device", "other", "send-inventory")
    wait_until(lambda: 2 == gateway.text.count("other: inventory sent"), what="the inventory")
    stage.write("devices/go", "")
    stage.wait_for(slow, "slow")
    stage.wait_for(other, "other")


def test_a_broken_device_breaks_itself_only(make_stage: MakeStage) -> None:
    """Invalid descriptions, settings, keys and scripts are each reported once, and the other devices are updated."""
    stage = make_stage()
    stage.describe({"good": {}, "mute": {"Identity": "no-such-script"}, "odd/name": {}, "typo": {"DeviceTyp": "x"}})
    stage.describe_folder("bad-settings")
    stage.write("devices/bad-settings/mender.conf", '{"UpdatePollIntervalSeconds": "often"}')
    stage.describe_folder("bad-json")
    stage.write("devices/bad-json/device.json", "{")
    stage.describe_folder("bad-key")
    stage.write("data/devices/bad-key/mender-agent.pem", "no key").chmod(0o600)
    stage.describe_folder("open")
    (stage.devices / "open").chmod(0o777)
    stage.write_script("devices/crash", "exit 3")
    gateway = stage.start()
    deployment = stage.deploy("new", "good")
    stage.wait_for(deployment, "good")
    for words in (
        "device typo: cannot use",
        "there is no key 'DeviceTyp'",
        "cannot use 'odd/name'",
        "UpdatePollIntervalSeconds: ",
        "bad-json/device.json: it is not valid JSON",
        "bad-key: cannot use the device key",
        "another user could have written it: everybody can write to",
        "mute: cannot run",
    ):
        gateway.wait_for(words)
        assert 1 == gateway.text.count(words), words


def test_devices_come_and_go(make_stage: MakeStage) -> None:
    """A device that is described later is served, one whose description is removed is not, and both are logged."""
    stage = make_stage()
    stage.describe({"stays": {}, "goes": {}})
    gateway = stage.start()
    stage.id_of("goes")
    stage.describe_folder("comes")
    stage.describe({"stays": {}})
    gateway.wait_for("device goes: its description is gone")
    gateway.wait_for("device comes: it is new")
    deployment = stage.deploy("new", "comes", "stays")
    stage.wait_for(deployment, "comes", "stays")
    stays, goes = stage.polls("stays"), stage.polls("goes")
    wait_until(lambda: stage.polls("stays") >= stays + 3, what="further polls")
    assert goes == stage.polls("goes")


def test_an_update_waits_for_its_device(make_stage: MakeStage) -> None:
    """A device that is removed during an update has it finished once, or continued when the device returns."""
    stage = make_stage()
    stage.describe({"stays": {}, "goes": {}})
    go = stage.directory / "go"
    stage.write("devices/plan-goes", f'while [ ! -e "{go}" ]; do sleep 0.05; done\n')
    gateway = stage.start()
    deployment = stage.deploy("new", "goes")
    wait_until(lambda: "begin goes" in stage.order, what="the installation")
    stage.describe({"stays": {}})
    gateway.wait_for("device goes: its description is gone")
    stage.describe({"stays": {}, "goes": {}})
    go.touch()
    stage.wait_for(deployment, "goes")
    assert 1 == stage.order.count("begin goes")
    assert 1 == stage.server.statuses(deployment, stage.id_of("goes")).count("success")


def test_sub_updater(make_stage: MakeStage) -> None:
    """A sub-updater is started with its device's name; the gateway continues, the next of the group waits for it."""
    stage = make_stage()
    report = '"$MENDER_CLIENT" report --success && rm "$MENDER_DATA_DIR/update.lock"'
    stage.write_script(
        "devices/install",
        'echo "begin $MENDER_DEVICE" >>"$MENDER_DEVICES/order"; sleep 0.3\n'
        'echo "end $MENDER_DEVICE" >>"$MENDER_DEVICES/order"\n' + report,
    )
    stage.describe({name: {"Group": "line"} for name in PUMPS[:3]})
    gateway = stage.start()
    deployment = stage.deploy("new", *PUMPS[:3])
    stage.wait_for(deployment, *PUMPS[:3])
    begun = stage.order[::2]
    assert [line for name in begun for line in (name, name.replace("begin", "end"))] == stage.order
    assert gateway.is_alive
    assert [1, 1, 1] == [stage.server.statuses(deployment, stage.id_of(name)).count("success") for name in PUMPS[:3]]


def test_killed_in_the_middle(make_stage: MakeStage) -> None:
    """After a kill while some devices are installing, and a restart, the gateway brings each to one final status."""
    stage = make_stage(UpdatePollIntervalSeconds=86400)  # a device that waits for the next poll would wait too long
    stage.describe({name: {} for name in PUMPS})
    gateway = stage.start()
    deployment = stage.deploy("new", *PUMPS)
    wait_until(lambda: gateway.text.count(": inventory sent") >= len(PUMPS), what="the first polls")
    gateway.send(signal.SIGUSR1)
    wait_until(lambda: stage.order, what="an installation")
    gateway.kill()
    stage.start()
    names = {name: stage.id_of(name) for name in PUMPS}

    def ends() -> list[str]:
        return [stage.server.status(deployment, names[name]) for name in PUMPS]

    wait_until(lambda: all(one in ("success", "failure") for one in ends()), what="the end of all")
    for device in names.values():
        final = [one for one in stage.server.statuses(deployment, device) if one in ("success", "failure")]
        assert 1 == len(set(final))


def test_one_gateway_at_a_time(make_stage: MakeStage) -> None:
    """A second gateway with the same data directory is refused, and a directory without devices is a warning."""
    stage = make_stage()
    first = stage.start()
    first.wait_for("GTW08")
    second = stage.start()
    assert 1 == second.wait_exit()
    assert "already uses" in second.text


def test_reload(make_stage: MakeStage) -> None:
    """SIGHUP puts edited files into effect; wrong settings are reported, and the old ones stay in effect."""
    stage = make_stage()
    stage.describe_folder("one")
    gateway = stage.start()
    stage.id_of("one")
    stage.write("devices/one/device.json", json.dumps({"Modules": "../modules", "DeviceType": "other"}))
    gateway.send(signal.SIGHUP)
    gateway.wait_for("device one: its description has changed")
    device = stage.id_of("one")
    wait_until(lambda: stage.server.inventory(device)["device_type"] == "other", what="the new device type")
    right = stage.config.read_text()
    stage.config.write_text("{")
    gateway.send(signal.SIGHUP)
    gateway.wait_for("GTW09")
    polls = stage.polls("one")
    wait_until(lambda: stage.polls("one") >= polls + 2, what="polls at the old interval")
    stage.config.write_text(right)
    gateway.send(signal.SIGHUP)
    gateway.wait_for("settings and devices reloaded", count=2)
    assert 0 == gateway.stop()


def test_commands_for_one_device(make_stage: MakeStage) -> None:
    """Every command with a device's name applies to that device only, and an unknown name is refused."""
    stage = make_stage()
    stage.describe({"pump-1": {}, "pump-2": {"Identity": {"serial": "4711"}}})
    stage.start()
    deployment = stage.deploy("new", "pump-1")
    stage.wait_for(deployment, "pump-1")
    assert {"serial": "4711"} == json.loads(stage.run("--device", "pump-2", "show-identity", "--json"))
    wait_until(lambda: "new" in stage.run("--device", "pump-1", "history"), what="the history")
    status = json.loads(stage.run("--device", "pump-1", "status", "--json"))
    assert ("new", stage.processes[0].pid) == (status["artifact_name"], status["daemon_pid"])
    assert "no deployment has finished" in stage.run("--device", "pump-2", "history")


def test_metrics_below_the_root(make_stage: MakeStage) -> None:
    """With ``--root``, the metrics file of a gateway is below that directory, as that of the daemon."""
    stage = make_stage()
    stage.describe({"pump-1": {}})
    directory = stage.directory / "only-below-the-root"
    directory.mkdir()
    gateway = stage.start("--root", str(stage.directory), "--metrics-file", f"/{directory.name}/all.prom")
    wait_until((directory / "all.prom").exists, what=lambda: f"the metrics ({gateway.text})")


def test_commands_for_all_devices(make_stage: MakeStage) -> None:
    """``status``, ``history``, ``doctor`` and the metrics cover all devices if no single one is named."""
    stage = make_stage()
    stage.describe({"pump-1": {}, "pump-2": {}, "odd": {"Group": 7}})
    metrics = stage.directory / "all.prom"
    gateway = stage.start("--metrics-file", str(metrics))
    deployment = stage.deploy("new", "pump-1")
    stage.wait_for(deployment, "pump-1")
    wait_until(lambda: "pump-1: " in stage.run("history"), what="the history")
    status = stage.run("status")
    assert f"the gateway is running (pid {gateway.pid})" in status
    assert "\npump-1: new: waiting for the next poll, last answer" in status
    assert "\npump-2: unknown: waiting for the next poll" in status
    assert "\nodd: cannot use" in status
    document = json.loads(stage.run("status", "--json"))
    assert (["pump-1", "pump-2"], ["odd"]) == (list(document["devices"]), list(document["faults"]))
    assert ["new"] == [one["artifact_name"] for one in json.loads(stage.run("history", "--json"))["devices"]["pump-1"]]
    found = json.loads(stage.run("doctor", "--json"))
    assert [("odd", "description")] == [(one["device"], one["check"]) for one in found]
    assert "3 devices, 1 problem" in stage.run("doctor")
    wait_until(metrics.exists, what="the metrics")
    text = metrics.read_text()
    assert 'mender_client_polls_total{device="pump-1"}' in text
    assert 1 == text.count("# TYPE mender_client_polls_total")
