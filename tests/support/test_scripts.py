"""The identity and inventory scripts, the units, and rules for every script of support/."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.device import SUPPORT, Shell

SCRIPTS = sorted(
    str(path.relative_to(SUPPORT))
    for path in SUPPORT.rglob("*")
    if path.is_file() and os.access(path, os.X_OK) and "python" not in path.read_text().partition("\n")[0]
)
INVENTORY = [script for script in SCRIPTS if script.startswith("inventory/")]
NET: dict[str, dict[str, str]] = {
    "lo": {"type": "772", "address": "00:00:00:00:00:00", "ifindex": "1"},
    "docker0": {"type": "1", "address": "02:42:00:00:00:01", "ifindex": "2"},
    "can0": {"type": "280", "device": "", "ifindex": "3"},
    "wlan0": {"type": "1", "address": "aa:00:00:00:00:10", "ifindex": "10", "device": ""},
    "eth9": {"type": "1", "address": "aa:00:00:00:00:09", "ifindex": "9", "device": ""},
    "ugly": {"type": "1", "address": "00:00:00:00:00:00", "ifindex": "4", "device": ""},
    "usb0": {"type": "1", "address": "aa:00:00:00:00:05", "ifindex": "5", "device": "", "addr_assign_type": "1"},
}


def run(shell: Shell, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a script of support/ with only the shell and a PATH as its environment."""
    return subprocess.run(
        [shell.interpreter, str(SUPPORT / script), *arguments],
        env={"PATH": shell.path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A directory like /sys/class/net, with all kinds of interfaces."""
    directory = tmp_path / "class net"
    for name, files in NET.items():
        (directory / name).mkdir(parents=True)
        for file, content in files.items():
            (directory / name / file).write_text(f"{content}\n")
    return directory


def test_identity(shell: Shell, net: Path) -> None:
    """The identity is the address of the first permanent hardware interface in the kernel's order."""
    done = run(shell, "identity/mender-device-identity", str(net))
    assert (done.stdout, done.stderr, done.returncode) == ("mac=aa:00:00:00:00:09\n", "", 0)


def test_identity_of_nothing(shell: Shell, tmp_path: Path) -> None:
    """Without such an interface there is no identity: a non-zero exit code and a message with a remedy."""
    done = run(shell, "identity/mender-device-identity", str(tmp_path))
    assert (done.stdout, done.returncode) == ("", 1)
    assert "write your own identity script" in done.stderr


@pytest.mark.parametrize("script", INVENTORY)
def test_inventory_of_this_machine(shell: Shell, script: str) -> None:
    """Every inventory script ends with 0 and prints nothing but key=value lines on any machine."""
    done = run(shell, script)
    assert (done.stderr, done.returncode) == ("", 0)
    for line in done.stdout.splitlines():
        assert re.fullmatch(r"[A-Za-z0-9_.-]+=.+", line), line


@pytest.mark.parametrize("script", INVENTORY)
def test_inventory_without_files(shell: Shell, script: str, tmp_path: Path) -> None:
    """A missing file or directory is no error."""
    done = run(shell, script, str(tmp_path / "missing"))
    assert (done.stderr, done.returncode) == ("", 0)


def test_inventory_network(shell: Shell, net: Path) -> None:
    """Interfaces of containers and made-up addresses aren't reported."""
    done = run(shell, "inventory/mender-inventory-network", str(net))
    macs = [line for line in done.stdout.splitlines() if line.startswith("mac_")]
    assert macs == ["mac_eth9=aa:00:00:00:00:09", "mac_usb0=aa:00:00:00:00:05", "mac_wlan0=aa:00:00:00:00:10"]


def test_inventory_network_lists(shell: Shell, net: Path, tmp_path: Path) -> None:
    """Each address of an interface is a separate line, so that several make a list."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ip").write_text(
        f"#!{shell.interpreter}\n"
        'case "$*" in "-o addr show dev eth9 scope global") ;; *) exit 1 ;; esac\n'
        "echo '9: eth9    inet 192.0.2.1/24 brd 192.0.2.255 scope global eth9'\n"
        "echo '9: eth9    inet 192.0.2.2/24 scope global secondary eth9'\n"
        "echo '9: eth9    inet6 2001:db8::9/64 scope global'\n"
        "echo '9: eth9    inet6 2001:db8::77/64 scope global temporary dynamic'\n"
    )
    (tools / "ip").chmod(0o755)
    done = run(Shell(shell.interpreter, f"{tools}:{shell.path}"), "inventory/mender-inventory-network", str(net))
    assert [line for line in done.stdout.splitlines() if not line.startswith("mac_")] == [
        "ipv4_eth9=192.0.2.1/24",
        "ipv4_eth9=192.0.2.2/24",
        "ipv6_eth9=2001:db8::9/64",
    ]


def test_inventory_os(shell: Shell, tmp_path: Path) -> None:
    """Quotes in os-release are removed, and nothing in it is executed."""
    file = tmp_path / "os-release"
    file.write_text(f"PRETTY_NAME=\"My $(touch {tmp_path}/trap) 'OS' 1\"\nID='my'\nVERSION_ID=1.0\nVERSION_ID=2\n")
    done = run(shell, "inventory/mender-inventory-os", str(file))
    assert done.stdout == f"os=My $(touch {tmp_path}/trap) 'OS' 1\nos_id=my\nos_version=1.0\n"
    assert not (tmp_path / "trap").exists()


def test_inventory_memory(shell: Shell, tmp_path: Path) -> None:
    """The totals of memory and swap are given in kB, and nothing else."""
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:        1024 kB\nMemFree:          512 kB\nSwapTotal:          0 kB\n")
    done = run(shell, "inventory/mender-inventory-memory", str(file))
    assert done.stdout == "mem_total_kB=1024\nswap_total_kB=0\n"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_posix(script: str) -> None:
    """shellcheck has no complaints about a script as POSIX sh."""
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck isn't installed")
    done = subprocess.run(
        [shellcheck, "--shell=sh", str(SUPPORT / script)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_strict(script: str) -> None:
    """Every script names /bin/sh and stops at the first error and at unset variables."""
    lines = (SUPPORT / script).read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert "set -eu" in lines


def read_unit(name: str) -> configparser.ConfigParser:
    """Reads a unit file; of keys that are repeated the last one."""
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # keys of units have capitals
    unit.read_string((SUPPORT / "systemd" / name).read_text())
    return unit


def test_units() -> None:
    """The client's exit doesn't affect the sub-updater, and the boot step precedes the client."""
    client = read_unit("mender-python-client.service")
    assert dict(client["Service"]) == {
        "Type": "notify",
        "NotifyAccess": "main",
        "TimeoutStartSec": "10min",
        "WatchdogSec": "5min",
        "ExecStart": "/usr/bin/mender-python-client daemon",
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "KillMode": "process",
        "Restart": "on-failure",
        "RestartSec": "10",
        "RestartPreventExitStatus": "78",
        "LockPersonality": "yes",
        "RestrictRealtime": "yes",
    }
    assert client["Unit"]["After"].split() == ["network-online.target", "mender-sub-updater.service"]
    boot = read_unit("mender-sub-updater.service")
    assert boot["Service"]["ExecStart"] == "/usr/share/mender/install --boot"
    assert boot["Service"]["Type"] == "oneshot"
    assert boot["Unit"]["Before"] == "mender-python-client.service"
    # without its data partition a new system must be left, and the client must not make a new key
    assert "RequiresMountsFor" not in boot["Unit"]
    assert "var-lib-mender.mount" in boot["Unit"]["After"].split()
    assert client["Unit"]["RequiresMountsFor"] == "/var/lib/mender"


def test_unit_of_remote_access() -> None:
    """Nothing runs unless remote access is allowed, terminals aren't restricted, and no process is left behind."""
    unit = read_unit("mender-connect-python.service")
    assert dict(unit["Service"]) == {
        "Type": "notify",
        "NotifyAccess": "main",
        "ExecStart": "/usr/bin/mender-python-client connect",
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "KillMode": "mixed",
        "Restart": "always",
        "RestartSec": "10",
        "RestartPreventExitStatus": "78",
        "OOMPolicy": "continue",
    }
    text = (SUPPORT / "systemd/mender-connect-python.service").read_text()
    conditions = [line.partition("=")[2] for line in text.splitlines() if line.startswith("ConditionPathExists")]
    assert conditions == ["|/etc/mender/mender-connect.conf", "|/var/lib/mender/mender-connect.conf"]
    assert unit["Unit"]["Conflicts"] == "mender-connect.service"


def test_unit_for_add_ons() -> None:
    """It is started with its name on the bus, and replaces the unit that mender-connect of Debian requires."""
    unit, name = read_unit("mender-dbus-python.service"), "io.mender.AuthenticationManager"
    service = unit["Service"]
    assert ("dbus", name) == (service["Type"], service["BusName"])
    assert ("/usr/bin/mender-python-client dbus", "78") == (service["ExecStart"], service["RestartPreventExitStatus"])
    assert "mender-client.service" == unit["Install"]["Alias"]
    activation = read_unit(f"../dbus/{name}.service")
    assert {
        "Name": name,
        "Exec": service["ExecStart"],
        "User": "root",
        "SystemdService": "mender-dbus-python.service",
    } == dict(activation["D-BUS Service"])


def test_unit_of_the_gateway() -> None:
    """Its exit doesn't affect sub-updaters, and nothing runs if no device is described."""
    unit = read_unit("mender-gateway-python.service")
    service = unit["Service"]
    assert ("/usr/bin/mender-python-client gateway", "process") == (service["ExecStart"], service["KillMode"])
    assert ("notify", "on-failure", "78") == (
        service["Type"],
        service["Restart"],
        service["RestartPreventExitStatus"],
    )
    assert "/etc/mender/devices" == unit["Unit"]["ConditionPathIsDirectory"]
    assert "/var/lib/mender" == unit["Unit"]["RequiresMountsFor"]


def test_units_are_understood(tmp_path: Path) -> None:
    """systemd's own checker finds no fault in the units."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze isn't installed")
    others = sorted((SUPPORT / "unprivileged").glob("mender-install.*"))
    for unit in (*(SUPPORT / "systemd").iterdir(), *others):
        # The programs aren't installed here, and the checker would look for them.
        text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    units = sorted(str(unit) for unit in tmp_path.iterdir())
    done = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert complaints == []
