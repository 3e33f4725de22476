"""The structure of the code: which package may import which, and which modules the pure packages never import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mender_client
import mender_devserver
import mender_fleet
from mender_client.app.deferred import DEFERRED

MODULES = {
    ".".join((root.name, *path.relative_to(root).with_suffix("").parts)): path
    for root in (Path(one).parent for one in (mender_client.__file__, mender_devserver.__file__, mender_fleet.__file__))
    for path in sorted(root.rglob("*.py"))
}

RULES = {
    "dataclass": set[str](),
    "errors": {"dataclass"},
    "commandline": {"dataclass", "errors"},
    "core": {"dataclass", "errors"},
    "client": {"core", "dataclass", "errors"},
    "installers": {"core", "dataclass", "errors"},
    "system": {"core", "dataclass", "errors"},
    "connect": {"core", "dataclass", "errors"},
    "dbus": {"connect", "core", "dataclass", "errors"},
    "app": {"client", "commandline", "connect", "core", "dataclass", "dbus", "errors", "installers", "system"},
    "embedding": {"app", "client", "core", "dataclass", "errors", "installers", "system"},
    "__main__": {"app"},
    "__init__": {"app", "core", "embedding", "errors", "installers"},
    "mender_devserver": {"commandline", "core", "errors"},
    "mender_devserver.testing": {
        "app", "client", "core", "embedding", "errors", "installers", "mender_devserver", "system",
    },
    "mender_fleet": {
        "__init__", "app", "client", "core", "embedding", "errors", "installers", "mender_devserver", "system",
    },
}  # fmt: skip
"""The dependency rules: which packages and top-level modules each may import in addition to itself.

``mender_client`` is one distribution, ``mender_devserver`` and ``mender_fleet`` are another; the first never imports
the second.
"""

DEVSERVER_MAY_KNOW = {"artifact", "keyvalue", "model", "text", "wire"}
"""The parts of the core that the dev server may import."""

PURE = {
    "asyncio", "ctypes", "fcntl", "glob", "http", "importlib", "logging", "mmap", "multiprocessing", "os", "pathlib",
    "random", "requests", "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time",
}  # fmt: skip
"""Modules with access to the system; pathlib's pure paths are allowed, since they are only text."""

PRINTERS = (
    "mender_client.app.",
    "mender_client.commandline.parser",
    "mender_client.__main__",
    "mender_devserver.cli",
    "mender_fleet.cli",
    "mender_devserver.copying",
    "mender_devserver.portforward",
    "mender_devserver.terminal",
)


@cache
def tree(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(MODULES[module].read_bytes())


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    """All nodes of the syntax tree of a module."""
    return tuple(ast.walk(tree(module)))


def imports(module: str) -> Iterator[tuple[str, str]]:
    """All imports of a module, including lazy ones and those for type checking: the other module, and a name in it."""
    package = module if module.endswith("__init__") else module.rpartition(".")[0]
    package = package.removesuffix(".__init__")
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield from ((".".join([*base, *filter(None, [node.module])]), alias.name) for alias in node.names)


def package(module: str) -> str:
    """The package or top-level module in the dependency rules to which a module belongs."""
    top, _, rest = module.partition(".")
    if top == "mender_devserver":
        return "mender_devserver.testing" if rest.partition(".")[0] == "testing" else top
    if top == "mender_fleet":
        return top
    return rest.partition(".")[0]


def of_package(name: str) -> list[str]:
    """The modules of a package."""
    return [module for module in MODULES if package(module) == name]


def test_dependency_rules() -> None:
    """A package imports only what the dependency rules allow, lazily or not."""
    assert [] == [
        f"{module} imports {target}"
        for module in MODULES
        for target in packages_used(module)
        if target not in {*RULES[package(module)], package(module)}
    ]


def packages_used(module: str) -> Iterator[str]:
    """The packages that a module imports from."""
    for target, name in imports(module):
        if target.startswith(("mender_client.", "mender_devserver", "mender_fleet")):
            yield package(f"{target}.{name}")
        elif target == "mender_client" and name in RULES:
            yield name


def test_every_package_has_its_rule() -> None:
    """The table has a rule for every package, and for none that doesn't exist."""
    assert {package(module) for module in MODULES} == set(RULES)


def test_no_import_cycles() -> None:
    """No module imports itself through others, not even lazily or for type checking.

    The public API, ``mender_client/__init__.py``, is left out: modules import the version from it, and it imports the
    names of the API only when a program uses them.
    """
    graph = {name(module): modules_used(module) - {"mender_client"} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from error


def name(module: str) -> str:
    """The name by which a module is imported."""
    return module.removesuffix(".__init__")


def modules_used(module: str) -> set[str]:
    """The modules of this project that a module imports."""
    ours = {name(one) for one in MODULES}
    found = {f"{target}.{item}" if f"{target}.{item}" in ours else target for target, item in imports(module)}
    return found & ours - {name(module)}


def test_the_dev_server_knows_the_api_only() -> None:
    """The dev server, without its testing package, imports only the parts of the core that are listed for it."""
    assert [] == [
        f"{module} imports {part}"
        for module in of_package("mender_devserver")
        for part in core_parts_used(module)
        if part not in DEVSERVER_MAY_KNOW
    ]


def core_parts_used(module: str) -> Iterator[str]:
    """The parts of the core that a module imports."""
    for target, name in imports(module):
        if target == "mender_client.core":
            yield name
        elif target.startswith("mender_client.core."):
            yield target.split(".")[2]


def test_the_core_is_pure() -> None:
    """The core does no I/O: it imports no module in ``PURE``, calls no function in ``WORLDLY``, and reads no clock."""
    assert [] == [
        f"{module} uses {name}"
        for module in of_package("core")
        for name in sorted(
            world_used(module) | ({*WORLDLY, "__import__", "breakpoint"} & called(module)) | clocks_read(module)
        )
    ]


def test_the_workflow_speaks_to_ports_only() -> None:
    """The workflow does I/O only through ports: of the modules in ``PURE``, it may import only ``logging``."""
    assert [] == [
        f"{module} uses {name}"
        for module in of_package("client")
        for name in sorted((world_used(module) - {"logging"}) | (WORLDLY & called(module)) | clocks_read(module))
    ]


def test_the_protocols_of_connect_do_no_io() -> None:
    """The protocols of device connect do no I/O: of the modules in ``PURE``, they may import only ``logging``."""
    assert [] == [
        f"{module} uses {name}"
        for module in of_package("connect")
        if module.startswith("mender_client.connect.protocol.")
        for name in sorted((world_used(module) - {"logging"}) | (WORLDLY & called(module)) | clocks_read(module))
    ]


WORLDLY = {"open", "print", "input", "eval", "exec"}
"""Functions that do I/O or run arbitrary code."""


def world_used(module: str) -> set[str]:
    """The modules in ``PURE`` that a module imports."""
    pure = {("pathlib", "PurePath"), ("pathlib", "PurePosixPath")}
    return {target.split(".")[0] for target, name in imports(module) if (target, name) not in pure} & PURE


def clocks_read(module: str) -> set[str]:
    """The class methods of ``datetime`` that a module uses to read the clock."""
    return {
        ast.unparse(node)
        for node in nodes(module)
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "utcnow", "today")
        and ast.unparse(node.value).rpartition(".")[2] in ("datetime", "date")
    }


def called(module: str) -> set[str]:
    """The plain names that a module calls, such as ``open``."""
    calls = (node for node in nodes(module) if isinstance(node, ast.Call))
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def attributes(module: str) -> set[str]:
    """The attributes of plain names that a module uses, such as ``sys.argv``."""
    return {
        f"{node.value.id}.{node.attr}"
        for node in nodes(module)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


THE_PROGRAMS_OWN = {
    "sys.exit", "sys.argv", "sys.stdout", "sys.stderr", "sys.stdin", "os.environ", "os.getenv", "os._exit",
    "signal.signal", "logging.basicConfig",
}  # fmt: skip


def test_only_the_program_prints() -> None:
    """Only the modules in ``PRINTERS`` print, exit, read arguments or the environment, and handle signals."""
    assert [] == [
        f"{module} uses {name}"
        for module in MODULES
        if not module.startswith(PRINTERS)
        for name in sorted(
            ({"print", "input", "exit", "quit"} & called(module)) | (THE_PROGRAMS_OWN & attributes(module))
        )
    ]


CALL_THE_PROGRAM = {"mender_client.installers.callback", "mender_client.embedding.modules"}
"""Modules that call functions of the embedding program, which may raise anything."""


KEEP_OTHERS_GOING = {"mender_client.connect.service"}
"""Modules that serve several users: an unexpected error ends only one session, and is logged with its traceback."""


def test_no_broad_except() -> None:
    """Outside ``app`` and the modules listed above, all exceptions are caught only to clean up and re-raise them."""
    assert [] == [
        f"{module}, line {node.lineno}"
        for module in MODULES
        if package(module) != "app" and module not in CALL_THE_PROGRAM | KEEP_OTHERS_GOING
        for node in nodes(module)
        if isinstance(node, ast.ExceptHandler) and catches_everything(node)
    ]


def catches_everything(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches all exceptions and doesn't end by re-raising them."""
    names = {item.id for item in ast.walk(handler.type) if isinstance(item, ast.Name)} if handler.type else {""}
    last = handler.body[-1]
    is_raised_again = isinstance(last, ast.Raise) and last.exc is None
    return not is_raised_again and bool({"", "Exception", "BaseException"} & names)


def test_no_state_in_modules() -> None:
    """Modules have no ``global``, bind only constants, and never change them, so that two clients share a process."""
    modules = [
        module for one in ("core", "client", "connect", "dbus", "installers", "system") for module in of_package(one)
    ]
    assert [] == [
        f"{module}, line {node.lineno}" for module in modules for node in nodes(module) if isinstance(node, ast.Global)
    ]
    assert [] == [
        f"{module}, line {statement.lineno}"
        for module in modules
        for statement in tree(module).body
        if keeps_state(statement)
    ]
    assert [] == [f"{module}, line {line}" for module in modules for line in lines_that_change_state(tree(module))]


MUTABLE = {"list", "set", "dict", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter", "WeakSet"}
CONTAINERS = (ast.List, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp)


def targets(statement: ast.stmt) -> list[ast.expr]:
    """What a statement assigns to."""
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def keeps_state(statement: ast.stmt) -> bool:
    """Whether a module-level statement binds a variable, not a constant, to a mutable container, or calls its type."""
    value = getattr(statement, "value", None)
    if isinstance(value, ast.Call):
        kind = value.func.value if isinstance(value.func, ast.Subscript) else value.func
        return ast.unparse(kind).rpartition(".")[2] in MUTABLE
    is_constant = all(
        isinstance(target, ast.Name) and (target.id.isupper() or target.id == "__all__")
        for target in targets(statement)
    )
    return isinstance(value, CONTAINERS) and not is_constant


CHANGES = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft", "remove",
    "setdefault", "sort", "update",
}  # fmt: skip
"""The methods that change a container."""


def lines_that_change_state(module: ast.Module) -> Iterator[int]:
    """The lines that change the content or an attribute of what a module-level name is bound to."""
    bound = {one.id for statement in module.body for one in targets(statement) if isinstance(one, ast.Name)}
    for node in ast.walk(module):
        if not isinstance(node, ast.Subscript | ast.Attribute) or getattr(node.value, "id", "") not in bound:
            continue
        is_changed = not isinstance(node.ctx, ast.Load) or (isinstance(node, ast.Attribute) and node.attr in CHANGES)
        if is_changed:
            yield node.lineno


@pytest.mark.parametrize(
    "code",
    [
        "_seen = {}",
        "_seen: dict[str, int] = {}",
        "_SEEN = dict()",
        "_SEEN = collections.deque[int]()",
        "_seen = {name: 1 for name in 'ab'}",
        "_SEEN = {}\ndef note(name):\n    _SEEN[name] = 1",
        "_SEEN = []\ndef note(name):\n    _SEEN.append(name)",
        "_SEEN = Seen()\ndef note(name):\n    _SEEN.name = name",
    ],
)
def test_state_is_found(code: str) -> None:
    """The test above finds containers in variables, and constants that are changed."""
    module = ast.parse(code)
    assert any(keeps_state(statement) for statement in module.body) or [*lines_that_change_state(module)]


UNUSED_WHILE_IDLE = (
    "argparse", "bz2", "dataclasses", "inspect", "lzma", "queue", "shutil", "tempfile", "typing",
    "mender_client.client.download", "mender_client.client.handover", "mender_client.core.artifact",
    "mender_client.connect", "mender_client.dbus", "jeepney", "wsproto", "zoneinfo", "mender_client.core.ports",
    "mender_client.core.windows", *DEFERRED, "_random", "linecache",
)  # fmt: skip


@pytest.mark.parametrize("module", UNUSED_WHILE_IDLE)
def test_daemon_loads_little(module: str) -> None:
    """The daemon doesn't load modules that it doesn't need before an update; some of them take up to 0.9 MiB."""
    assert module not in _modules_of_the_daemon()


@cache
def _modules_of_the_daemon() -> list[str]:
    script = f"""
import sys
sys.path.insert(0, {os.fspath(Path(mender_client.__file__).parents[1])!r})
sys.argv = ["mender-python-client", "daemon", "--config", "/nonexistent", "--root", "/nonexistent"]
from mender_client.app.entry import main
main()
import mender_client.app.daemon, mender_client.app.assemble, mender_client.client.agent
print(*(name for name, module in sys.modules.items() if type(module).__name__ != "_Deferred"))
"""
    command = [sys.executable, "-I", "-S", "-c", script]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def test_no_compiled_methods() -> None:
    """Only ``mender_client.dataclass`` and a module that no command loads import ``dataclass`` from the library."""
    using = {module for module in MODULES if ("dataclasses", "dataclass") in imports(module)}
    expected = {"mender_client.dataclass", "mender_client.embedding.description"}
    assert expected == {module for module in using if not module.startswith(("mender_devserver", "mender_fleet"))}
