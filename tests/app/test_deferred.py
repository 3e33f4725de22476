"""Modules of the standard library that are loaded when the program first uses them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mender_client
from mender_client.app.deferred import DEFERRED

SOURCES = str(Path(mender_client.__file__).parents[1])

USED = {
    "calendar": "timegm",
    "ipaddress": "ip_address",
    "locale": "setlocale",
    "random": "random",
    "traceback": "print_exc",
}
"""A name of each deferred module."""


def run(code: str) -> str:
    """What a new interpreter prints that defers the modules and then executes this code."""
    script = (
        f"import sys\nsys.path.insert(0, {SOURCES!r})\nfrom mender_client.app.deferred import defer_modules\n{code}"
    )
    command = [sys.executable, "-I", "-S", "-c", script]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.parametrize("name", DEFERRED)
def test_filled_module(name: str) -> None:
    """Once it is used, a deferred module has the names, the file and the type of an ordinarily imported one."""
    shown = (
        f"import {name}\nprint(sorted(vars({name}).keys() - {{'__cached__'}}), {name}.__file__, type({name}), {name})"
    )
    use = f"import {name}\nassert '__builtins__' not in vars({name})\n{name}.{USED[name]}\n"
    assert run(shown) == run(f"defer_modules()\n{use}{shown}")


@pytest.mark.parametrize("name", DEFERRED)
def test_import_of_one_name(name: str) -> None:
    """An import of one of its names fills a deferred module; a name that it doesn't have is refused, as ever."""
    code = f"""
defer_modules()
from {name} import {USED[name]}
try:
    from {name} import missing
except ImportError:
    import {name}
    print(hasattr({name}, "missing"))
"""
    assert "False\n" == run(code)


def test_loaded_module_is_kept() -> None:
    """A module that has been loaded already isn't replaced, nor is one that has been deferred already."""
    code = """
import random
before = random
defer_modules()
import ipaddress, random
first = ipaddress
defer_modules()
import ipaddress
print(random is before, ipaddress is first, "__builtins__" in vars(ipaddress))
"""
    assert "True True False\n" == run(code)


def test_threads() -> None:
    """A deferred module that several threads use first at the same time is loaded once, and complete for all."""
    code = """
import threading
sys.setswitchinterval(1e-6)
defer_modules()
import calendar, ipaddress
executed = []
load = type(ipaddress.__spec__.loader).exec_module
class Loader(type(ipaddress.__spec__.loader)):
    def exec_module(self, module):
        executed.append(module.__name__)
        load(self, module)
ipaddress.__spec__.loader.__class__ = Loader
start, seen = threading.Barrier(8), []
def use():
    start.wait()
    seen.append(ipaddress.v6_int_to_packed(1))  # one of the last names that the module defines
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(seen), executed)
"""
    assert "8 ['ipaddress']\n" == run(code)


def test_traceback_is_logged() -> None:
    """An unexpected exception is logged with its traceback, although that module is deferred."""
    code = """
defer_modules()
import logging
logging.basicConfig(stream=sys.stdout)
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("unexpected")
"""
    lines = run(code).splitlines()
    assert ("ERROR:root:unexpected", "Traceback (most recent call last):") == (lines[0], lines[1])
    assert "ZeroDivisionError: division by zero" == lines[-1]
