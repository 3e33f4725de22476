"""The command line: verbs, options, exit codes, and which output is used for what."""

from __future__ import annotations

import json
import stat

import pytest

from mender_client import __version__
from mender_devserver import DevServer, Fault
from program.conftest import MakeDevice
from program.stage import FAIL, HOLD, LEAVE, MAC, Device
from waiting import wait_until


@pytest.fixture
def newborn(make_device: MakeDevice) -> Device:
    """A device that has no key yet."""
    return make_device("newborn", is_preauthorized=False)


def test_version(device: Device) -> None:
    """``--version`` prints name and version to standard output."""
    done = device.run("--version", root=False)
    assert (0, f"mender-python-client {__version__}\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize(
    "arguments", [(), ("dance",), ("report",), ("report", "--success", "--failure"), ("-l", "loud", "daemon")]
)
def test_wrong_usage(device: Device, arguments: tuple[str, ...]) -> None:
    """Wrong usage ends with 64, a hint on standard error, and nothing on standard output."""
    done = device.call(*arguments)
    assert (64, "") == (done.returncode, done.stdout)
    assert "--help'" in done.stderr


def test_show_artifact(device: Device) -> None:
    """``show-artifact`` prints only the name, and needs neither server nor key."""
    device.write("etc/mender/artifact_info", "artifact_group=lab\nartifact_name=release-7\n")
    device.key.unlink()
    done = device.run("show-artifact")
    assert (0, "release-7\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("content", [None, "", "artifact_group=lab\n", "\udcff"])
def test_show_artifact_without_a_name(device: Device, content: str | None) -> None:
    """Without a usable artifact_info ``show-artifact`` fails and names the file."""
    path = device.root / "etc/mender/artifact_info"
    path.unlink() if content is None else path.write_bytes(content.encode("utf-8", "surrogateescape"))
    done = device.call("show-artifact")
    assert (1, "") == (done.returncode, done.stdout)
    assert str(path) in done.stderr


def test_bootstrap_makes_a_key_and_keeps_it(newborn: Device) -> None:
    """``bootstrap`` makes a private key of mode 0600, prints the public one, and keeps the key the next time."""
    first = newborn.run("bootstrap")
    made = newborn.key.read_bytes()
    again = newborn.call("bootstrap")
    assert (0, 0) == (first.returncode, again.returncode)
    assert made == newborn.key.read_bytes()
    assert first.stdout == again.stdout
    assert first.stdout.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert 0o600 == stat.S_IMODE(newborn.key.stat().st_mode)
    assert "the device key already exists" in again.stderr


@pytest.mark.parametrize("arguments", [("-F", "bootstrap"), ("bootstrap", "--forcebootstrap")])
def test_forced_bootstrap_replaces_the_key(device: Device, arguments: tuple[str, ...]) -> None:
    """``-F``, before or after the verb, generates a new key, even if the old one is broken."""
    device.write("var/lib/mender/mender-agent.pem", "broken")
    assert 0 == device.call(*arguments).returncode
    assert device.key.read_text().startswith("-----BEGIN PRIVATE KEY-----")


def test_forced_daemon_is_a_new_key_set(device: Device) -> None:
    """A daemon with ``-F`` generates a new key, which has to be accepted on the server."""
    old = device.key.read_bytes()
    daemon = device.daemon("-F")
    daemon.wait_for("pending acceptance")
    assert old != device.key.read_bytes()
    assert 2 == len(device.server.devices()[0].auth_sets)


@pytest.mark.parametrize("verb", ["bootstrap", "daemon", "send-inventory"])
def test_broken_key_is_never_overwritten(device: Device, verb: str) -> None:
    """A broken key is an error with a remedy, and stays unchanged."""
    device.write("var/lib/mender/mender-agent.pem", "-----BEGIN PRIVATE KEY-----\nbroken\n-----END PRIVATE KEY-----\n")
    before = device.key.read_bytes()
    done = device.run(verb) if verb == "daemon" else device.call(verb)
    assert 1 == done.returncode
    assert f"cannot use the device key {device.key}" in done.stderr
    assert "--forcebootstrap" in done.stderr
    assert before == device.key.read_bytes()


def test_options_before_and_after_the_verb(device: Device) -> None:
    """Common options mean the same before and after the verb, and the data directory moves below the root."""
    (device.root / "other").mkdir()
    for number, arguments in enumerate(
        (("-d", "/other", "bootstrap", "--key-type", "ecdsa"), ("bootstrap", "--data", "/other", "--key-type", "ecdsa"))
    ):
        assert 0 == device.call(*arguments).returncode
        assert (device.root / "other/mender-agent.pem").exists(), number
        (device.root / "other/mender-agent.pem").unlink()


def test_log_goes_to_the_file(device: Device) -> None:
    """With ``-L`` log lines go to the file, with ``-l`` in the detail asked for, and standard error stays empty."""
    log = device.root / "client.log"
    done = device.run("-l", "debug", "send-inventory", "-L", str(log))
    assert (0, "inventory sent\n", "") == (done.returncode, done.stdout, done.stderr)
    assert "inventory sent: " in log.read_text()


def test_check_update_without_a_daemon(device: Device) -> None:
    """Without a daemon ``check-update`` polls the server: 2 without an update, 0 and the name with one."""
    nothing = device.run("check-update")
    assert (2, "no update\n") == (nothing.returncode, nothing.stdout)
    deployment = device.deploy("release-2")
    found = device.call("check-update")
    assert 0 == found.returncode
    assert f"update available: release-2 (deployment {deployment})" in found.stdout
    assert [] == device.statuses(deployment)


def test_check_update_while_one_is_in_progress(device: Device) -> None:
    """While a sub-updater works ``check-update`` sends no poll: the answer could contradict the deployment."""
    device.write("plan", LEAVE)
    deployment = device.deploy("release-2")
    device.daemon().wait_exit()
    requests = len(device.server.requests)
    done = device.run("check-update")
    assert 2 == done.returncode
    assert f"the sub-updater is installing deployment {deployment};" in done.stdout
    assert requests == len(device.server.requests)


def test_check_update_beside_a_daemon(device: Device) -> None:
    """While a daemon runs ``check-update`` makes it poll immediately, however long its interval is."""
    device.configure(UpdatePollIntervalSeconds=3600)
    daemon = device.daemon()
    wait_until(lambda: 204 in [one.status for one in device.server.requests])
    deployment = device.deploy("release-2")
    done = device.run("check-update")
    assert (0, f"the daemon (pid {daemon.pid}) is polling now\n") == (done.returncode, done.stdout)
    device.wait_status(deployment, "success")


def test_check_update_that_waits(device: Device) -> None:
    """``check-update --wait`` ends with 0 when the update is handed over, and with 2 if there is none."""
    device.configure(UpdatePollIntervalSeconds=3600)
    device.write("plan", LEAVE)
    daemon = device.daemon()
    wait_until(lambda: 204 in [one.status for one in device.server.requests])
    none = device.run("check-update", "--wait")
    assert (2, f"the daemon (pid {daemon.pid}) is polling now\nno update\n") == (none.returncode, none.stdout)
    deployment = device.deploy("release-2")
    some = device.run("check-update", "--wait")
    assert 0 == some.returncode
    assert f"update handed over to the sub-updater (deployment {deployment})" == some.stdout.splitlines()[1]


def test_check_update_that_waits_for_a_failure(device: Device) -> None:
    """A failed update makes ``check-update --wait`` exit with 1 and the reason, which ``history`` has too."""
    device.configure(UpdatePollIntervalSeconds=3600)
    daemon = device.daemon()
    wait_until(lambda: 204 in [one.status for one in device.server.requests])
    (device.root / "usr/share/mender/install").unlink()
    deployment = device.deploy("release-2")
    done = device.run("check-update", "--wait")
    assert 1 == done.returncode
    said = done.stdout.splitlines()[1]
    assert said.startswith(f"failure of release-2 (deployment {deployment}): cannot use update module ")
    reason = said.partition("): ")[2]
    assert f"  reason: {reason}\n" in device.call("history").stdout
    assert reason == json.loads(device.call("history", "--json").stdout)["deployments"][0]["reason"]
    device.server.add_fault(Fault(kind="next", status=500, times=None))
    failed = device.run("check-update", "--wait")
    assert (1, True) == (failed.returncode, failed.stderr.startswith("poll failed: "))
    assert 0 == daemon.stop()


def test_status_after_check_update(device: Device) -> None:
    """``status`` is up to date once a requested poll is done: an old status would mislead."""
    device.configure(UpdatePollIntervalSeconds=3600)
    device.daemon()
    wait_until(lambda: 204 in [one.status for one in device.server.requests])
    for polls in (2, 3):
        assert 2 == device.run("check-update", "--wait").returncode
        status = json.loads(device.call("status", "--json").stdout)
        assert (1, polls, "testdev", "release-1") == (
            status["schema"], status["client"]["counts"]["polls"], status["device_type"], status["artifact_name"]
        )  # fmt: skip
        assert "release-1" == status["client"]["installed"]


def test_log(device: Device) -> None:
    """``log`` prints the log of the last deployment with the sub-updater's output; without any it exits with 2."""
    none = device.call("log")
    assert (2, "no deployment was logged on this device\n") == (none.returncode, none.stdout)
    device.write("plan", FAIL)
    deployment = device.deploy("release-2")
    device.daemon().wait_exit()
    device.wait_status(deployment, "failure")
    for words in ((), (deployment,), (deployment[:8],)):
        done = device.call("log", *words)
        assert (0, "") == (done.returncode, done.stderr)
        assert f" INFO    deployment {deployment} begins\n" in done.stdout
        assert " INFO    installing release-2\n" in done.stdout
        assert "the sub-updater reports failure: no room on B\n" in done.stdout
    other = device.call("log", "no-such")
    text = f"there is no log of deployment no-such: only the last one is kept, which is of {deployment}\n"
    assert (2, text) == (other.returncode, other.stdout)


def test_what_would_be_sent(device: Device) -> None:
    """``show-provides``, ``show-inventory`` and ``show-identity`` print what is known or sent, as lines and as JSON."""
    device.write("etc/mender/artifact_info", "artifact_name=release-7\nrootfs-image.version=7\n")
    provides = {"artifact_name": "release-7", "rootfs-image.version": "7"}
    assert "".join(f"{key}={value}\n" for key, value in provides.items()) == device.call("show-provides").stdout
    assert provides == json.loads(device.call("show-provides", "--json").stdout)
    assert f"mac={MAC}\n" == device.call("show-identity").stdout
    assert {"mac": MAC} == json.loads(device.call("show-identity", "--json").stdout)
    said = device.call("show-inventory").stdout
    assert {"device_type=testdev", "color=blue", "port=1", "port=2", "rootfs-image.version=7"} < set(said.splitlines())
    inventory = json.loads(device.call("show-inventory", "--json").stdout)
    assert ("blue", ["1", "2"]) == (inventory["color"], inventory["port"])
    assert [] == device.server.requests


def test_send_inventory_beside_a_daemon(device: Device) -> None:
    """While a daemon runs ``send-inventory`` makes it send the inventory immediately, even an unchanged one."""
    daemon = device.daemon()
    daemon.wait_for("inventory sent")
    done = device.run("send-inventory")
    assert (0, f"the daemon (pid {daemon.pid}) is sending the inventory now\n") == (done.returncode, done.stdout)
    daemon.wait_for("inventory sent", count=2)


def test_second_daemon_is_refused(device: Device) -> None:
    """A second daemon on the same data directory exits with 1 and names the first, which keeps running."""
    first = device.daemon()
    first.wait_for("started")
    second = device.run("daemon", "--no-syslog")
    assert 1 == second.returncode
    assert f"cannot start: a daemon (pid {first.pid}) already uses {device.data}" in second.stderr
    assert first.is_alive


def test_next_daemon_beside_the_sub_updater(device: Device) -> None:
    """The sub-updater doesn't inherit the daemon's lock: the next daemon can start while it works."""
    device.write("plan", HOLD)
    device.deploy("release-2")
    device.daemon().wait_exit()
    device.daemon().wait_for("the sub-updater has been installing")


def test_no_network_is_named(device: Device, server: DevServer) -> None:
    """An unreachable server is named, with what to check."""
    server.stop()
    done = device.run("check-update")
    assert 1 == done.returncode
    assert f"cannot reach {server.url}: the connection was refused; check the port" in done.stderr


def test_untrusted_certificate_is_named(device: Device) -> None:
    """A server with an untrusted certificate is refused, with what to check."""
    device.configure(ServerCertificate=None)
    done = device.run("check-update")
    assert 1 == done.returncode
    assert "its certificate is not trusted" in done.stderr
    assert "set ServerCertificate to" in done.stderr


def test_proxy_variable_that_cannot_be_used(device: Device) -> None:
    """An unusable proxy variable is a configuration error that names the variable but not its value."""
    process = device.start("check-update", environment={"https_proxy": "socks5://user:secret@proxy"})
    assert 78 == process.wait_exit()
    assert "https_proxy: cannot use this proxy: only proxies with an http:// address are supported" in process.text
    assert "secret" not in process.text


def test_proxy_that_is_not_there(device: Device, closed_port: int) -> None:
    """The error for an unreachable proxy names the proxy, not the server, and omits its password."""
    device.configure(ServerURL="https://mender.invalid")
    place = f"127.0.0.1:{closed_port}"
    process = device.start("check-update", environment={"https_proxy": f"http://user:secret@{place}", "no_proxy": ""})
    assert 1 == process.wait_exit()
    through = (
        f"cannot reach https://mender.invalid:443 through the proxy http://{place} (https_proxy): the connection was"
    )
    assert through in process.text
    assert "secret" not in process.text
