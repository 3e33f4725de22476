"""Renders the client status as metrics in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from .client_status import STARTING, STOPPED, WAITING, Authorisation, ClientStatus
from .gates import GatePoint
from .machine import ENDS, State

_STATES = (STARTING, WAITING, *(state.value for state in State if state not in ENDS), STOPPED)
_Samples = list[tuple[Mapping[str, str], float]]


def render_metrics(client_status: ClientStatus) -> str:
    """The metrics of a device, as the content of a file."""
    return "".join(_family(*family) for family in _families(client_status))


def render_metrics_of(devices: Mapping[str, ClientStatus]) -> str:
    """The metrics of several devices, with the label ``device``."""
    samples: dict[str, tuple[str, str, _Samples]] = {}
    for device, client_status in devices.items():
        for name, kind, meaning, found in _families(client_status):
            labelled = [({"device": device, **labels}, value) for labels, value in found]
            samples.setdefault(name, (kind, meaning, []))[2].extend(labelled)
    return "".join(_family(name, *family) for name, family in samples.items())


def _families(one: ClientStatus) -> Iterator[tuple[str, str, str, _Samples]]:
    """Name, type, meaning and samples of each metric."""
    counts, download = one.counts, one.download
    versions = {"version": one.version, "python": one.python}
    yield "info", "gauge", "Versions; always 1.", [(versions, 1)]
    installed: _Samples = [({"artifact_name": one.installed}, 1)] if one.installed else []
    yield "installed_artifact", "gauge", "The installed Artifact; always 1.", installed
    yield "start_time_seconds", "gauge", "When the client started.", _time(one.started)
    yield "state", "gauge", "1 for what the client does.", [({"state": word}, one.doing == word) for word in _STATES]
    authorisations: _Samples = [({"state": word.value}, one.authorisation is word) for word in Authorisation]
    yield "authorisation", "gauge", "1 for whether the server accepts this device.", authorisations
    yield "polls_total", "counter", "Update polls that were answered.", [({}, counts.polls)]
    yield "failures_total", "counter", "Failures by kind.", _by("kind", counts.failures)
    ends = {end.value: counts.deployments.get(end.value, 0) for end in ENDS}
    yield "deployments_total", "counter", "Finished deployments by outcome.", _by("outcome", ends)
    yield "fetched_bytes_total", "counter", "Bytes of Artifacts that were downloaded.", [({}, counts.bytes_fetched)]
    meaning = "Bytes that did not have to be downloaded again."
    yield "resumed_bytes_total", "counter", meaning, [({}, counts.bytes_resumed)]
    meaning = "Bytes that did not have to be downloaded, since the device had their content."
    yield "reused_bytes_total", "counter", meaning, [({}, counts.bytes_reused)]
    points: _Samples = [({"gate": point.value}, one.at_gate.point == point.value) for point in GatePoint]
    yield "waiting_at_gate", "gauge", "1 for the gate at which the update waits.", points
    yield "waiting_since_time_seconds", "gauge", "When the update began to wait at a gate.", _time(one.at_gate.since)
    yield "held", "gauge", "1 if people hold all updates.", [({}, bool(one.held))]
    yield "last_contact_time_seconds", "gauge", "When a server last answered.", _time(one.contact)
    yield "last_poll_time_seconds", "gauge", "When an update poll was last answered.", _time(one.polled)
    meaning = "Consecutive failures of the job that failed last; 0 when it has succeeded since."
    yield "failures_in_a_row", "gauge", meaning, [({}, one.failure.in_a_row)]
    yield "unreported_messages", "gauge", "Messages that the server has not acknowledged.", [({}, one.unreported)]
    yield "download_bytes", "gauge", "How much of the Artifact is on disk.", [({}, download.done)]
    yield "download_size_bytes", "gauge", "How large the Artifact is; 0 when unknown.", [({}, download.total)]


def _by(label: str, numbers: Mapping[str, int]) -> _Samples:
    return [({label: value}, number) for value, number in sorted(numbers.items())]


def _time(text: str) -> _Samples:
    try:
        return [({}, datetime.fromisoformat(text).timestamp())]
    except ValueError:
        return []  # it has never happened


def _family(name: str, kind: str, meaning: str, samples: _Samples) -> str:
    full = f"mender_client_{name}"
    lines = [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]
    lines += [f"{full}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n" if samples else ""


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
