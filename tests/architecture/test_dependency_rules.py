"""The shape of the code: who may import whom, and what the pure rooms never touch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import mender_client

PACKAGE = Path(mender_client.__file__).parent
MODULES = {
    "mender_client." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
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
    "mender_devserver.cli",
    "mender_devserver.parser",
    "mender_client.__main__",
)


@cache
def tree(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(MODULES[module].read_bytes())


def imports(module: str) -> Iterator[tuple[str, str]]:
    """Everything that a module imports, lazy and for type checking alike: the module, and the name out of it."""
    package = module if module.endswith("__init__") else module.rpartition(".")[0]
    package = package.removesuffix(".__init__")
    for node in ast.walk(tree(module)):
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


def test_arrows() -> None:
    """A room imports only the rooms that its arrows lead to, lazily or not."""
    assert [] == [
        f"{module} imports {target}"
        for module in MODULES
        for target in rooms_used(module)
        if target not in {*ROOMS[room(module)], room(module)}
    ]


def rooms_used(module: str) -> Iterator[str]:
    """The rooms that a module imports from."""
    for target, name in imports(module):
        if target.startswith("mender_client."):
            yield room(target)
        elif target == "mender_client" and name in ROOMS:
            yield name


def test_every_room_has_its_arrows() -> None:
    """No room stands outside the table."""
    assert {room(module) for module in MODULES} <= set(ROOMS)


def test_the_stage_knows_the_wire_only() -> None:
    """The dev server builds on what is true about Mender, not on how the client remembers or schedules."""
    assert [] == [
        f"{module} imports {part}"
        for module in of_room("devserver")
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
    """The core touches no file, socket, clock, process or log."""
    assert [] == [
        f"{module} uses {name}"
        for module in of_room("core")
        for name in sorted(world_used(module) | ({*WORLDLY, "__import__", "breakpoint"} & called(module)))
    ]


def test_the_workflow_speaks_to_ports_only() -> None:
    """The workflow reaches the world through ports: it may log, and that is all."""
    assert [] == [
        f"{module} uses {name}"
        for module in of_room("client")
        for name in sorted((world_used(module) - {"logging"}) | (WORLDLY & called(module)))
    ]


WORLDLY = {"open", "print", "input", "eval", "exec"}
"""Calls that reach into the world."""


def world_used(module: str) -> set[str]:
    """The modules that reach into the world, of those that a module imports."""
    pure = {("pathlib", "PurePath"), ("pathlib", "PurePosixPath")}
    return {target.split(".")[0] for target, name in imports(module) if (target, name) not in pure} & PURE


def called(module: str) -> set[str]:
    """The plain names that a module calls."""
    calls = (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call))
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def attributes(module: str) -> set[str]:
    """What a module takes from a plain name, as ``sys.argv``."""
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


THE_PROGRAMS_OWN = {
    "sys.exit", "sys.argv", "sys.stdout", "sys.stderr", "sys.stdin", "os.environ", "os.getenv", "os._exit",
    "signal.signal", "logging.basicConfig",
}  # fmt: skip


def test_only_the_program_speaks() -> None:
    """Only the program prints, exits, reads its arguments and the environment, and handles signals."""
    assert [] == [
        f"{module} uses {name}"
        for module in MODULES
        if not module.startswith(PRINTERS)
        for name in sorted(
            ({"print", "input", "exit", "quit"} & called(module)) | (THE_PROGRAMS_OWN & attributes(module))
        )
    ]


CALLS_THE_PROGRAM = "mender_client.installers.callback"
"""Calls a function of the surrounding program, which may raise anything."""


def test_no_broad_except() -> None:
    """Nobody outside the program catches everything, unless to tidy up and raise it again."""
    assert [] == [
        f"{module}, line {node.lineno}"
        for module in MODULES
        if room(module) != "app" and module != CALLS_THE_PROGRAM
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler) and catches_everything(node)
    ]


def catches_everything(handler: ast.ExceptHandler) -> bool:
    """Whether a handler is broad and doesn't raise again what it caught."""
    names = {item.id for item in ast.walk(handler.type) if isinstance(item, ast.Name)} if handler.type else {""}
    last = handler.body[-1]
    is_raised_again = isinstance(last, ast.Raise) and last.exc is None
    return not is_raised_again and bool({"", "Exception", "BaseException"} & names)


def test_no_state_in_modules() -> None:
    """No module keeps state of its own, so that two clients fit into one process."""
    modules = [module for name in ("core", "client", "installers", "system") for module in of_room(name)]
    assert [] == [
        f"{module}, line {node.lineno}"
        for module in modules
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Global)
    ]
    assert [] == [
        f"{module}, line {statement.lineno}"
        for module in modules
        for statement in tree(module).body
        if keeps_state(statement)
    ]


MUTABLE = ("list", "set", "bytearray", "deque")


def keeps_state(statement: ast.stmt) -> bool:
    """Whether a statement of a module binds a name to something that can change."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    value = getattr(statement, "value", None)
    if isinstance(value, ast.Call):
        return getattr(value.func, "id", "") in MUTABLE
    is_constant = all(
        isinstance(target, ast.Name) and (target.id.isupper() or target.id in ("_logger", "__all__"))
        for target in targets
    )
    return isinstance(value, ast.List | ast.Set | ast.ListComp | ast.SetComp) and not is_constant
