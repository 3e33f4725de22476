"""Dataclasses whose methods are shared, not compiled for each class.

``dataclasses`` generates and compiles the source of six methods for each class. For the classes that are needed at
every start, that took a fifth of the CPU time of a command and 0.7 MiB of memory in an idle daemon. Type checkers and
the functions of ``dataclasses`` treat these classes like any other dataclass. The decorator has only the options that
this program uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
    from typing import Any

__all__ = ["asdict", "dataclass", "field", "fields", "is_dataclass", "replace"]

_MISSING = object()
_set = object.__setattr__


class _Field:
    """A field of a dataclass, with the attributes of ``dataclasses.Field`` that the functions of that module read."""

    __slots__ = ("default", "default_factory", "metadata", "name", "repr")
    init = True

    def __init__(
        self,
        *,
        default: Any = _MISSING,
        default_factory: Callable[[], Any] | None = None,
        repr: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = ""
        self.default = default
        self.default_factory = default_factory
        self.repr = repr
        self.metadata = metadata or {}

    @property
    def _field_type(self) -> object:
        import dataclasses  # already loaded by whatever reads this

        return dataclasses._FIELD  # type: ignore[attr-defined]  # its functions recognise a field by it

    def initial(self, owner: str) -> Any:
        """The initial value of an attribute that isn't given."""
        if self.default_factory is not None:
            return self.default_factory()
        if self.default is _MISSING:
            raise TypeError(f"{owner}() needs {self.name!r}")
        return self.default


def _fields_of(of: Any) -> dict[str, _Field]:
    found: dict[str, _Field] = of.__dataclass_fields__
    return found


def _init(self: Any, *args: Any, **given: Any) -> None:
    known = self.__dataclass_fields__
    if args:
        if len(args) > len(known):
            raise TypeError(f"{type(self).__name__}() takes {len(known)} values, not {len(args)}")
        given.update(zip(known, args, strict=False))
    _fill(self, known, given)


def _fill(self: Any, known: Mapping[str, _Field], given: Mapping[str, Any]) -> None:
    """Set all attributes in the same order, so that the objects of a class share the keys of their ``__dict__``."""
    taken = 0
    for name, one in known.items():
        if name in given:
            _set(self, name, given[name])
            taken += 1
        else:
            _set(self, name, one.default if one.default is not _MISSING else one.initial(type(self).__name__))
    if taken != len(given):
        raise TypeError(f"{type(self).__name__}() has no {', '.join(given.keys() - known.keys())}")
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in _fields_of(self)])


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(self) is type(other) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown = [f"{name}={getattr(self, name)!r}" for name, one in _fields_of(self).items() if one.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: Any, name: str, *_: object) -> None:
    raise AttributeError(f"cannot change {name!r}: {type(self).__name__} is frozen")


def _dataclass(*, frozen: bool = False, kw_only: bool = False, eq: bool = True, repr: bool = True) -> Any:  # noqa: ARG001
    """As ``dataclasses.dataclass``, but only type checkers enforce ``kw_only``."""

    def decorate(cls: type[Any]) -> type[Any]:
        known = dict(getattr(cls, "__dataclass_fields__", {}))
        for name in cls.__annotations__:
            value = cls.__dict__.get(name, _MISSING)
            one = known[name] = value if isinstance(value, _Field) else _Field(default=value)
            one.name = name
            if one is value:
                delattr(cls, name)
        methods: dict[str, Any] = {"__init__": _init, "__replace__": _replace, "__dataclass_fields__": known}
        if repr:
            methods["__repr__"] = _repr
        if eq:
            methods |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
        if frozen:
            methods |= {"__setattr__": _refuse, "__delattr__": _refuse}
        for name, method in methods.items():
            setattr(cls, name, method)
        return cls

    return decorate


def _is_dataclass(of: object) -> bool:
    return hasattr(of, "__dataclass_fields__")


def _fields(of: Any) -> tuple[_Field, ...]:
    return tuple(_fields_of(of).values())


def _replace(value: Any, /, **changes: Any) -> Any:
    known = _fields_of(value)
    made = object.__new__(type(value))
    _fill(made, known, {name: getattr(value, name) for name in known} | changes)
    return made


def _asdict(value: Any) -> Any:
    """As ``dataclasses.asdict``, but values other than dataclasses, lists, tuples and dicts are not copied."""
    if _is_dataclass(value):
        return {name: _asdict(getattr(value, name)) for name in _fields_of(value)}
    if isinstance(value, (list, tuple)):
        return type(value)([_asdict(one) for one in value])
    if isinstance(value, dict):
        return {key: _asdict(one) for key, one in value.items()}
    return value


if not TYPE_CHECKING:
    asdict, dataclass, field = _asdict, _dataclass, _Field
    fields, is_dataclass, replace = _fields, _is_dataclass, _replace
