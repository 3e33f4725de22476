"""The state of the real server before a recorded request, and the state described by the title afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contract.stage import MAIN, Stage
from devserver.caller import public_pem
from mender_devserver import Fault, RateLimit

FIRST = {"mac": "02:00:00:fbb01c", "sn": "1"}
GONE = {"mac": "dec:fbb01c"}
OTHER = {"mac": "other:fbb01c"}
TYPE_B = {"mac": "b:fbb01c"}
DAY_SECONDS = 24 * 3600.0


def scene_of(line: Mapping[str, Any]) -> str:
    """Return the name of a line in the tables below: its id, or the first words of the title if the id isn't unique."""
    title = str(line["title"])
    return " ".join(title.split()[:2]) if line["id"] in ("A25", "F7") else str(line["id"])


# Authentication


def _accepted_key(kind: str) -> Callable[[Stage], None]:
    def scene(stage: Stage) -> None:
        stage.gadget({"mac": f"{kind}:fbb01c"})

    return scene


def _preauthorized(stage: Stage) -> None:
    identity = {"mac": "pre:fbb01c"}
    stage.server.preauthorize(identity, public_pem(stage.key_of(identity)))


def _decommissioned(stage: Stage) -> None:
    stage.speak_as(GONE)
    stage.server.decommission(stage.device_id(GONE))


# Deployments


def _first_deployment(stage: Stage) -> None:
    stage.upload("r1-fbb01c")
    stage.deploy("r1-fbb01c")


def _second_deployment(stage: Stage) -> None:
    stage.upload("r2-fbb01c")
    stage.deploy("r2-fbb01c", "ec326638-0a19-4bb4-93be-9a1619794241")
    stage.gadget(MAIN).poll("r1-fbb01c")


def _aborted(stage: Stage) -> None:
    deployment_id = stage.deploy("r2-fbb01c", "3df2f9e3-8d74-4f37-8a8a-e8050dc084e6")
    stage.gadget(MAIN).poll("r1-fbb01c")
    stage.server.abort(deployment_id)


def _aborted_before_the_poll(stage: Stage) -> None:
    stage.server.abort(stage.deploy("r2-fbb01c", "4c64b22a-5f09-4df6-ad1f-d4c33ef2f964"))


def _waiting(*names: str, polled: bool = False, force: bool = False) -> Callable[[Stage], None]:
    """Create exactly these pending deployments, the oldest first; optionally, the device has already polled."""

    def scene(stage: Stage) -> None:
        stage.end_all()
        for name in names:
            stage.deploy(name, name, force=force)
        if polled:
            stage.gadget(MAIN).poll("old")

    return scene


def _newest_ended(stage: Stage) -> None:
    stage.gadget(MAIN).report(stage.ids["847a8620-9d9d-4c60-a7ff-a4348ba63b4b"], "success")


def _of_another_device(stage: Stage) -> None:
    stage.end_all()
    stage.gadget(OTHER)
    stage.deploy("r2-fbb01c", "177028af-9c9c-422f-8ec3-e52e2e1454e9", OTHER)


def _polled_by_its_device(stage: Stage) -> None:
    stage.speak_as(OTHER).poll("old")


def _to_be_retried(stage: Stage) -> None:
    stage.deploy("r2-fbb01c", "544c368c-3e7f-4826-ba94-a7caf9801347")
    stage.speak_as(MAIN).poll("old")


def _two_artifacts_of_one_name(stage: Stage) -> None:
    stage.speak_as(TYPE_B)
    stage.upload("rm-fbb01c", "typeA")
    stage.upload("rm-fbb01c", "typeB")
    stage.deploy("rm-fbb01c", "", TYPE_B)


def _short_token(stage: Stage) -> None:
    stage.server.token_seconds = 3.0
    stage.gadget(MAIN).authorize()
    stage.speak_as(MAIN)


def _later(stage: Stage) -> None:
    stage.server.clock_offset_seconds += 5.0


def _new_token(stage: Stage) -> None:
    stage.server.token_seconds = 7 * DAY_SECONDS
    stage.gadget(MAIN).authorize()
    stage.speak_as(MAIN)


def _short_link(stage: Stage) -> None:
    stage.server.link_seconds = 3.0
    stage.upload("rx-fbb01c")
    stage.deploy("rx-fbb01c")


def _down(kind: Any) -> Callable[[Stage], None]:
    return lambda stage: stage.server.add_fault(Fault(kind=kind, status=502, body="Bad Gateway"))


def _limited(stage: Stage) -> None:
    stage.end_all()
    stage.server.rate_limit = RateLimit(5, 20.0)


def _after_the_window(stage: Stage) -> None:
    stage.server.clock_offset_seconds += 20.0


def _dependent(name: str) -> Callable[[Stage], None]:
    def scene(stage: Stage) -> None:
        stage.server.rate_limit = None
        stage.server.link_seconds = DAY_SECONDS
        if not any(one.name == name for one in stage.server.artifacts()):
            stage.upload(name)
        _waiting(name)(stage)

    return scene


BEFORE: Mapping[str, Callable[[Stage], object]] = {
    "A17": lambda stage: stage.server.accept(stage.device_id(FIRST)),
    "A22b": lambda stage: stage.hold(stage.tokens["A17"]),
    "A25 ec": _accepted_key("ec"),
    "A25 ec384": _accepted_key("ec384"),
    "A25 ed": _accepted_key("ed"),
    "A29": lambda stage: stage.server.accept(stage.device_id(FIRST)),
    "A32": lambda stage: stage.server.reject(stage.device_id(FIRST)),
    "A33": lambda stage: stage.hold(stage.tokens["A29"]),
    "A34": _preauthorized,
    "A35": _decommissioned,
    "B1": lambda stage: stage.speak_as(MAIN),
    "D11": _first_deployment,
    "H8": _second_deployment,
    "I1": _aborted,
    "I5": _aborted_before_the_poll,
    "I6": _waiting("r2-fbb01c"),
    "I7": _waiting("r2-fbb01c", force=True),
    "I8": _waiting("r2-fbb01c"),
    "I10": _waiting("r2-fbb01c", polled=True),
    "I12": _waiting("r2-fbb01c", polled=True),
    "I14": _waiting("r2-fbb01c", "r1-fbb01c"),
    "I15": _newest_ended,
    "I17": _of_another_device,
    "I19": _polled_by_its_device,
    "I20": _to_be_retried,
    "I23": _two_artifacts_of_one_name,
    "J1": _short_token,
    "J2": _later,
    "J4": _new_token,
    "J5": _short_link,
    "J6": _later,
    "K1": _down("next"),
    "K3": _down("auth"),
    "K4": _down("inventory"),
    "M1.1": _limited,
    "M4": _after_the_window,
    "N1a": _dependent("n1-532f37"),
    "N1b": _dependent("n1-532f37"),
    "N2a": _dependent("n2-532f37"),
    "N2b": _dependent("n2-532f37"),
    "N3a": _dependent("n3-532f37"),
    "N3b": _dependent("n3-532f37"),
}

MAIN_DEPLOYMENT = "7e3c1b1b-6df9-40b3-88e9-2df43fee6917"


def _key_states(stage: Stage) -> list[str]:
    return [one.status for one in stage.device(FIRST).auth_sets]


def _inventory(stage: Stage) -> dict[str, Any]:
    return stage.server.inventory(stage.device_id(MAIN))


def _log(stage: Stage) -> list[str]:
    messages = stage.server.log(stage.ids[MAIN_DEPLOYMENT], stage.device_id(MAIN)) or []
    return [str(one["message"]) for one in messages]


AFTER: Mapping[str, tuple[Callable[[Stage], object], object]] = {
    "A1": (_key_states, ["pending"]),
    "A3": (_key_states, ["pending"]),
    "A17": (_key_states, ["accepted"]),
    "A23": (lambda stage: len([one for one in stage.server.devices() if "sn" in one.identity]), 1),
    "A27": (_key_states, ["accepted", "pending"]),
    "A29": (_key_states, ["rejected", "accepted"]),
    "A32": (_key_states, ["rejected", "rejected"]),
    "A34": (lambda stage: stage.device({"mac": "pre:fbb01c"}).status, "accepted"),
    "A36": (lambda stage: stage.device(GONE).status, "pending"),
    "C1": (_inventory, {"device_type": "testdev", "artifact_name": "old"}),
    "C2": (lambda stage: sorted(_inventory(stage)), ["artifact_name", "device_type", "ipv4_eth0"]),
    "C3": (_inventory, {"device_type": "testdev"}),
    "C4": (_inventory, {"device_type": "testdev"}),
    "C5": (_inventory, {}),
    "C21": (lambda stage: len(_inventory(stage)), 100),
    "C22": (lambda stage: len(_inventory(stage)), 100),
    "C27": (_inventory, {"w": "1"}),
    "G1": (_log, ["boom"]),
    "G2": (_log, ["second"]),
    "G7": (_log, ["boom"]),
    "G18": (_log, ["a\nb\0c \U0001f600"]),
    "H1": (lambda stage: stage.status(MAIN_DEPLOYMENT), "success"),
    "H4": (lambda stage: stage.status(MAIN_DEPLOYMENT), "failure"),
    "H6": (lambda stage: stage.status(MAIN_DEPLOYMENT), "success"),
    "I2": (lambda stage: stage.status("3df2f9e3-8d74-4f37-8a8a-e8050dc084e6"), "aborted"),
    "I6": (lambda stage: stage.status("r2-fbb01c"), "already-installed"),
    "I7": (lambda stage: stage.status("r2-fbb01c"), "pending"),
    "I8": (lambda stage: stage.status("r2-fbb01c"), "noartifact"),
    "I10": (lambda stage: stage.status("r2-fbb01c"), "failure"),
    "I19": (lambda stage: stage.status("177028af-9c9c-422f-8ec3-e52e2e1454e9", OTHER), "success"),
    "I20": (lambda stage: stage.status("544c368c-3e7f-4826-ba94-a7caf9801347"), "failure"),
}
"""For each line, the function that reads the server's state afterwards, and the expected result."""
