"""The client's dataclasses behave like those of the standard library, whose functions accept them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mender_client import Deployment
from mender_client.core.model import Link
from mender_client.dataclass import asdict, dataclass, field, fields, is_dataclass, replace


@dataclass(frozen=True)
class Point:
    """A frozen dataclass."""

    x: int
    y: int = 0
    secret: str = field(default="", repr=False)
    labels: dict[str, str] = field(default_factory=dict, metadata={"unit": "none"})


@dataclass(frozen=True)
class Point3(Point):
    """A dataclass that adds an attribute."""

    z: int = 1


@dataclass(kw_only=True, eq=False, repr=False)
class Worker:
    """A dataclass with behaviour."""

    name: str
    size: int = 2

    def __post_init__(self) -> None:
        self.double = 2 * self.size


def test_values() -> None:
    """Attributes are set by position, by name or by default; a default factory is called for each instance."""
    one, other = Point(1), Point(1, y=2, secret="s", labels={"a": "b"})
    assert (1, 0, "", {}) == (one.x, one.y, one.secret, one.labels)
    assert (1, 2, "s", {"a": "b"}) == (other.x, other.y, other.secret, other.labels)
    assert one.labels is not Point(1).labels
    assert (1, 0, 3) == (Point3(1, z=3).x, Point3(1, z=3).y, Point3(1, z=3).z)
    assert 6 == Worker(name="w", size=3).double


@pytest.mark.parametrize(
    "wrong",
    [
        lambda new: new(),
        lambda new: new(1, 2, "", {}, 5),
        lambda new: new(1, colour="red"),
        lambda new: new(y=1),
    ],
)
def test_wrong_calls(wrong: Callable[[Any], object]) -> None:
    """Calls that a type checker would reject raise TypeError."""
    with pytest.raises(TypeError, match=r"^Point\(\)"):
        wrong(Point)


def test_frozen() -> None:
    """A frozen instance can't be modified."""
    point: Any = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    with pytest.raises(AttributeError, match="frozen"):
        point.colour = "red"


def test_equality_and_hash() -> None:
    """Instances of the same class with equal attributes are equal; with eq=False, an object equals only itself."""
    assert Link("a") == Link("a")
    assert 1 == len({Link("a"), Link("a")})
    assert Link("a") != Link("b")
    assert Point(1) != Point3(1)
    assert Worker(name="w") != Worker(name="w")


def test_repr_leaves_out_secrets() -> None:
    """Attributes that are marked with ``repr=False`` aren't shown."""
    assert "Point(x=1, y=0, labels={})" == repr(Point(1, secret="s"))


def nested() -> Deployment:
    """An instance that contains another one."""
    return Deployment("id", "name", ("a", "b"), Link("uri", "soon"))


def test_functions() -> None:
    """replace, asdict, fields and is_dataclass behave like the standard library's, which accept our dataclasses too."""
    assert dataclasses.replace(nested(), id="new") == replace(nested(), id="new")
    if sys.version_info >= (3, 13):
        assert copy.replace(nested(), id="new") == replace(nested(), id="new")
    assert dataclasses.asdict(nested()) == asdict(nested())
    assert [one.name for one in dataclasses.fields(Point3)] == [one.name for one in fields(Point3)]
    assert [(True, True), (False, False)] == [(is_dataclass(one), dataclasses.is_dataclass(one)) for one in (Point, 1)]
    assert {"unit": "none"} == fields(Point)[3].metadata
    with pytest.raises(TypeError):
        replace(nested(), colour="red")  # type: ignore[call-arg]


def test_copies() -> None:
    """An instance can be copied and pickled."""
    assert [nested()] * 3 == [copy.copy(nested()), copy.deepcopy(nested()), pickle.loads(pickle.dumps(nested()))]
