"""Makes a release: wheel, sdist, zipapp, the list of what they consist of (SBOM), and the digests of all.

    python tools/dist.py FOLDER

The same sources, tools and zlib give the same bytes, wherever and whenever; the tools are pinned in ``requirements``.
The wheel is built from the sdist, so that both are known to be whole.
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

SBOM = "mender-python-client.cdx.json"


def make_release(directory: Path) -> None:
    """Make all files of a release.

    Args:
        directory: where they go; what it holds of an earlier release is removed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for pattern in ("*.whl", "*.tar.gz", "*.pyz", "*.cdx.json", "SHA256SUMS"):
        for old in directory.glob(pattern):
            old.unlink()
    _run("-m", "build", "--no-isolation", "--outdir", str(directory), str(PROJECT))
    write_zipapp(directory / "mender-python-client.pyz")
    (wheel,) = directory.glob("*.whl")
    write_sbom(wheel, directory / SBOM)
    made = sorted(file for file in directory.iterdir() if file.suffix in {".whl", ".gz", ".pyz", ".json"})
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in made)
    (directory / "SHA256SUMS").write_text(sums)
    print(sums, end="")


def write_sbom(wheel: Path, target: Path) -> None:
    """Write the list (CycloneDX) of what a device gets: the wheel and what it needs, pinned, and nothing else.

    Args:
        wheel: the client.
        target: the JSON file; cyclonedx-py holds it against the schema.
    """
    with tempfile.TemporaryDirectory() as name:
        python = Path(name) / "bin/python"
        _run("-m", "venv", "--without-pip", name)
        pip = ("-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check", "install", "--no-deps")
        _run(*pip, "--require-hashes", "-r", str(PROJECT / "requirements/device.txt"))
        _run(*pip, str(wheel))
        listed = ("environment", "--output-reproducible", "--pyproject", str(PROJECT / "pyproject.toml"), str(python))
        _run("-m", "cyclonedx_py", *listed, "--mc-type", "application", "--sv", "1.6", "-o", str(target))
    # pyproject.toml doesn't name the version: it is in the package
    bom = json.loads(target.read_text("utf-8"))
    bom["metadata"]["component"] |= {"version": __version__, "purl": f"pkg:pypi/mender-python-client@{__version__}"}
    target.write_text(json.dumps(bom, indent=2, sort_keys=True) + "\n", "utf-8")


def _run(*words: str) -> None:
    # a time that somebody has set for another build would be in the files
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"cannot make the release: {' '.join(words[:3])} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/dist.py FOLDER")
    os.umask(0o022)
    make_release(Path(sys.argv[1]).resolve())
