"""Update modules in Python: each state is a method, an answer is a printed line, and an exception means failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mender_devserver.testing import ModuleUnderTest

HEAD = f"#!{sys.executable}\nfrom mender_client import UpdateModule\nclass Module(UpdateModule):\n"
MAIN = "if __name__ == '__main__':\n    Module.main()\n"
PAYLOAD = {"first": b"1" * 200_000, "empty": b"", "last": b"3"}


def write(place: Path, methods: str) -> Path:
    """Write a module, and return its path."""
    program = place / "app.py"
    program.write_text(HEAD + "".join(f"    {line}\n" for line in methods.splitlines()) + MAIN)
    program.chmod(0o755)
    return program


def call(program: Path, *arguments: str) -> tuple[int, str, str]:
    """Call a module; return its exit code and its outputs."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("methods", "state", "result"),
    [
        ("pass", "SupportsRollback", (0, "No\n", "")),
        ("def rollback(self): pass", "SupportsRollback", (0, "Yes\n", "")),
        ("pass", "NeedsArtifactReboot", (0, "No\n", "")),
        ("def needs_reboot(self): return 'Automatic'", "NeedsArtifactReboot", (0, "Automatic\n", "")),
        ("pass", "ProvidePayloadFileSizes", (0, "No\n", "")),
        ("def download(self, files): pass", "ProvidePayloadFileSizes", (0, "Yes\n", "")),
        ("def reboot(self): print(self.tree)", "ArtifactRollbackReboot", (0, "tree\n", "")),
        ("def install(self): 1 / 0", "ArtifactInstall",
         (1, "", "cannot do ArtifactInstall: division by zero (ZeroDivisionError)\n")),
        ("def commit(self): raise OSError('two\\nlines')", "ArtifactCommit",
         (1, "", "cannot do ArtifactCommit: two lines (OSError)\n")),
        ("pass", "ArtifactUnknown", (0, "", "")),
    ],
)  # fmt: skip
def test_states(tmp_path: Path, methods: str, state: str, result: tuple[int, str, str]) -> None:
    """A query prints its answer, and other states print nothing; a failure is one line with exit code 1."""
    assert result == call(write(tmp_path, methods), state, "tree")


def test_usage(tmp_path: Path) -> None:
    """A module called without the required arguments prints its usage."""
    assert (64, "", "usage: app.py STATE TREE\n") == call(write(tmp_path, "pass"))


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        ("for file in files: print(file.name, file.size, len(file.read()))", "first 200000 200000,empty 0 0,last 1 1"),
        ("for file in files: print(file.name, file.read(2), file.readinto(bytearray(1)))",
         "first b'11' 1,empty b'' 0,last b'3' 0"),
        ("pass", ""),
    ],
)  # fmt: skip
def test_streaming(tmp_path: Path, body: str, printed: str) -> None:
    """A module with a ``download`` method gets each file as it arrives; what it doesn't read is skipped."""
    program = write(tmp_path, f"def download(self, files):\n    {body}")
    walk = ModuleUnderTest(tmp_path / "harness", program, PAYLOAD).walk()
    label = "DownloadWithFileSizes (app.py): "
    lines = ",".join(line.removeprefix(label) for line in walk.log.splitlines() if line.startswith(label))
    assert ("success", True, printed) == (walk.status, walk.is_streamed, lines), walk


def test_it_loads_little() -> None:
    """Importing UpdateModule doesn't load the rest of the client."""
    code = (
        "import sys\nfrom mender_client import UpdateModule\nprint(*sorted(n for n in sys.modules if 'mender_c' in n))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mender_client mender_client.app mender_client.app.update_module" == done.stdout.strip()
