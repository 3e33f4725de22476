"""The device key and the device's identity, with the installed program and a server that verifies signatures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import forking
from mender_devserver import DevServer
from program.conftest import MakeDevice
from program.stage import MAC, Device

PASSPHRASE = "The-Passphrase"
TITLES = {"rsa": "RSA", "ecdsa": "ECDSA", "ed25519": "Ed25519"}


@pytest.fixture
def newborn(make_device: MakeDevice, tmp_path: Path) -> Device:
    """A device that has no key yet; its standard input holds a passphrase."""
    wrapper = tmp_path / "mender-python-client"
    wrapper.write_text(f'#!/bin/sh\nexec {forking.program()} "$@" <<END\n{PASSPHRASE}\nEND\n')
    wrapper.chmod(0o755)
    return make_device("newborn", is_preauthorized=False, program=wrapper)


@pytest.mark.parametrize("kind", TITLES)
def test_each_type_of_key(newborn: Device, server: DevServer, kind: str) -> None:
    """A key of each type is made, encrypted, and signs as the server verifies; the passphrase comes from stdin."""
    made = newborn.run("bootstrap", "--key-type", kind, "--passphrase-file", "-")
    assert 0 == made.returncode, made.stderr
    assert f"generated a new device key ({TITLES[kind]}, SHA-256 " in made.stderr
    assert newborn.key.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    server.preauthorize({"mac": MAC}, made.stdout)
    done = newborn.run("check-update", "--passphrase-file", "-", "--log-level", "debug")
    assert (2, "no update\n") == (done.returncode, done.stdout)
    assert PASSPHRASE not in done.stderr


def test_daemon_with_a_passphrase(newborn: Device, server: DevServer) -> None:
    """A daemon reads its passphrase from standard input once, and uses it for every signature."""
    made = newborn.run("bootstrap", "--key-type", "ecdsa", "--passphrase-file", "-")
    device = server.preauthorize({"mac": MAC}, made.stdout)
    daemon = newborn.daemon("--passphrase-file", "-")
    daemon.wait_for("inventory sent")
    server.revoke_tokens(device.id)
    daemon.wait_for("authorised by", count=2)
    assert PASSPHRASE not in newborn.said


def test_no_passphrase(newborn: Device) -> None:
    """Without its passphrase, with a wrong one or an empty passphrase file, a key's error says what is missing."""
    newborn.run("bootstrap", "--key-type", "ed25519", "--passphrase-file", "-")
    key = newborn.key
    newborn.write("wrong", "another\n").chmod(0o600)
    newborn.write("empty", "\n").chmod(0o600)
    for arguments, said in (
        ((), f"cannot use the device key {key}: it is encrypted; pass its passphrase with --passphrase-file FILE [KEY"),
        (("--passphrase-file", "/wrong"), f"cannot use the device key {key}: the passphrase is wrong, or the key is "),
        (
            ("--passphrase-file", "/empty"),
            f"cannot use the passphrase: the first line of {newborn.root}/empty is empty",
        ),
        (("--passphrase-file", "/none"), f"cannot read the passphrase file {newborn.root}/none: No such file"),
    ):
        for verb in ("daemon", "bootstrap"):
            done = newborn.run(verb, *arguments) if verb == "daemon" else newborn.call(verb, *arguments)
            assert 1 == done.returncode
            assert said in done.stderr


def test_another_type_is_not_made(newborn: Device) -> None:
    """``--key-type`` never replaces a key of another type; only ``--forcebootstrap`` does."""
    first = newborn.call("bootstrap", "--key-type", "ed25519")
    same = newborn.call("bootstrap", "--key-type", "ed25519")
    assert (0, first.stdout) == (same.returncode, same.stdout)
    other = newborn.call("bootstrap", "--key-type", "ecdsa")
    assert (1, "") == (other.returncode, other.stdout)
    assert (
        f"cannot generate an ECDSA key: {newborn.key} is an Ed25519 key; replace it with --forcebootstrap"
        in other.stderr
    )
    forced = newborn.call("bootstrap", "--key-type", "ecdsa", "--forcebootstrap")
    assert (0, True) == (forced.returncode, forced.stdout != first.stdout)


def test_a_pin_in_the_configuration_is_shown_nowhere(device: Device) -> None:
    """An unavailable token is named without the PIN in its URI."""
    device.configure(Security={"AuthPrivateKey": "pkcs11:token=none;object=none?pin-value=4711-0815"})
    for arguments in (("bootstrap",), ("check-update", "--log-level", "debug"), ("daemon",), ("bootstrap", "-F")):
        done = device.run(*arguments) if "daemon" in arguments else device.call(*arguments)
        assert 1 == done.returncode
        assert "the key pkcs11:token=none;object=none" in done.stderr
        assert "4711-0815" not in done.stdout + done.stderr


def test_forced_key_is_told_before_the_server_is_asked(device: Device, server: DevServer) -> None:
    """After a forced bootstrap the next command that asks the server first warns with the cause; status shows it."""
    assert 2 == device.call("check-update").returncode
    assert "identity_change" not in device.journal
    assert 0 == device.call("bootstrap", "--forcebootstrap", "--key-type", "ed25519").returncode
    done = device.call("check-update")
    change, refusal = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert "the device key differs from the one that the server accepted (SHA-256 " in change
    assert "--forcebootstrap has generated a new one; the device is pending acceptance of the new key" in change
    assert "unauthorized" in refusal
    assert "--forcebootstrap has generated a new one" in device.call("status").stdout
    assert (
        "--forcebootstrap has generated a new one"
        in json.loads(device.call("status", "--json").stdout)["identity_change"]
    )
    server.accept(device.id)
    assert 2 == device.call("check-update").returncode
    assert None is json.loads(device.call("status", "--json").stdout)["identity_change"]


def test_changes_of_the_configuration_are_told(device: Device) -> None:
    """Another IdentityFormat and another key file are each named as the cause, by the setting."""
    assert 2 == device.call("check-update").returncode
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    device.write("other.pem", other.decode()).chmod(0o600)
    device.configure(IdentityFormat="list")
    assert "IdentityFormat was changed; to the server this is another device" in device.call("check-update").stderr
    device.configure(Security={"AuthPrivateKey": "/other.pem"})
    assert f"names another key, {device.root}/other.pem instead of" in device.call("send-inventory").stderr
    device.configure()
    assert "differs" not in device.call("check-update").stderr


def test_a_secret_that_others_can_read(newborn: Device) -> None:
    """A passphrase file that others can read causes a warning, a writable one is refused; likewise a PIN's."""
    secret = newborn.write("secret", PASSPHRASE)
    secret.chmod(0o644)
    token = {"AuthPrivateKey": "pkcs11:token=none;object=none?pin-source=file:/secret"}
    read = "another user can read this secret: everybody can read"
    assert (
        f"--passphrase-file: {read}"
        in newborn.call("bootstrap", "--key-type", "ecdsa", "--passphrase-file", "/secret").stderr
    )
    newborn.configure(Security=token)
    assert f"Security.AuthPrivateKey (pin-source): {read}" in newborn.call("bootstrap").stderr
    secret.chmod(0o602)
    done = newborn.call("bootstrap")
    assert (78, True) == (done.returncode, "(pin-source): another user could change it: everybody can" in done.stderr)
    done = newborn.call("bootstrap", "--passphrase-file", "/secret")
    assert (78, True) == (done.returncode, "--passphrase-file: another user could change it: everyb" in done.stderr)
