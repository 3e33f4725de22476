"""mender.conf: two files are merged into one validated configuration, and all faults are reported together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.app.config import ACCEPTED_KEYS, KEYS, RETIRED_KEYS, Key, LoadedConfig, load_config
from mender_client.core.model import IdentityFormat
from mender_client.errors import ConfigError, Diagnostic

SERVER = "https://server.example"


class Files:
    """The two files, absent by default."""

    def __init__(self, directory: Path) -> None:
        self.main = directory / "main.conf"
        self.fallback = directory / "fallback.conf"

    def load(self, main: object = None, fallback: object = None, *, is_server_needed: bool = True) -> LoadedConfig:
        """Write the given contents (text and bytes verbatim) and load the files."""
        for path, content in ((self.main, main), (self.fallback, fallback)):
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content is not None:
                path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return load_config(self.main, self.fallback, is_server_needed=is_server_needed)

    def problems(self, main: object = None, fallback: object = None) -> list[str]:
        """Return the problems found, without the directory in their paths."""
        with pytest.raises(ConfigError) as caught:
            self.load(main, fallback)
        return [said(problem).replace(f"{self.main.parent}/", "") for problem in caught.value.problems]


def said(message: Diagnostic) -> str:
    """Return a message with its remedy, but without its code."""
    assert re.fullmatch(r"CFG[0-9][0-9]", message.code)
    return str(message).removesuffix(f" [{message.code}]")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The two files, neither of which exists yet."""
    return Files(tmp_path)


DEFAULTS: dict[str, object] = {
    "server_urls": (SERVER,),
    "tenant_token": "",
    "server_certificate": "",
    "skip_verify": False,
    "client_certificate": "",
    "client_key": "",
    "auth_private_key": "",
    "artifact_verify_keys": (),
    "device_type_file": "",
    "update_log_path": "",
    "daemon_log_level": "info",
    "update_poll_seconds": 1800,
    "inventory_poll_seconds": 28800,
    "retry_poll_seconds": 300,
    "retry_download_count": 10,
    "download_stall_seconds": 60,
    "download_minimum_rate": 0,
    "download_speed_limit": 0,
    "download_reserve_bytes": 16777216,
    "sub_updater_timeout_seconds": 86400,
    "payload_types": (),
    "gate_download": (),
    "gate_install": (),
    "gate_reboot": (),
    "gate_commit": (),
    "adaptive_download": "auto",
    "adaptive_seeds": (),
    "rootfs_part_a": "",
    "rootfs_part_b": "",
    "remote_terminal": True,
    "identity_format": IdentityFormat.PLAIN,
}


def facts(loaded: LoadedConfig) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the loaded settings that the table above lists, and the warnings."""
    return {name: getattr(loaded.config, name) for name in DEFAULTS}, tuple(map(said, loaded.warnings))


def test_defaults(files: Files) -> None:
    """Only a server is required; all other settings have their defaults, and there are no warnings."""
    assert (DEFAULTS, ()) == facts(files.load({"ServerURL": SERVER}))


VALUES: list[tuple[dict[str, object], dict[str, object]]] = [
    ({"ServerURL": "https://a.example/"}, {"server_urls": ("https://a.example",)}),
    ({"ServerURL": "http://[::1]:8080/base/"}, {"server_urls": ("http://[::1]:8080/base",)}),
    (
        {"ServerURL": "", "Servers": [{"ServerURL": "https://a.example"}, {"serverurl": "https://b.example"}]},
        {"server_urls": ("https://a.example", "https://b.example")},
    ),
    ({"TenantToken": "t"}, {"tenant_token": "t"}),
    ({"ServerCertificate": "/etc/ca.pem"}, {"server_certificate": "/etc/ca.pem"}),
    ({"SkipVerify": True}, {"skip_verify": True}),
    ({"HttpsClient": {"Certificate": "/c", "Key": "/k"}}, {"client_certificate": "/c", "client_key": "/k"}),
    ({"httpsclient": {"CERTIFICATE": "/c", "key": "/k"}}, {"client_certificate": "/c", "client_key": "/k"}),
    ({"Security": {"AuthPrivateKey": "/k"}}, {"auth_private_key": "/k"}),
    ({"ArtifactVerifyKey": "/k"}, {"artifact_verify_keys": ("/k",)}),
    ({"ArtifactVerifyKeys": ["/k", "/l"]}, {"artifact_verify_keys": ("/k", "/l")}),
    ({"DeviceTypeFile": "/t"}, {"device_type_file": "/t"}),
    ({"UpdateLogPath": "/log"}, {"update_log_path": "/log"}),
    ({"DaemonLogLevel": "DEBUG"}, {"daemon_log_level": "debug"}),
    ({"UpdatePollIntervalSeconds": 1}, {"update_poll_seconds": 1}),
    ({"updatepollintervalseconds": 5}, {"update_poll_seconds": 5}),
    ({"InventoryPollIntervalSeconds": 7}, {"inventory_poll_seconds": 7}),
    ({"RetryPollIntervalSeconds": 9}, {"retry_poll_seconds": 9}),
    ({"RetryDownloadCount": 1}, {"retry_download_count": 1}),
    ({"DownloadStallSeconds": 30}, {"download_stall_seconds": 30}),
    ({"DownloadMinimumRate": 1000}, {"download_minimum_rate": 1000}),
    ({"DownloadSpeedLimit": 2000}, {"download_speed_limit": 2000}),
    ({"DownloadSpeedLimit": ["08:00-18:00 2000", "stop"]}, {"download_speed_limit": ("08:00-18:00 2000", "stop")}),
    ({"DownloadReserveBytes": 0}, {"download_reserve_bytes": 0}),
    ({"SubUpdaterTimeoutSeconds": 600}, {"sub_updater_timeout_seconds": 600}),
    ({"PayloadTypes": ["rootfs-image"]}, {"payload_types": ("rootfs-image",)}),
    ({"UpdateGates": {"Download": "22:00-06:00", "Commit": []}}, {"gate_download": ("22:00-06:00",)}),
    (
        {"updategates": {"install": ["Sat-Sun", "after 7d go"], "reboot": "ask"}},
        {"gate_install": ("Sat-Sun", "after 7d go"), "gate_reboot": ("ask",)},
    ),
    ({"AdaptiveDownload": "Off"}, {"adaptive_download": "off"}),
    ({"AdaptiveSeeds": ["/dev/c", "/data/golden.img"]}, {"adaptive_seeds": ("/dev/c", "/data/golden.img")}),
    ({"RootfsPartA": "/dev/a", "RootfsPartB": "/dev/b"}, {"rootfs_part_a": "/dev/a", "rootfs_part_b": "/dev/b"}),
    ({"RemoteTerminal": False}, {"remote_terminal": False}),
    ({"IdentityFormat": "List"}, {"identity_format": IdentityFormat.LIST}),
]


@pytest.mark.parametrize(("given_", "expected"), VALUES, ids=range(len(VALUES)))
def test_values(files: Files, given_: dict[str, object], expected: dict[str, object]) -> None:
    """Each key has its effect, whether written in upper or lower case."""
    base: dict[str, object] = {} if {"ServerURL", "Servers"} & set(given_) else {"ServerURL": SERVER}
    assert ({**DEFAULTS, **expected}, ()) == facts(files.load({**base, **given_}))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_default_can_be_written(files: Files, key: Key) -> None:
    """The default of every key can be set explicitly, and makes no difference."""
    group, _, inner = key.name.partition(".")
    document = {group: {inner: key.default} if inner else key.default}
    loaded = files.load({"ServerURL": SERVER, **document} if key.name != "ServerURL" else {"ServerURL": SERVER})
    assert (DEFAULTS, ()) == facts(loaded)


def test_merging(files: Files) -> None:
    """A key in the main file overrides the fallback file, even inside an object or in different case."""
    loaded = files.load(
        {"serverurl": SERVER, "HttpsClient": {"Key": "/main"}},
        {"ServerURL": "https://other.example", "TenantToken": "t", "HttpsClient": {"Key": "/f", "Certificate": "/f"}},
    )
    expected = {**DEFAULTS, "tenant_token": "t", "client_key": "/main", "client_certificate": "/f"}
    assert (expected, ()) == facts(loaded)


@pytest.mark.parametrize("which", ["main", "fallback"])
def test_one_file_is_enough(files: Files, which: str) -> None:
    """Either file may be missing."""
    documents: dict[str, object] = {which: {"ServerURL": SERVER}}
    assert (DEFAULTS, ()) == facts(files.load(**documents))  # type: ignore[arg-type]


def test_the_same_file_twice(files: Files) -> None:
    """A file given as both main and fallback file is read once, and its faults are reported once."""
    files.main.write_text('{"ServerURL": 5}')
    with pytest.raises(ConfigError) as caught:
        load_config(files.main, files.main)
    assert (f"{files.main}: ServerURL: must be a string",) == tuple(map(said, caught.value.problems))


def test_byte_order_mark(files: Files) -> None:
    """An editor's byte order mark does no harm."""
    assert (DEFAULTS, ()) == facts(files.load(b"\xef\xbb\xbf" + json.dumps({"ServerURL": SERVER}).encode()))


def test_no_server_needed(files: Files) -> None:
    """Commands that don't contact a server work without one."""
    assert () == files.load(is_server_needed=False).config.server_urls


MISSING = "main.conf: ServerURL: is missing (neither this file nor fallback.conf sets it); set the server's address"
JSON_TOOL = "find the mistake with 'python3 -m json.tool main.conf'"
RIGHT_FILE = "check whether it is the right file"
TOO_DEEP = f"main.conf: is nested too deeply or contains a number that is too large; {RIGHT_FILE}"
ADDRESS = "must be an address such as https://mender.example.com"
FAULTS: list[tuple[object, list[str]]] = [
    (None, ["main.conf: ServerURL: is missing (neither this file nor fallback.conf exists); set the server's address"]),
    ({}, [MISSING]),
    ({"ServerURL": ""}, [MISSING]),
    ({"Servers": []}, [MISSING]),
    ({"ServerURL": 5}, ["main.conf: ServerURL: must be a string"]),
    ({"ServerURL": None}, [MISSING]),
    ({"Servers": [{"ServerURL": None}]}, ["main.conf: Servers: must be a string"]),
    ({"ServerURL": "server.example"}, [f"main.conf: ServerURL: {ADDRESS}"]),
    ({"ServerURL": "ftp://server.example"}, [f"main.conf: ServerURL: {ADDRESS}"]),
    ({"ServerURL": "https://"}, [f"main.conf: ServerURL: {ADDRESS}"]),
    ({"ServerURL": "https://a:port"}, [f"main.conf: ServerURL: {ADDRESS}"]),
    ({"ServerURL": "https://a:99999"}, [f"main.conf: ServerURL: {ADDRESS}"]),
    ({"ServerURL": "https://[::1"}, [f"main.conf: ServerURL: {ADDRESS}"]),
    ({"ServerURL": "https://a b"}, [f"main.conf: ServerURL: {ADDRESS}"]),
    ({"ServerURL": "https://gr\u00fcn.example"}, [f"main.conf: ServerURL: {ADDRESS}"]),
    ({"ServerURL": "https://a\nb"}, ["main.conf: ServerURL: must not contain control characters"]),
    ({"ServerURL": "https://a\\b"}, [f"main.conf: ServerURL: {ADDRESS}"]),
    ({"ServerURL": "https://u:p@a"}, ["main.conf: ServerURL: must contain neither user, query nor fragment"]),
    ({"ServerURL": "https://a/?"}, ["main.conf: ServerURL: must contain neither user, query nor fragment"]),
    ({"ServerURL": "https://a/?b"}, ["main.conf: ServerURL: must contain neither user, query nor fragment"]),
    (
        {"Servers": "https://a"},
        ['main.conf: Servers: must be a list of objects such as {"ServerURL": "https://mender.example.com"}'],
    ),
    ({"Servers": [{}]}, ['main.conf: Servers: must contain a "ServerURL" in each object']),
    ({"Servers": [{"ServerURL": "x"}]}, [f"main.conf: Servers: {ADDRESS}"]),
    (
        {"ServerURL": SERVER, "Servers": [{"ServerURL": SERVER}]},
        ["main.conf: Servers: cannot be used together with ServerURL (main.conf)"],
    ),
    ("", [f"main.conf: is not valid JSON: line 1, column 1: expecting value; {JSON_TOOL}"]),
    ('{\n  "ServerURL": oops\n}', [f"main.conf: is not valid JSON: line 2, column 16: expecting value; {JSON_TOOL}"]),
    (b"\xff\xfe", ["main.conf: is not UTF-8 text"]),
    ("[]", ["main.conf: must contain a JSON object; write the keys between { and }"]),
    ("[" * 100_000, [TOO_DEEP]),
    ('{"a": ' + "9" * 5000 + "}", [TOO_DEEP]),
    (" " * 1_100_000, [f"main.conf: is larger than 1048576 bytes; {RIGHT_FILE}"]),
]
ALONE: list[tuple[str, object, str]] = [
    ("SkipVerify", "true", "must be true or false"),
    ("SkipVerify", 1, "must be true or false"),
    ("UpdatePollIntervalSeconds", "5", "must be a whole number"),
    ("UpdatePollIntervalSeconds", 5.5, "must be a whole number"),
    ("UpdatePollIntervalSeconds", True, "must be a whole number"),
    ("UpdatePollIntervalSeconds", 0, "must be at least 1"),
    ("InventoryPollIntervalSeconds", -1, "must be at least 1"),
    ("RetryPollIntervalSeconds", 10**12, "must be at most 315360000"),
    ("RetryDownloadCount", 0, "must be at least 1"),
    ("SubUpdaterTimeoutSeconds", -1, "must be at least 0"),
    ("DownloadSpeedLimit", "fast", "must be a whole number, or a list of windows with rates"),
    ("DownloadSpeedLimit", -1, "must be at least 0, or a list of windows with rates"),
    ("DownloadSpeedLimit", ["22:00-05:00"], "must have bytes per second, unlimited or stop at the end of "),
    ("TenantToken", ["x"], "must be a string"),
    ("TenantToken", "a\x7fb", "must not contain control characters"),
    ("ArtifactVerifyKeys", "/k", "must be a list of strings"),
    ("ArtifactVerifyKeys", [5], "must be a string"),
    ("DaemonLogLevel", "loud", "must be one of trace, debug, "),
    ("IdentityFormat", "both", "must be one of plain, list"),
    ("HttpsClient", "x", "must be an object"),
]
FAULTS += [
    (
        {"ServerURL": SERVER, "UpdateGates": {"Instal": "ask"}},
        ["main.conf: there is no key 'UpdateGates.Instal'; did you mean 'UpdateGates.Install'?"],
    ),
    (
        {"ServerURL": SERVER, "UpdateGates.Install": "ask"},
        ['main.conf: there is no key \'UpdateGates.Install\'; write it as {"UpdateGates": {"Install": …}}'],
    ),
]
GATES: list[tuple[object, str]] = [
    (5, "must be a string or a list of strings"),
    ("", "must consist of windows such as Mon-Fri 22:00-05:00, ask, when PATH, run PATH and after TIME go|fail; "),
    (["ask", ""], "must not contain an empty text"),
    (["ask", 5], "must be a string"),
    ("Mon-Fry 22:00-05:00", "must have days such as Mon-Fri or Sat,Sun in place of 'Mon-Fry' in 'Mon-Fry 22:00-05:00'"),
    ("after 7d go", 'must contain something to wait for besides "after"'),
]
FAULTS += [
    ({"ServerURL": SERVER, "UpdateGates": {"Reboot": value}}, [f"main.conf: UpdateGates.Reboot: {text}"])
    for value, text in GATES
]
FAULTS += [({"ServerURL": SERVER, key: value}, [f"main.conf: {key}: {text}"]) for key, value, text in ALONE]
FAULTS += [
    (
        {"ServerURL": SERVER, "HttpsClient": {"Key": "/k"}},
        ["main.conf: HttpsClient.Key: needs HttpsClient.Certificate; set HttpsClient.Certificate too"],
    ),
    (
        {"ServerURL": SERVER, "HttpsClient": {"Certificate": "/c"}},
        ["main.conf: HttpsClient.Certificate: needs HttpsClient.Key; set HttpsClient.Key too"],
    ),
    ({"ServerURL": SERVER, "HttpsClient": {"Key": 5}}, ["main.conf: HttpsClient.Key: must be a string"]),
    (
        {"ServerURL": SERVER, "ArtifactVerifyKey": "/k", "ArtifactVerifyKeys": ["/l"]},
        ["main.conf: ArtifactVerifyKeys: cannot be used together with ArtifactVerifyKey (main.conf)"],
    ),
    (
        '{"ServerURL": "https://a", "serverurl": "https://b"}',
        ["main.conf: serverurl: is given twice (keys are not case-sensitive); remove one of the two"],
    ),
    (
        '{"ServerURL": "https://a", "a\\nb": 1, "a\\nb": 2}',
        ["main.conf: a?b: is given twice (keys are not case-sensitive); remove one of the two"],
    ),
]


@pytest.mark.parametrize("case", FAULTS, ids=range(len(FAULTS)))
def test_faults(files: Files, case: tuple[object, list[str]]) -> None:
    """Each fault is reported with file and key, and JSON syntax errors with line and column."""
    document, expected = case
    problems = files.problems(document)
    assert len(expected) == len(problems), problems
    for start, problem in zip(expected, problems, strict=True):
        assert start == problem[: len(start)]
        assert problem.isprintable()


def test_all_faults_at_once(files: Files) -> None:
    """All problems in both files are reported together."""
    assert [
        "main.conf: ServerURL: must be a string",
        "main.conf: SkipVerify: must be true or false",
        "fallback.conf: TenantToken: must be a string",
        "fallback.conf: UpdatePollIntervalSeconds: must be at least 1",
    ] == files.problems(
        {"ServerURL": 5, "SkipVerify": 5}, {"TenantToken": 5, "UpdatePollIntervalSeconds": -1, "ServerURL": SERVER}
    )


def test_secrets_are_not_repeated(files: Files) -> None:
    """The message doesn't repeat a wrong value, since it may be a secret."""
    assert "secret" not in " ".join(files.problems({"TenantToken": ["secret"], "ServerURL": "https://u:secret@a"}))


def test_unreadable(files: Files) -> None:
    """A file that exists but can't be read is an error; it isn't treated as absent."""
    files.main.mkdir()
    assert ["main.conf: cannot be read: Is a directory; it must not be a directory"] == files.problems(None, {})


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("ServerUrl2", "; did you mean 'ServerURL'?"),
        ("UpdatePollIntervallSeconds", "; did you mean 'UpdatePollIntervalSeconds'?"),
        ("tenanttokem", "; did you mean 'TenantToken'?"),
        ("Colour", ""),
        ("\u0001", ""),
    ],
)
def test_unknown_keys(files: Files, key: str, suggestion: str) -> None:
    """An unknown key causes a warning that suggests the nearest known key, and has no effect."""
    loaded = files.load({"ServerURL": SERVER, key: "x"})
    assert (DEFAULTS, (f"{files.main}: unknown key {key!r} is ignored{suggestion}",)) == facts(loaded)


def test_unknown_key_in_an_object(files: Files) -> None:
    """An unknown key inside an object is reported with the object's name."""
    loaded = files.load({"ServerURL": SERVER, "Security": {"AuthPrivateKeys": "x"}})
    assert (
        f"{files.main}: unknown key 'Security.AuthPrivateKeys' is ignored; did you mean 'Security.AuthPrivateKey'?",
    ) == tuple(map(said, loaded.warnings))


TOLERATED: list[tuple[object, dict[str, object], str]] = [
    ({"TenantToken": None}, {}, "TenantToken: is null, and the key is ignored"),
    ({"SkipVerify": None}, {}, "SkipVerify: is null, and the key is ignored"),
    ({"RetryDownloadCount": None}, {}, "RetryDownloadCount: is null, and the key is ignored"),
    ({"security": None}, {}, "security: is null, and the key is ignored"),
    ({"HttpsClient": {"KEY": None}}, {}, "HttpsClient.Key: is null, and the key is ignored"),
    ({"Servers": None}, {}, "Servers: is null, and the key is ignored"),
    ({"DaemonLogLevel": ""}, {}, "DaemonLogLevel: is empty, and the key is ignored"),
    ({"DaemonLogLevel": " "}, {}, "DaemonLogLevel: is empty, and the key is ignored"),
    ({"IdentityFormat": ""}, {}, "IdentityFormat: is empty, and the key is ignored"),
    (
        {"DaemonLogLevel": "debug "},
        {"daemon_log_level": "debug"},
        "DaemonLogLevel: leading and trailing spaces are ignored",
    ),
    (
        {"ServerURL": " https://a.example/ \n"},
        {"server_urls": ("https://a.example",)},
        "ServerURL: leading and trailing spaces are ignored",
    ),
    (
        {"Servers": [{"ServerURL": "https://a.example "}], "ServerURL": ""},
        {"server_urls": ("https://a.example",)},
        "Servers: leading and trailing spaces are ignored",
    ),
]


@pytest.mark.parametrize(("given_", "expected", "warning"), TOLERATED, ids=range(len(TOLERATED)))
def test_tolerated(files: Files, given_: dict[str, object], expected: dict[str, object], warning: str) -> None:
    """Empty or null values and spaces around a word or an address cause only a warning, as in the C++ client."""
    loaded = files.load({"ServerURL": SERVER, **given_})
    assert ({**DEFAULTS, **expected}, 1) == (facts(loaded)[0], len(loaded.warnings))
    assert loaded.warnings[0].text == f"{files.main}: {warning}"


def test_null_leaves_the_key_to_the_fallback_file(files: Files) -> None:
    """A key set to null counts as missing, so the fallback file's value is used."""
    assert "t" == files.load({"ServerURL": SERVER, "TenantToken": None}, {"TenantToken": "t"}).config.tenant_token


def test_many_unknown_keys(files: Files) -> None:
    """The first twenty unknown keys are named, the rest only counted, without suggestions."""
    keys = {f"NobodyKnowsThis{number}": 1 for number in range(5000)} | {"x" * 100_000: 1}
    warnings = files.load({"ServerURL": SERVER, **keys, "TenantToken": None}).warnings
    assert (22, f"{files.main}: 4981 more unknown keys are ignored") == (len(warnings), said(warnings[-1]))


def test_deep_value(files: Files) -> None:
    """A deeply nested value is refused with a single problem, whether or not the JSON parser can read it."""
    deep = '{"Servers": ' + "[" * 900 + "]" * 900 + "}"
    (problem,) = files.problems(deep)
    assert problem in (
        TOO_DEEP,
        'main.conf: Servers: must be a list of objects such as {"ServerURL": "https://mender.example.com"}',
    )


@pytest.mark.parametrize("character", ["\\ud800", "\\u009b", "\\u0000", "\\n"])
def test_characters_that_no_path_has(files: Files, character: str) -> None:
    """Surrogates and control characters are refused, since no file name or header can contain them."""
    text = f'{{"ServerURL": "{SERVER}", "DeviceTypeFile": "/a{character}"}}'
    assert ["main.conf: DeviceTypeFile: must not contain control characters"] == files.problems(text)


def test_key_with_a_dot(files: Files) -> None:
    """A key with a dot in its name is unknown; the warning shows the nested form."""
    loaded = files.load({"ServerURL": SERVER, "HttpsClient.Key": "/k"})
    advice = '; write it as {"HttpsClient": {"Key": …}}'
    assert (DEFAULTS, (f"{files.main}: unknown key 'HttpsClient.Key' is ignored{advice}",)) == facts(loaded)


@pytest.mark.parametrize("document", ["{,}", "[]", b"\xff", " " * 1_100_000])
def test_what_an_unreadable_file_may_hold_is_not_missed(files: Files, document: str | bytes) -> None:
    """If a file is unusable, keys that it may contain aren't reported as missing."""
    (problem,) = files.problems(document, {"HttpsClient": {"Key": "/k"}})
    assert problem.startswith("main.conf: ")


@pytest.mark.parametrize("key", [*ACCEPTED_KEYS, *RETIRED_KEYS])
def test_keys_of_the_field(files: Files, key: str) -> None:
    """Keys used by other Mender clients, now or in the past, are accepted silently."""
    group, _, inner = key.partition(".")
    document: dict[str, object] = {group: {inner: 1}} if inner else {key.lower(): {"anything": 1}}
    assert (DEFAULTS, ()) == facts(files.load({"ServerURL": SERVER, **document}))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from([key.name.partition(".")[0] for key in KEYS]) | st.text(max_size=20)


@given(main=st.dictionaries(_NAMES, _JSON, max_size=5) | st.binary(max_size=60))
def test_anything(tmp_path_factory: pytest.TempPathFactory, main: object) -> None:
    """Any content results in either a configuration or a ConfigError, with printable messages."""
    files = Files(tmp_path_factory.mktemp("config"))
    try:
        loaded: LoadedConfig | ConfigError = files.load(main)
    except ConfigError as error:
        loaded = error
    for line in loaded.problems if isinstance(loaded, ConfigError) else loaded.warnings:
        assert str(line).isprintable()


def test_keys_are_explained() -> None:
    """Every key in the table has a value format and a description for the reference page."""
    assert all(key.form and key.help.endswith(".") for key in KEYS)
