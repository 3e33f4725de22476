"""Write docs/reference/states.md from the tables that the client runs by: ``python tools/state_diagram.py``.

With ``--check`` nothing is written; exit code 1 says that the page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fresh import write_all

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "src"))

from mender_client.core.machine import ENDS, RESUME, TRANSITIONS, Event, InstallerState, State  # noqa: E402 - the checkout's own package

PAGE = PROJECT / "docs" / "reference" / "states.md"
COMMAND = "python tools/state_diagram.py"

MEANINGS = {
    State.DOWNLOADING: "The Artifact is fetched and verified in one pass; what an earlier life left is verified again.",
    State.VERIFIED: "It is verified. The server is asked once more, then the lock file is written.",
    State.HANDING_OVER: "The lock is there, and the sub-updater may have been started.",
    State.INSTALLING: "The sub-updater runs, and its process is recorded. The client waits for update.lock to go.",
    State.RECONCILING: "The lock has gone without a report: artifact_info says how it went.",
    State.SUCCEEDED: "The outcome is noted and on its way to the server: success.",
    State.FAILED: "The outcome is noted and on its way to the server, behind the log: failure.",
    State.ABORTED: "The server wants it no more. Nothing is told, and nothing is remembered.",
}

_SHORT = {
    InstallerState.NOT_BEGUN: "no trace of a start",
    InstallerState.NO_LOCK: "no lock",
    InstallerState.LOCK_ALONE: "the lock alone",
    InstallerState.AT_WORK: "lock and sub-updater",
}

_HEAD = f"""# The states of an update

This page is made by `{COMMAND}` from `src/mender_client/core/machine.py`; change the tables there, not
the page. A test fails when the two differ.

Each state is written to disk before its effect happens, so that a client that was cut off can tell where it stood.
"""

_RESTART = """
## Where a restarted client goes on

Two things decide: the last state on disk, and what is to be seen of the sub-updater. Before the hand-over everything
begins again: the bytes on disk are verified by reading them, the server is asked whether it still wants the update.
Behind it nothing is ever started a second time. A deployment that begins again too often without a new byte fails.
"""


def diagram() -> str:
    """The transitions, and the ways that a restart takes, as a mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {_node(State.DOWNLOADING)}"]
    for state, events in TRANSITIONS.items():
        by_event = {event.name: after for event, after in events.items()}
        by_sight = {_SHORT[sight]: after for sight, after in RESUME.get(state, {}).items() if after is not state}
        lines += _arrows(state, by_event, "") + _arrows(state, by_sight, "restart with ")
    lines += [f"    {_node(state)} --> [*]" for state in State if state in ENDS]
    return "\n".join([*lines, "```"])


def _arrows(state: State, targets: Mapping[str, State], prefix: str) -> list[str]:
    by_target: dict[State, list[str]] = {}
    for label, after in targets.items():
        by_target.setdefault(after, []).append(label)
    return [f"    {_node(state)} --> {_node(after)}: {prefix}{', '.join(names)}" for after, names in by_target.items()]


def _node(state: State) -> str:
    return state.name


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def states() -> str:
    """What each state means, and its name in the journal."""
    rows = [(f"`{state.name}`", f"`{state.value}`", MEANINGS[state]) for state in State]
    return table(("state", "in the journal", "meaning"), rows)


def transitions() -> str:
    """Every state by every event."""
    rows = [
        (f"`{state.name}`", *(_cell(TRANSITIONS[state].get(event)) for event in Event))
        for state in State
        if state not in ENDS
    ]
    return table(("state", *(f"`{event.name}`" for event in Event)), rows)


def events() -> str:
    """What each event means."""
    return table(("event", "meaning"), [(f"`{event.name}`", event.value) for event in Event])


def restarts() -> str:
    """Every state by every sight."""
    rows = [
        (f"`{state.name}`", *(_cell(sights[sight]) for sight in InstallerState)) for state, sights in RESUME.items()
    ]
    return table(("last state", *(sight.value for sight in InstallerState)), rows)


def _cell(state: State | None) -> str:
    return "" if state is None else f"`{state.name}`"


def page() -> str:
    """The whole page."""
    parts = [
        _HEAD,
        diagram(),
        states(),
        "\n## What happens in which state\n\nAn empty field is a fault of the client, and loud.\n",
        transitions(),
        events(),
        _RESTART,
        restarts(),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


if __name__ == "__main__":
    sys.exit(write_all({PAGE: page()}))
