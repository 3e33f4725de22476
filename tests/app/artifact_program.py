"""Helpers that run ``artifact …`` in this process, and the directory of the reference tool's Artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mender_client.app.cli import main

DATA = Path(__file__).parents[1] / "data" / "artifacts"
P256 = ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: bytes
    err: str


Run = Callable[..., Done]


def make_run(capture: pytest.CaptureFixture[bytes]) -> Run:
    """Make a function that runs one command."""

    def run(*words: str | Path) -> Done:
        try:
            code = main(["artifact", *map(str, words)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capture.readouterr()
        return Done(code, out, err.decode())

    return run


def described(run: Run, artifact: Path) -> dict[str, Any]:
    """Return the output of ``show --json``."""
    done = run("show", "--json", artifact)
    assert (0, "") == (done.code, done.err)
    result = json.loads(done.out)
    assert isinstance(result, dict)
    return result


def payload_of(run: Run, artifact: Path, directory: Path) -> Sequence[Path]:
    """Write the payload files of an Artifact to a directory; return their paths."""
    paths = []
    for file in described(run, artifact)["payloads"][0]["files"]:
        path = directory / file["name"]
        path.write_bytes(run("cat", artifact, file["name"]).out)
        paths.append(path)
    return paths


def key_pair(directory: Path, name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    """Write a private and a public key; return their paths."""
    private, public = directory / f"{name}.pem", directory / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public
