"""The shape of the code: who may import whom, and what the pure rooms never touch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mender_client

PACKAGE = Path(mender_client.__file__).parent
MODULES = {
    "mender_client." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_bytes())
    for path in sorted(PACKAGE.rglob("*.py"))
}

ROOMS = {
    "errors": set[str](),
    "core": {"errors"},
    "client": {"core", "errors"},
    "installers": {"core", "errors"},
    "system": {"core", "errors"},
    "devserver": {"core", "errors"},
    "app": {"client", "core", "errors", "installers", "system"},
    "embedding": {"app", "client", "core", "errors", "installers", "system"},
    "testing": {"app", "client", "core", "devserver", "embedding", "errors", "installers", "system"},
    "__main__": {"app"},
    "__init__": {"core", "embedding", "errors", "installers"},
}
"""What each room may import, besides itself."""

DEVSERVER_MAY_KNOW = {"artifact", "document", "keyvalue", "model", "wire"}
"""The parts of the core that the rehearsal stage builds upon."""

PURE = {
    "asyncio", "ctypes", "fcntl", "glob", "http", "importlib", "logging", "mmap", "multiprocessing", "os", "pathlib",
    "random", "requests", "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib3",
}  # fmt: skip
"""Modules that reach into the world; pathlib's pure paths alone are only text."""

PRINTERS = (
    "mender_client.app.",
    "mender_client.devserver.cli",
    "mender_client.devserver.parser",
    "mender_client.__main__",
)


def imports(module: str) -> Iterator[tuple[str, str]]:
    """Everything that a module imports, lazy and for type checking alike: the module, and the name out of it."""
    package = module if module.endswith("__init__") else module.rpartition(".")[0]
    package = package.removesuffix(".__init__")
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield from ((".".join([*base, *filter(None, [node.module])]), alias.name) for alias in node.names)


def room(module: str) -> str:
    """The room that a module of ours lives in."""
    return module.split(".")[1]


def of_room(name: str) -> list[str]:
    """The modules of a room."""
    return [module for module in MODULES if room(module) == name]


@pytest.mark.parametrize("module", MODULES)
def test_arrows(module: str) -> None:
    """A room imports only the rooms that its arrows lead to, lazily or not."""
    for target, name in imports(module):
        if target == "mender_client":
            if room("mender_client." + name) in ROOMS and name != "__version__":
                assert name in {*ROOMS[room(module)], room(module)}
        elif target.startswith("mender_client."):
            assert room(target) in {*ROOMS[room(module)], room(module)}, f"{module} imports {target}"


def test_every_room_has_its_arrows() -> None:
    """No room stands outside the table."""
    assert {room(module) for module in MODULES} <= set(ROOMS)


@pytest.mark.parametrize("module", of_room("devserver"))
def test_the_stage_knows_the_wire_only(module: str) -> None:
    """The dev server builds on what is true about Mender, not on how the client remembers or schedules."""
    for target, name in imports(module):
        if target == "mender_client.core":
            assert name in DEVSERVER_MAY_KNOW
        elif target.startswith("mender_client.core."):
            assert target.split(".")[2] in DEVSERVER_MAY_KNOW


@pytest.mark.parametrize("module", of_room("core"))
def test_the_core_is_pure(module: str) -> None:
    """The core touches no file, socket, clock, process or log."""
    for target, name in imports(module):
        if (target, name) not in (("pathlib", "PurePath"), ("pathlib", "PurePosixPath")):
            assert target.split(".")[0] not in PURE, f"{module} imports {target}"
    assert not {"open", "print", "input", "eval", "exec", "__import__", "breakpoint"} & called(module)


@pytest.mark.parametrize("module", of_room("client"))
def test_the_workflow_speaks_to_ports_only(module: str) -> None:
    """The workflow reaches the world through ports: it may log, and that is all."""
    for target, name in imports(module):
        if (target, name) not in (("pathlib", "PurePath"), ("pathlib", "PurePosixPath")) and target != "logging":
            assert target.split(".")[0] not in PURE, f"{module} imports {target}"
    assert not {"open", "print", "input", "eval", "exec"} & called(module)


def called(module: str) -> set[str]:
    """The plain names that a module calls."""
    calls = (node for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call))
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith(PRINTERS)])
def test_only_the_program_speaks(module: str) -> None:
    """Only the program prints, exits, reads its arguments and the environment, and handles signals."""
    assert not {"print", "input", "exit", "quit"} & called(module)
    attributes = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    forbidden = {
        "sys.exit", "sys.argv", "sys.stdout", "sys.stderr", "sys.stdin", "os.environ", "os.getenv", "os._exit",
        "signal.signal", "logging.basicConfig",
    }  # fmt: skip
    assert not forbidden & attributes


CALLS_THE_PROGRAM = "mender_client.installers.callback"
"""Calls a function of the surrounding program, which may raise anything."""


@pytest.mark.parametrize("module", [one for one in MODULES if room(one) != "app" and one != CALLS_THE_PROGRAM])
def test_no_broad_except(module: str) -> None:
    """Nobody outside the program catches everything, unless to tidy up and raise it again."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.ExceptHandler):
            names = {item.id for item in ast.walk(node.type) if isinstance(item, ast.Name)} if node.type else {""}
            last = node.body[-1]
            is_raised_again = isinstance(last, ast.Raise) and last.exc is None
            assert is_raised_again or not {"", "Exception", "BaseException"} & names, f"line {node.lineno}"


@pytest.mark.parametrize("module", [*of_room("core"), *of_room("client"), *of_room("installers"), *of_room("system")])
def test_no_state_in_modules(module: str) -> None:
    """No module keeps state of its own, so that two clients fit into one process."""
    for node in ast.walk(MODULES[module]):
        assert not isinstance(node, ast.Global), f"line {node.lineno}"
    for statement in MODULES[module].body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            is_constant = isinstance(target, ast.Name) and (target.id.isupper() or target.id in ("_logger", "__all__"))
            value = getattr(statement, "value", None)
            is_mutable = isinstance(value, ast.List | ast.Set | ast.ListComp | ast.SetComp)
            is_made = isinstance(value, ast.Call) and getattr(value.func, "id", "") in (
                "list",
                "set",
                "bytearray",
                "deque",
            )
            assert not is_mutable or is_constant, f"line {statement.lineno}"
            assert not is_made, f"line {statement.lineno}"
