"""Owner and mode of the operator's files are checked before the files are used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mender_client.app.config import load_config
from mender_client.app.file_checks import check_configuration_files, check_files, look_at_files
from mender_client.app.paths import Paths
from mender_client.errors import ConfigError, Diagnostic

SETTINGS = {
    "ServerURL": "https://server.example",
    "ServerCertificate": "/etc/mender/ca.crt",
    "HttpsClient": {"Certificate": "/etc/mender/client.crt", "Key": "/etc/mender/client.key"},
    "ArtifactVerifyKeys": ["/etc/mender/one.pub", "/etc/mender/two.pub"],
    "TenantToken": "secret",
}


def told(message: Diagnostic) -> str:
    """Return the text and the remedy of a message."""
    return f"{message.text}; {message.remedy}"


class Files:
    """A device on which all files exist, with restrictive modes for secrets.

    Args:
        root: the device's root directory.
    """

    def __init__(self, root: Path) -> None:
        self.paths = Paths.locate(root=str(root))
        for name, mode in {
            "etc/mender/mender.conf": 0o600,
            "var/lib/mender/mender.conf": 0o644,
            "etc/mender/ca.crt": 0o644,
            "etc/mender/client.crt": 0o644,
            "etc/mender/client.key": 0o600,
            "etc/mender/one.pub": 0o644,
            "etc/mender/two.pub": 0o644,
            "etc/mender/artifact_info": 0o644,
            "etc/mender/device.key": 0o600,
            "var/lib/mender/mender-agent.pem": 0o600,
            "var/lib/mender/device_type": 0o644,
        }.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
            path.chmod(mode)
        for directory in (root, *(one for one in root.rglob("*") if one.is_dir())):
            directory.chmod(0o755)
        self.configure()

    def configure(self, **further: object) -> None:
        """Write the main configuration."""
        self.paths.config.write_text(json.dumps({**SETTINGS, **further}))

    def chmod(self, name: str, mode: int) -> str:
        """Change the mode of a file, and return its path."""
        path = self.paths.root / name
        path.chmod(mode)
        return str(path)

    def findings(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return problems and warnings."""
        loaded = load_config(self.paths.config, self.paths.fallback_config)
        findings = look_at_files(loaded.config, self.paths)
        return tuple(map(told, findings.problems)), tuple(map(told, findings.warnings))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A device with all its files."""
    return Files(tmp_path / "device")


def test_in_order(files: Files) -> None:
    """If all modes are correct, nothing is reported."""
    assert ((), ()) == files.findings()


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("var/lib/mender/mender-agent.pem", "the device key"),
        ("etc/mender/ca.crt", "ServerCertificate"),
        ("etc/mender/client.crt", "HttpsClient.Certificate"),
        ("etc/mender/client.key", "HttpsClient.Key"),
        ("etc/mender/one.pub", "ArtifactVerifyKeys"),
        ("etc/mender/two.pub", "ArtifactVerifyKeys"),
    ],
)
def test_refused(files: Files, name: str, setting: str) -> None:
    """A key or certificate that another user could change is refused, with its setting and a remedy."""
    path = files.chmod(name, 0o602)
    sentence = f"{setting}: another user could change it: everybody can write to {path}; run 'chmod o-w {path}'"
    assert (sentence,) == files.findings()[0]
    loaded = load_config(files.paths.config, files.paths.fallback_config)
    with pytest.raises(ConfigError):
        check_files(loaded.config, files.paths)


def test_named_device_key(files: Files) -> None:
    """A key named in the configuration is checked by the same rules, and the generated one isn't checked."""
    files.configure(Security={"AuthPrivateKey": "/etc/mender/device.key"})
    files.chmod("var/lib/mender/mender-agent.pem", 0o666)
    path = files.chmod("etc/mender/device.key", 0o602)
    assert [f"everybody can write to {path}; run 'chmod o-w {path}'"] == [
        problem.partition("change it: ")[2] for problem in files.findings()[0]
    ]


def test_key_in_a_token(files: Files) -> None:
    """A key in a PKCS#11 token has no file mode to check."""
    files.configure(Security={"AuthPrivateKey": "pkcs11:object=device"})
    loaded = load_config(files.paths.config, files.paths.fallback_config)
    assert () == check_files(loaded.config, files.paths)


def test_data_directory(files: Files) -> None:
    """A data directory that others can write to is refused, even if sticky, since it contains the verified Artifact."""
    path = files.chmod("var/lib/mender", 0o1777)
    assert (
        f"the data directory: another user could change it: everybody can write to {path}; run 'chmod o-w {path}'"
        in (files.findings()[0])
    )


@pytest.mark.parametrize("name", ["etc/mender/mender.conf", "var/lib/mender/mender.conf", "etc/mender"])
def test_configuration(files: Files, name: str) -> None:
    """A configuration that another user could have written isn't read."""
    path = files.chmod(name, 0o777)
    with pytest.raises(ConfigError, match="another user could have written it: everybody can write to") as caught:
        check_configuration_files(files.paths)
    assert 1 == len(caught.value.problems)
    assert f"run 'chmod o-w {path}'" in str(caught.value.problems[0])


def test_configuration_in_order(files: Files) -> None:
    """A configuration that only its owner can write is accepted, even behind the operator's own symbolic link."""
    aside = files.paths.data / "real.conf"
    files.paths.config.rename(aside)
    files.paths.config.symlink_to(aside)
    check_configuration_files(files.paths)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("etc/mender/mender.conf", "TenantToken"),
        ("etc/mender/client.key", "HttpsClient.Key"),
        ("var/lib/mender/mender-agent.pem", "the device key"),
    ],
)
def test_secret(files: Files, name: str, what: str) -> None:
    """A readable secret causes only a warning with a remedy, so that devices of the archived client keep working."""
    path = files.chmod(name, 0o604)
    sentence = f"{what}: another user can read this secret: everybody can read {path}; run 'chmod o-r {path}'"
    assert ((), (sentence,)) == files.findings()


def test_pin_in_the_configuration(files: Files) -> None:
    """A configuration with a PKCS#11 PIN is as secret as one with a tenant token."""
    files.configure(TenantToken="", Security={"AuthPrivateKey": "pkcs11:object=device?pin-value=1234"})
    path = files.chmod("etc/mender/mender.conf", 0o644)
    sentence = "Security.AuthPrivateKey (pin-value): another user can read this secret: "
    assert ((), (f"{sentence}everybody can read {path}; run 'chmod o-r {path}'",)) == files.findings()


def test_log_directory_of_others(files: Files) -> None:
    """A directory for deployment logs that others can write to causes a warning."""
    files.configure(UpdateLogPath="/var/log")
    (files.paths.root / "var/log").mkdir()
    path = files.chmod("var/log", 0o777)
    sentence = f"UpdateLogPath: another user could change it: everybody can write to {path}; run 'chmod o-w {path}'"
    assert ((), (sentence,)) == files.findings()


def test_configuration_without_a_secret(files: Files) -> None:
    """A configuration without a tenant token may be world-readable."""
    files.configure(TenantToken="")
    files.chmod("etc/mender/mender.conf", 0o644)
    assert ((), ()) == files.findings()


@pytest.mark.parametrize("name", ["var/lib/mender/device_type", "etc/mender/artifact_info"])
def test_what_is_told(files: Files, name: str) -> None:
    """A file whose content is only reported to the server causes a warning if another user could change it."""
    path = files.chmod(name, 0o646)
    problems, warnings = files.findings()
    assert () == problems
    assert [f"everybody can write to {path}; run 'chmod o-w {path}'"] == [
        warning.partition("change it: ")[2] for warning in warnings
    ]


def test_passphrase_file(files: Files) -> None:
    """A passphrase file is refused if others can change it, and causes a warning if they can read it."""
    loaded = load_config(files.paths.config, files.paths.fallback_config)
    path = files.paths.root / "etc/mender/passphrase"
    path.write_text("x")
    for mode, problems, warnings in ((0o600, 0, 0), (0o604, 0, 1), (0o602, 1, 0)):
        path.chmod(mode)
        findings = look_at_files(loaded.config, files.paths, "/etc/mender/passphrase")
        assert (problems, warnings) == (len(findings.problems), len(findings.warnings))
    assert () == look_at_files(loaded.config, files.paths, "-").problems


def test_directory_of_certificates(files: Files) -> None:
    """In a directory of certificates, each of them is checked."""
    directory = files.paths.root / "etc/mender/ca"
    directory.mkdir(mode=0o755)
    (directory / "one.pem").write_text("x")
    (directory / "one.pem").chmod(0o646)
    files.configure(ServerCertificate="/etc/mender/ca")
    assert [f"everybody can write to {directory}/one.pem; run 'chmod o-w {directory}/one.pem'"] == [
        problem.partition("change it: ")[2] for problem in files.findings()[0]
    ]


def test_conditions_that_cannot_be_read(files: Files) -> None:
    """A gate's file must exist and be a regular file; below /run or /sys it may be created later."""
    files.configure(
        UpdateGates={
            "Install": ["when /etc/mender/gone = 1", "when /etc/mender/gone != 2", "when /etc/mender/ca.crt = {}"],
            "Commit": ["when /sys/BAT0/capacity >= 30", "when /run/state = idle", "when /runs/state = idle"],
        },
    )
    (files.paths.root / "sys/BAT0").mkdir(parents=True)
    assert (
        f"UpdateGates.Install: cannot read {files.paths.root}/etc/mender/gone: No such file or directory; "
        "create the file, or specify one below /run that a program creates later",
        f"UpdateGates.Commit: cannot read {files.paths.root}/runs/state: No such file or directory; "
        "create the file, or specify one below /run that a program creates later",
    ) == files.findings()[0]
    files.configure(UpdateGates={"Install": "when /sys/BAT0 >= 30"})
    assert (
        f"UpdateGates.Install: cannot read {files.paths.root}/sys/BAT0: it is not a regular file; "
        "specify another one in UpdateGates",
    ) == files.findings()[0]


def test_gates_that_cannot_work(files: Files) -> None:
    """A gate is refused if its program is missing or could be changed by another user, or its time zone is unknown."""
    gate = files.paths.root / "etc/mender/gate"
    gate.touch()
    gate.chmod(0o757)
    files.configure(
        UpdateGates={
            "Install": ["run /etc/mender/gate", "22:00-05:00 Mars/Base", "Sat-Sun UTC"],
            "Reboot": ["when /bin/gone"],
        }
    )
    gone = files.paths.root / "bin/gone"
    assert (
        f"UpdateGates.Install: cannot run the program: everybody can write to {gate}; run 'chmod o-w {gate}'",
        "UpdateGates.Install: this device does not know the time zone Mars/Base; "
        "check its name, and install the system's time zones (tzdata) and Python's zoneinfo",
        f"UpdateGates.Reboot: cannot run the program: {gone} is missing; install the program there, with mode 755",
    ) == files.findings()[0]
