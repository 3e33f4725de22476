"""The boot loader excerpts in the A/B guide are run: both languages are close enough to the shell's."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .pages import PROJECT, blocks

PAGE = PROJECT / "docs/guide/ab.md"

Variables = dict[str, str]
Boot = Callable[[Variables], tuple[str, Variables]]

COMMITTED = {"mender_boot_part": "2", "upgrade_available": "0", "bootcount": "0"}
HANDED_OVER = {"mender_boot_part": "3", "upgrade_available": "1", "bootcount": "0"}
ON_TRIAL = {"mender_boot_part": "3", "upgrade_available": "1", "bootcount": "1"}

UBOOT = """
setenv() { name=$1; shift; eval "$name=\\$*"; }
saveenv() { :; }
load() { :; }
reset() { :; }
booti() { echo "$bootargs"; exit; }
run() { for command; do eval "eval \\"\\$$command\\""; done; }
"""

GRUB = """
load_env() { :; }
save_env() { :; }
linux() { echo "$*"; }
initrd() { :; }
boot() { :; }
"""


def block(language: str, number: int = 0) -> str:
    """A block of the page."""
    return [one.text for one in blocks(PAGE) if one.language == language][number]


def shell(script: str, *, path: Path | None = None, said: str = "") -> str:
    """The output of a script."""
    environment = {"PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, input=said, capture_output=True, text=True, check=False
    )
    assert "" == done.stderr
    return done.stdout


def answer(printed: str) -> tuple[str, Variables]:
    """The partition that was booted, and the variables afterwards."""
    (root,) = re.findall(r"root=\S+?(\d) ", printed)
    return root, dict(re.findall(r"^(mender_boot_part|upgrade_available|bootcount)=(.*)$", printed, re.MULTILINE))


SHOW = "trap 'for name in mender_boot_part upgrade_available bootcount; do eval \"echo $name=\\$$name\"; done' EXIT\n"


def uboot(before: Variables) -> tuple[str, Variables]:
    """One boot of U-Boot: the environment on the page, and the built-in boot counting."""
    lines = [line.partition("=") for line in block("uboot").splitlines()]
    environment = {name: value for name, _, value in lines} | before
    command = "bootcmd"
    if environment["upgrade_available"] == "1":
        environment["bootcount"] = str(int(environment["bootcount"]) + 1)
        command = "altbootcmd" if int(environment["bootcount"]) > int(environment["bootlimit"]) else "bootcmd"
    values = "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items())
    return answer(shell(f"{UBOOT}{values}{SHOW}run {command}"))


def grub(before: Variables) -> tuple[str, Variables]:
    """One boot of GRUB: the lines on the page."""
    stored = "".join(f"    {name}={value}\n" for name, value in before.items())
    lines = re.sub(r"\bset (\w+=)", r"\1", block("grub")).replace("root=(hd0,", "root='(hd0,'").replace("})", "}')'")
    return answer(shell(GRUB.replace("load_env() { :; }", f"load_env() {{\n{stored}}}") + SHOW + lines))


@pytest.mark.parametrize("boot", [uboot, grub])
@pytest.mark.parametrize(
    ("before", "partition", "after"),
    [
        (COMMITTED, "2", COMMITTED),
        (HANDED_OVER, "3", ON_TRIAL),
        (ON_TRIAL, "2", COMMITTED),
        ({**COMMITTED, "mender_boot_part": "3"}, "3", {**COMMITTED, "mender_boot_part": "3"}),
        ({**ON_TRIAL, "mender_boot_part": "2"}, "3", {**COMMITTED, "mender_boot_part": "3"}),
    ],
    ids=["nothing new", "first boot", "second boot", "B for good", "back to B"],
)
def test_excerpts_try_once_and_go_back(boot: Boot, before: Variables, partition: str, after: Variables) -> None:
    """The new partition is booted once; without a commit all later boots are of the old one."""
    assert (partition, after) == boot(before)


def test_tools_over_one_environment_file(tmp_path: Path) -> None:
    """What ``support/install`` writes with the one tool on the page, it reads back with the other."""
    editor = tmp_path / "grub-editenv"
    editor.write_text(
        "#!/bin/sh\n"
        f'file={tmp_path}/grubenv; [ "$1" = /boot/grub/grubenv ] || exit 1; verb=$2; shift 2\n'
        'case $verb in list) cat "$file" ;; set) printf "%s\\n" "$@" >"$file" ;; esac\n'
    )
    editor.chmod(0o755)
    printer, setter = block("sh", -2), block("sh", -1)
    assert "" == shell(f"set -- -s -\n{setter}", path=tmp_path, said="mender_boot_part=3\nupgrade_available=1\n")
    assert "upgrade_available=1\n" == shell(f"set -- upgrade_available\n{printer}", path=tmp_path)
