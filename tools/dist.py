"""Builds a release: wheels and sdists of both distributions, the zipapp, the client's SBOM, and the digests of all.

    python tools/dist.py [--no-validate] DIRECTORY

The build is reproducible: the same sources, tools and zlib produce the same bytes. The tools are pinned in
``requirements``. Each wheel is built from its sdist, which verifies that the sdist is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from zipapp_file import write_zipapp

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "src"))

from mender_client import __version__  # noqa: E402 - the checkout's own package

DISTRIBUTIONS = (PROJECT, PROJECT / "devserver")
SBOM = "mender-python-client.cdx.json"


def make_release(directory: Path, *, is_validated: bool) -> None:
    """Build all files of a release.

    Args:
        directory: the output directory; files of an earlier release in it are removed.
        is_validated: whether to validate the SBOM against its schema, which takes longer than all the rest.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for pattern in ("*.whl", "*.tar.gz", "*.pyz", "*.cdx.json", "SHA256SUMS"):
        for old in directory.glob(pattern):
            old.unlink()
    for distribution in DISTRIBUTIONS:
        _run("-m", "build", "--no-isolation", "--outdir", str(directory), str(distribution))
    write_zipapp(directory / "mender-python-client.pyz")
    (wheel,) = directory.glob("mender_python_client-*.whl")
    write_sbom(wheel, directory / SBOM, is_validated=is_validated)
    made = sorted(file for file in directory.iterdir() if file.suffix in {".whl", ".gz", ".pyz", ".json"})
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in made)
    (directory / "SHA256SUMS").write_text(sums)
    print(sums, end="")


def write_sbom(wheel: Path, target: Path, *, is_validated: bool) -> None:
    """Write the SBOM (CycloneDX) of the software that is installed on a device.

    Args:
        wheel: the client's wheel.
        target: the JSON file to write.
        is_validated: whether to validate it against its schema.
    """
    with tempfile.TemporaryDirectory() as name:
        python = Path(name) / "bin/python"
        _run("-m", "venv", "--without-pip", name)
        pip = ("-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check")
        _run(*pip, "install", "--no-deps", "--no-compile", str(wheel))
        listed = ("environment", "--output-reproducible", "--pyproject", str(PROJECT / "pyproject.toml"), str(python))
        _run(
            "-m", "cyclonedx_py", *listed, "--mc-type", "application", "--sv", "1.6", "--no-validate", "-o", str(target)
        )
    # the version is defined in the package, not in pyproject.toml
    bom = json.loads(target.read_text("utf-8"))
    bom["metadata"]["component"] |= {"version": __version__, "purl": f"pkg:pypi/mender-python-client@{__version__}"}
    text = json.dumps(bom, indent=2, sort_keys=True)
    if is_validated:
        validate(text)
    target.write_text(text + "\n", "utf-8")


def validate(text: str) -> None:
    """Exit with an error if the SBOM doesn't conform to the CycloneDX schema."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    if fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"cannot build the release: the SBOM is not valid: {fault}")


def _run(*words: str) -> None:
    # if set for another build, it would change the timestamps in the files
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"cannot build the release: {' '.join(words[:3])} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    options = sys.argv[1:-1]
    if len(sys.argv) < 2 or options not in ([], ["--no-validate"]):
        sys.exit("usage: python tools/dist.py [--no-validate] DIRECTORY")
    os.umask(0o022)
    make_release(Path(sys.argv[-1]).resolve(), is_validated=not options)
