"""The faults, drawn for each deployment from a seed before it starts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from mender_devserver import Fault
from mender_devserver.faults import Kind

MARK = "X-Soak"
"""The header that names a fault in the reply, so that the fault is counted when it occurs."""

SPAN_S = 2.5
"""Faults of the device and outages of the server begin within this many seconds; a deployment takes about two."""

ANSWERS = "server: 500, 502, 503 or 429"
DROPS = "network: connection closed before the reply, request processed"
RESETS = "network: connection reset"
SLOW = "network: slow reply"
CUTS = "network: download cut"
STALLS = "network: download stalled"
RANGES = "storage: Range ignored after a cut"
ETAGS = "storage: another ETag after a cut"
LINKS = "storage: link expired"
TOKENS = "server: token revoked"
DECOMMISSIONED = "server: device decommissioned, accepted again"
ABORTED = "server: deployment aborted"
OUTAGES = "server: down for some seconds"
KILLS = "device: client killed (SIGKILL)"
POWER = "device: power cut (SIGKILL of everything)"
FULL = "device: disk full for a moment"
UNWRITABLE = "device: data directory unwritable for a moment"
GARBAGE = "device: state file replaced by garbage"

WEIGHTS = {
    ANSWERS: 4,
    DROPS: 5,
    RESETS: 3,
    SLOW: 2,
    CUTS: 4,
    STALLS: 2,
    RANGES: 2,
    ETAGS: 2,
    LINKS: 2,
    TOKENS: 3,
    DECOMMISSIONED: 1,
    ABORTED: 2,
    OUTAGES: 2,
    KILLS: 8,
    POWER: 8,
    FULL: 3,
    UNWRITABLE: 3,
    GARBAGE: 2,
}

PLANS = ("succeed", "succeed", "succeed", "succeed", "succeed", "succeed", "fail-install", "fail-health")
ARTIFACTS = ("good",) * 12 + ("broken", "other", "posing")
_REQUESTS: tuple[Kind, ...] = ("auth", "inventory", "next", "next", "status", "status", "status", "log", "artifact")


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault of the device or the server at a certain time.

    Attributes:
        kind: the kind of fault, one of ``WEIGHTS``.
        at_s: the time in seconds after the deployment was created.
        for_s: the duration in seconds, if it has one.
    """

    kind: str
    at_s: float
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Draw:
    """The faults drawn for one deployment.

    Attributes:
        artifact: ``good``, ``broken``, ``other`` (for another device type) or ``posing`` (the same, but offered).
        plan: the behaviour of the sub-updater: succeed, fail-install, fail-health (after the reboot).
        answers: faults in the server's replies.
        blows: faults at a certain time, in chronological order.
    """

    artifact: str
    plan: str
    answers: tuple[Fault, ...]
    blows: tuple[Blow, ...]


def draw(rng: random.Random, kinds: dict[str, int], *, artifact_bytes: int) -> Draw:
    """Draw a deployment with none to four faults.

    Args:
        rng: the random number generator.
        kinds: the faults that are possible on this machine, with their weights.
        artifact_bytes: the approximate size of the download.
    """
    answers: list[list[Fault]] = []
    blows: list[Blow] = []
    for kind in rng.choices(list(kinds), list(kinds.values()), k=rng.choice((0, 1, 1, 2, 2, 3, 4))):
        if kind in _ANSWERS:
            answers.append(_ANSWERS[kind](rng, artifact_bytes))
        else:
            blows.append(Blow(kind, rng.uniform(0.0, SPAN_S), _LASTS[kind](rng) if kind in _LASTS else 0.0))
    rng.shuffle(answers)
    blows.sort(key=lambda blow: blow.at_s)
    return Draw(rng.choice(ARTIFACTS), rng.choice(PLANS), tuple(chain.from_iterable(answers)), tuple(blows))


def _answer(rng: random.Random, _: int) -> list[Fault]:
    status = rng.choice((500, 502, 503, 429))
    headers = {MARK: ANSWERS, **({"Retry-After": "1"} if status == 429 else {})}
    return [Fault(kind=_any(rng), status=status, headers=headers, times=rng.choice((1, 2)), after=rng.choice((0, 1)))]


def _drop(rng: random.Random, _: int) -> list[Fault]:
    return [Fault(kind=_any(rng), drop_after_bytes=0, headers={MARK: DROPS}, after=rng.choice((0, 1)))]


def _reset(rng: random.Random, _: int) -> list[Fault]:
    return [Fault(kind=_any(rng), reset=True, headers={MARK: RESETS}, after=rng.choice((0, 1)))]


def _slow(rng: random.Random, _: int) -> list[Fault]:
    return [Fault(kind=_any(rng), delay_seconds=rng.uniform(0.3, 1.5), headers={MARK: SLOW})]


def _cut(rng: random.Random, length: int, kind: str = CUTS) -> Fault:
    place, reset = rng.randrange(1, length), rng.random() < 0.5
    return Fault(kind="artifact", drop_after_bytes=place, reset=reset, headers={MARK: kind})


def _stall(rng: random.Random, length: int) -> list[Fault]:
    place, seconds = rng.randrange(1, length), rng.choice((0.7, 3.0))
    return [Fault(kind="artifact", stall_after_bytes=place, stall_seconds=seconds, headers={MARK: STALLS})]


def _no_range(rng: random.Random, length: int) -> list[Fault]:
    return [_cut(rng, length), Fault(kind="artifact", ignore_range=True, headers={MARK: RANGES})]


def _etag(rng: random.Random, length: int) -> list[Fault]:
    return [_cut(rng, length), Fault(kind="artifact", etag='"another"', headers={MARK: ETAGS})]


def _link(_: random.Random, __: int) -> list[Fault]:
    return [Fault(kind="artifact", expired=True, headers={MARK: LINKS})]


def _any(rng: random.Random) -> Kind:
    return rng.choice(_REQUESTS)


_ANSWERS: dict[str, Callable[[random.Random, int], list[Fault]]] = {
    ANSWERS: _answer,
    DROPS: _drop,
    RESETS: _reset,
    SLOW: _slow,
    CUTS: lambda rng, length: [_cut(rng, length)],
    STALLS: _stall,
    RANGES: _no_range,
    ETAGS: _etag,
    LINKS: _link,
}
_LASTS: dict[str, Callable[[random.Random], float]] = {
    OUTAGES: lambda rng: rng.uniform(0.5, 3.0),
    FULL: lambda rng: rng.uniform(0.3, 2.0),
    UNWRITABLE: lambda rng: rng.uniform(0.2, 1.5),
}
