"""Headers, ``key=value`` text and PEM: small texts that are parsed by pure functions."""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fuzz.mutations import ODD, mutate_bytes, mutate_text
from fuzz.parsers import Parser
from mender_client.core.certificate import parse_pem
from mender_client.core.clocksense import ClockEvidence, find_clock_problem
from mender_client.core.devicekey import UnreadableKeyError, parse_private_key
from mender_client.core.keyvalue import group_by_key, parse_key_values
from mender_client.core.model import Identity, IdentityFormat, parse_link
from mender_client.core.proxies import read_proxies
from mender_client.core.resume import RemoteObject, judge, parse_content_length, parse_content_range
from mender_client.core.signature import der_forms, parse_public_key, raw_form
from mender_client.core.tokenuri import parse_token_uri
from mender_client.core.wire.messages import parse_retry_after
from mender_client.errors import ConfigError, NetworkError, ScriptError
from mender_client.system.clockevidence import parse_date
from mender_client.system.links import _redirected

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
MOST_BYTES = 10**19

_DATES = ["Wed, 21 Oct 2026 07:28:00 GMT", "Wednesday, 21-Oct-26 07:28:00 GMT", "Wed Oct 21 07:28:00 2026", "120"]
_LINK = "https://storage.example.com:9000/bucket/artifact?X-Signature=abc&X-Expires=900#f"
_KEY_VALUES = "mac=02:00:00:00:00:01\nsn=1\nsn=2\n\nname=a b = c\r\ndevice_type=board\nartifact_name=release-1\n"
_EC_KEY = (
    b"-----BEGIN PUBLIC KEY-----\n"
    b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2fR6nVrQSYEk0ZlY5KRMo0k3YtyI\n"
    b"mMQ6nlkDnVbLVTRc0xiQUiQUGBY4CyDvGtg+dG4lkzOCGbVQFfcGxLVHYA==\n"
    b"-----END PUBLIC KEY-----\n"
)
_TOKEN_URI = "pkcs11:token=a%20token;object=key;type=private?pin-source=file:/etc/pin&module-name=softhsm2"
_PRIVATE_KEYS = [
    b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIA==\n-----END EC PRIVATE KEY-----\n",
    b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB\n"
    b"-----END RSA PRIVATE KEY-----\n",
    b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n",
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcG\n-----END ENCRYPTED PRIVATE KEY-----\n",
]
_DER_SIGNATURE = bytes.fromhex("3044" + "0220" + "11" * 32 + "0220" + "22" * 32)
_PEM_ODD = [*ODD, b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----", b"-----", b"=", b"MIIB", b"\x30\x84\xff"]


def parsers() -> list[Parser]:
    """The parsers of this module."""
    return [
        Parser("retry-after", _text_from(_DATES), _retry_after),
        Parser("content-length", _text_from(["0", "12345", "9" * 19]), _content_length),
        Parser("content-range", _text_from(["bytes 5-9/10", "bytes */10", "bytes 5-9/*"]), _content_range),
        Parser("download-headers", _download_headers, _judge),
        Parser("link", _text_from([_LINK, "http://[fe80::1]:80/", "https://h"]), _link, (ValueError,)),
        Parser("key-value", _text_from([_KEY_VALUES]), _key_values, (ScriptError,)),
        Parser("public-key", lambda rng: mutate_bytes(rng, _EC_KEY, _PEM_ODD), _public_key, (UnreadableKeyError,)),
        Parser(
            "private-key",
            lambda rng: mutate_bytes(rng, rng.choice(_PRIVATE_KEYS), _PEM_ODD),
            _key,
            (UnreadableKeyError,),
        ),
        Parser("token-uri", _token_text, _token_uri, (ValueError,)),
        Parser("proxies", _environment, _proxies, (ConfigError,)),
        Parser("date", _text_from(_DATES), _date),
        Parser("location", _text_from([_LINK, "/b", "//h/b", "?x=1", "http://127.0.0.1/"]), _location, (NetworkError,)),
        Parser("certificate", _certificate_case, _certificate, (ValueError,)),
        Parser(
            "signature-form",
            lambda rng: mutate_bytes(rng, _DER_SIGNATURE),
            _signature,
            (ValueError, UnreadableKeyError),
        ),
    ]


def _text_from(originals: list[str]) -> Callable[[random.Random], str]:
    return lambda rng: mutate_text(rng, rng.choice(originals))


def _retry_after(value: str) -> str:
    seconds = parse_retry_after(value, now=NOW)
    if seconds is None:
        return "nothing"
    assert math.isfinite(seconds), seconds
    assert 0 <= seconds, seconds
    return "accepted"


def _content_length(value: str) -> str:
    length = parse_content_length({"content-length": value})
    assert length is None or 0 <= length < MOST_BYTES
    return "nothing" if length is None else "accepted"


def _content_range(value: str) -> str:
    parsed = parse_content_range(value)
    if parsed is None:
        return "nothing"
    numbers = (parsed.first, parsed.last, parsed.total)
    assert all(number is None or 0 <= number < MOST_BYTES for number in numbers)
    return "accepted"


def _download_headers(rng: random.Random) -> tuple[int, dict[str, str], int, RemoteObject]:
    good = {"content-length": "5", "content-range": "bytes 5-9/10", "etag": '"abc"', "retry-after": "1"}
    headers = {name: mutate_text(rng, value) if rng.randrange(3) == 0 else value for name, value in good.items()}
    status = rng.choice((200, 206, 206, 206, 416, 403, 404, 503, rng.randrange(100, 1000)))
    known = RemoteObject(rng.choice((None, 10)), rng.choice((None, '"abc"')))
    return status, headers, rng.choice((0, 5, 10)), known


def _judge(case: tuple[int, dict[str, str], int, RemoteObject]) -> str:
    status, headers, offset, known = case
    verdict, remote_object = judge(status, headers, offset=offset, known=known)
    assert remote_object.total is None or 0 <= remote_object.total < MOST_BYTES
    assert remote_object.etag is None or len(remote_object.etag) <= 1024, "an ETag fills the journal"
    return verdict.name


def _link(value: str) -> str:
    assert parse_link(value).isascii()
    return "accepted"


def _key_values(text: str) -> str:
    parsed = parse_key_values(text)
    grouped = group_by_key(parsed.pairs)
    assert len(parsed.pairs) == sum(map(len, grouped.values()))
    for form in IdentityFormat:
        assert Identity.from_key_values(parsed, form=form).id_data.isascii()
    return "accepted"


def _public_key(content: bytes) -> str:
    return parse_public_key(content).kind.value


def _token_text(rng: random.Random) -> str:
    # the configuration refuses lone surrogates
    text = mutate_text(rng, _TOKEN_URI).encode("utf-8", "replace").decode()
    return f"{text}{rng.choice('?&;')}pin-value=LEAK"


def _key(content: bytes) -> str:
    return "locked" if parse_private_key(content).is_encrypted else "accepted"


def _token_uri(text: str) -> str:
    try:
        parsed = parse_token_uri(text)
    except ValueError as error:
        if "LEAK" in str(error):
            raise AssertionError("the message contains the PIN") from error
        raise
    assert "LEAK" not in repr(parsed)
    return "accepted"


def _environment(rng: random.Random) -> dict[str, str]:
    good = {
        "http_proxy": "http://user:pass@proxy.example.com:3128",
        "HTTPS_PROXY": "http://10.0.0.1:8080/",
        "no_proxy": "localhost,.example.com,10.0.0.0/8,[::1]:443,*.local,fe80::/10",
    }
    # no variable can contain a NUL
    return {
        name: mutate_text(rng, value).replace("\0", "") if rng.randrange(2) else value for name, value in good.items()
    }


def _proxies(environment: dict[str, str]) -> str:
    proxies = read_proxies(environment)
    for scheme in ("http", "https"):
        for host in ("mender.example.com", "10.1.2.3", "::1", "h"):
            proxy = proxies.choose(scheme, host, 443)
            if proxy is not None:
                assert str(proxy).isprintable()
                assert 0 < proxy.port < 65536
                assert proxy.authorization.isascii()
                assert proxy.authorization.isprintable() or not proxy.authorization
    return "accepted"


def _date(value: str) -> str:
    said = parse_date(value)
    if said is None:
        return "nothing"
    find_clock_problem(NOW, ClockEvidence(NOW, server=said))
    return "accepted"


def _location(value: str) -> str:
    target = _redirected("https://storage.example.com/a?secret", value)
    assert target.startswith("https://")
    assert target.isascii()
    assert target.isprintable()
    return "accepted"


def _make_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ours"), x509.NameAttribute(NameOID.COMMON_NAME, "h")]
    )
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=9999))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


_CERTIFICATE = _make_certificate()


def _certificate_case(rng: random.Random) -> bytes:
    pem = b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n"
    der = mutate_bytes(rng, _CERTIFICATE, _PEM_ODD) if rng.randrange(4) else _CERTIFICATE
    text = pem % base64.encodebytes(der) * rng.choice((1, 1, 2, 300))
    return text if rng.randrange(4) else mutate_bytes(rng, text, _PEM_ODD)


def _certificate(content: bytes) -> str:
    found = parse_pem(content)
    for certificate in found:
        certificate.fault_at(NOW)
        assert certificate.not_after.tzinfo is not None
    return "accepted" if found else "none"


def _signature(content: bytes) -> str:
    forms: Any = der_forms(content)
    assert 1 <= len(forms) <= 2
    assert 64 == len(raw_form(content))
    return "accepted"
