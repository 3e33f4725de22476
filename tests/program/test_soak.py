"""The soak test, in small: a few deployments with faults from a fixed seed, and a judge that detects errors."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "tools"))

from soak.device import System  # noqa: E402 - behind the path
from soak.faults import ABORTED, ANSWERS, GARBAGE, KILLS, POWER, Draw  # noqa: E402
from soak.judge import DOUBLED, LOST, ODD, STUCK, TRACEBACK, Case, judge  # noqa: E402

SEED = 2
OLD, NEW = System("old", "keep A", "A", "old"), System("new", "keep B", "B", "new")
GOOD = Case(
    Draw("good", "succeed", (), ()),
    Counter(),
    "new",
    OLD,
    NEW,
    "success",
    ("downloading", "installing", "success"),
    ("install", "committed", "success", "report 0"),
    (0,),
    "",
    is_settled=True,
)
FAILED = replace(GOOD, after=OLD, end="failure", heard=("downloading", "failure"), history=())


def _kinds(case: Case) -> list[str]:
    return [kind for kind, _ in judge(case)]


def test_soak(tmp_path: Path) -> None:
    """A device with seeded faults at every level loses nothing, does nothing twice and never gets stuck."""
    argv = [sys.executable, str(PROJECT / "tools/soak"), "--deployments", "2", "--seed", str(SEED)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "| deployments | 2 |" in done.stdout
    for kind in (LOST, DOUBLED, STUCK, TRACEBACK, ODD):
        assert f"| **{kind}** | **0** |" in done.stdout


def test_good_cases_pass() -> None:
    """An update that was installed once and reported is right, and so is one that failed for a reason."""
    assert [] == judge(GOOD)
    assert [] == judge(replace(GOOD, heard=(*GOOD.heard, "success")))
    assert [] == judge(replace(FAILED, met=Counter({POWER: 1})))
    given_up = "the sub-updater has not reported for 15 s (SubUpdaterTimeoutSeconds)"
    assert [] == judge(replace(FAILED, met=Counter({KILLS: 1}), said=given_up))
    assert [] == judge(replace(FAILED, end="aborted", met=Counter({ABORTED: 1})))
    assert [] == judge(replace(FAILED, draw=replace(GOOD.draw, artifact="broken")))
    assert [] == judge(replace(FAILED, draw=replace(GOOD.draw, plan="fail-health"), history=("install", "failure")))


@pytest.mark.parametrize("met", [(), (ANSWERS,), (KILLS,)])
def test_failure_without_excuse_is_lost(met: Sequence[str]) -> None:
    """A good update that fails is lost, unless an event can truthfully explain the failure."""
    assert [LOST] == _kinds(replace(FAILED, met=Counter(met)))


def test_what_the_judge_must_see() -> None:
    """Each kind of error is detected; garbage in the state file excuses a lost outcome, but nothing else."""
    assert [LOST] == _kinds(replace(GOOD, end="failure", heard=("failure",)))
    assert [] == _kinds(replace(GOOD, end="failure", heard=("failure",), met=Counter({GARBAGE: 1})))
    assert [DOUBLED] == _kinds(replace(GOOD, history=("install", *GOOD.history), met=Counter({GARBAGE: 1})))
    assert [DOUBLED] == _kinds(replace(GOOD, heard=("failure", "success")))
    assert [STUCK] == _kinds(replace(GOOD, is_settled=False))
    assert [TRACEBACK] == _kinds(replace(GOOD, said="Traceback (most recent call last):"))
    assert [ODD] == _kinds(replace(GOOD, after=replace(NEW, artifact_name="old")))
    assert [ODD] == _kinds(replace(GOOD, after=replace(NEW, boots="tried B")))
    assert [ODD] == _kinds(replace(GOOD, exits=(0, 1)))
    assert [ODD, ODD] == _kinds(replace(GOOD, after=OLD))
