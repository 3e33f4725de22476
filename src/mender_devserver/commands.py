"""The commands of ``mender-devserver``; each returns a JSON value and a human-readable text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from mender_client.commandline import Argument, Command
from mender_client.errors import ConfigError, ServerError
from mender_devserver.contact import Contact
from mender_devserver.faults import Kind, as_json, from_json
from mender_devserver.remotecommands import REMOTE_COMMANDS
from mender_devserver.settings import NAMES

SHORT_ID = 8
"""The number of characters of an id shown in text; enough to identify the object in another command."""


def _page(contact: Contact, _: argparse.Namespace) -> tuple[object, str]:
    contact.call("GET", "/settings")  # fails if the server is no longer running, since the link would be useless
    return {"page": contact.page_url}, contact.page_url


def _devices(contact: Contact, _: argparse.Namespace) -> tuple[object, str]:
    devices = contact.call("GET", "/devices")
    rows = [row for one in devices for row in _device_rows(one)]
    return devices, table([("DEVICE", "STATUS", "IDENTITY"), *rows]) if rows else "no device has asked yet"


def _device_rows(device: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A row for the device, and one for each additional pending key."""
    shown, identity = device["device_id"][:SHORT_ID], _pairs(device["identity"])
    further = _pending_keys(device) - (device["status"] == "pending")
    return [(shown, device["status"], identity), *[(shown, "pending", f"{identity}, with another key")] * further]


def _accept(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    """Accept devices; ``--all`` skips devices whose accepted key would be replaced."""
    chosen, lines = arguments.devices, []
    if arguments.all:
        devices = contact.call("GET", "/devices")
        chosen = [one["device_id"] for one in devices if one["status"] == "pending"]
        lines = [_left_out(one) for one in devices if one["status"] != "pending" and _pending_keys(one)]
    accepted = [contact.call("POST", f"/devices/{quote(one)}/accept") for one in chosen]
    lines = [*(f"accepted {one['device_id'][:SHORT_ID]}  {_pairs(one['identity'])}" for one in accepted), *lines]
    return accepted, "\n".join(lines) or "no device is pending"


def _left_out(device: Mapping[str, Any]) -> str:
    shown = device["device_id"][:SHORT_ID]
    return (
        f"left out {shown}  {_pairs(device['identity'])}: 'accept {shown}' replaces its accepted key with the new one"
    )


def _pending_keys(device: Mapping[str, Any]) -> int:
    return sum(one["status"] == "pending" for one in device["auth_sets"])


def _on_device(action: str, done: str) -> Callable[[Contact, argparse.Namespace], tuple[object, str]]:
    def run(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
        device = contact.call("POST", f"/devices/{quote(arguments.device)}/{action}")
        return device, f"{done} {device['device_id'][:SHORT_ID]}  {_pairs(device['identity'])}"

    return run


def _preauthorize(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    identity = dict(_split(one, "=") for one in arguments.identity)
    body = {"identity": identity, "public_key": arguments.key.read_text()}
    device = contact.call("POST", "/devices", body)
    return device, f"preauthorized {device['device_id'][:SHORT_ID]}  {_pairs(identity)}"


def _inventory(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    attributes = contact.call("GET", f"/devices/{quote(arguments.device)}/inventory")
    rows = [(name, _value(value)) for name, value in sorted(attributes.items())]
    return attributes, table([("ATTRIBUTE", "VALUE"), *rows]) if rows else "the device has sent no inventory"


def _configuration(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    found = contact.call("GET", f"/devices/{quote(arguments.device)}/configuration")
    wanted, reported = found["configured"], found["reported"] or {}
    rows = [(key, wanted.get(key, "-"), reported.get(key, "-")) for key in sorted({*wanted, *reported})]
    if not rows:
        return found, "the device has no configuration"
    return found, table([("KEY", "CONFIGURED", "REPORTED"), *rows])


def _upload(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    uploaded = []
    for path in arguments.files:
        with path.open("rb") as file:
            uploaded.append(contact.upload(file))
    return uploaded, "\n".join(f"uploaded {one['artifact_name']}  {_types(one)}" for one in uploaded)


def _artifacts(contact: Contact, _: argparse.Namespace) -> tuple[object, str]:
    artifacts = contact.call("GET", "/artifacts")
    rows = [(one["artifact_name"], _types(one), str(one["size_bytes"])) for one in artifacts]
    return artifacts, table([("ARTIFACT", "DEVICE TYPES", "BYTES"), *rows]) if rows else "no Artifact is uploaded"


def _deploy(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    body = {"artifact_name": arguments.artifact_name, "device_ids": arguments.device, "force": arguments.force}
    deployment = contact.call("POST", "/deployments", body)
    return deployment, deployment["deployment_id"]


def _configure(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    configuration = dict(_split(one, "=") for one in arguments.configuration)
    path = f"/devices/{quote(arguments.device)}/configuration"
    deployment = contact.call("POST", path, {"configuration": configuration})
    return deployment, deployment["deployment_id"]


def _deployments(contact: Contact, _: argparse.Namespace) -> tuple[object, str]:
    deployments = contact.call("GET", "/deployments")
    head = ("DEPLOYMENT", "ARTIFACT", "STATUS", "DEVICES")
    rows = [
        (one["deployment_id"][:SHORT_ID], one["artifact_name"], one["status"], str(one["max_devices"]))
        for one in deployments
    ]
    return deployments, table([head, *rows]) if rows else "there are no deployments"


def _status(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    deployment = contact.call("GET", f"/deployments/{_deployment_id(contact, arguments)}")
    head = ("DEVICE", "STATUS", "REPORTED", "LOG")
    rows = [
        (one["device_id"][:SHORT_ID], one["status"], " ".join(one["received"]), "yes" if one["has_log"] else "")
        for one in deployment["devices"]
    ]
    title = f"{deployment['deployment_id']}  {deployment['artifact_name']}  {deployment['status']}"
    silent = deployment["max_devices"] - deployment["device_count"]
    lines = [title, *([table([head, *rows])] if rows else []), *([f"{silent} not polled yet"] if silent > 0 else [])]
    return deployment, "\n".join(lines)


def _log(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    query = f"?device={quote(arguments.device)}" if arguments.device else ""
    messages = contact.call("GET", f"/deployments/{_deployment_id(contact, arguments)}/log{query}")
    lines = [f"{one['timestamp']}  {one['level']:7}  {one['message']}" for one in messages]
    return messages, "\n".join(lines)


def _deployment_id(contact: Contact, arguments: argparse.Namespace) -> str:
    if arguments.deployment:
        return quote(arguments.deployment)
    deployments = contact.call("GET", "/deployments")
    if not deployments:
        raise ServerError("cannot show the newest deployment: there is none", status=404)
    newest: str = deployments[-1]["deployment_id"]
    return newest


def _abort(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    deployment = contact.call("POST", f"/deployments/{quote(arguments.deployment)}/abort")
    return deployment, f"aborted {deployment['deployment_id']}"


def _list_faults(contact: Contact, _: argparse.Namespace) -> tuple[object, str]:
    faults = contact.call("GET", "/faults")
    return faults, "\n".join(_pairs(one) for one in faults) or "no faults are planned"


def _clear_faults(contact: Contact, _: argparse.Namespace) -> tuple[object, str]:
    return contact.call("DELETE", "/faults"), "no faults are planned"


def _add_fault(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    wanted = as_json(from_json(_fault_fields(arguments)))  # checked here too: JSON has neither nan nor inf
    fault = contact.call("POST", "/faults", wanted)
    return fault, f"added {_pairs(fault)}"


def _fault_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    not_fields = ("run", "directory", "json", "for_ever", "header")
    given = {name: value for name, value in vars(arguments).items() if name not in not_fields and value is not None}
    if arguments.for_ever:
        given["times"] = None
    if arguments.header:
        given["headers"] = {name: value.strip() for name, value in (_split(one, ":") for one in arguments.header)}
    return given


def _settings(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    given = (_split(one, "=") for one in arguments.settings)
    wanted = {name.replace("-", "_"): _setting(value) for name, value in given}
    settings = contact.call("PATCH", "/settings", wanted) if wanted else contact.call("GET", "/settings")
    return settings, table([(name, _value(value), NAMES[name]) for name, value in settings.items()])


def _setting(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows as text, with each column as wide as its longest cell."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in padded)


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _types(artifact: Mapping[str, Any]) -> str:
    return ",".join(artifact["device_types"])


def _split(text: str, mark: str) -> tuple[str, str]:
    name, found, value = text.partition(mark)
    if not found or not name:
        raise ConfigError([f"cannot read '{text}': write it as NAME{mark}VALUE"])
    return name, value


def _setting_help() -> str:
    return "; ".join(f"{name}: {text}" for name, text in NAMES.items()).replace("%", "%%")


_DEVICE = Argument("device", metavar="DEVICE")
_DEPLOYMENT = Argument("deployment", nargs="?", metavar="DEPLOYMENT", help="(default: the newest)")

FAULT_COMMANDS = (
    Command("list", "list the faults that are planned", _list_faults),
    Command("clear", "remove all planned faults", _clear_faults),
    Command(
        "add",
        "add a fault; it may do several things at once",
        _add_fault,
        (
            Argument("--kind", choices=get_args(Kind), default="any", help="requests it applies to (default: any)"),
            Argument(
                "--times", type=int, default=1, metavar="N", help="the number of requests it applies to (default: 1)"
            ),
            Argument("--for-ever", action="store_true", help="apply it to all of them from now on"),
            Argument("--after", type=int, metavar="N", help="let this many requests pass first"),
            Argument("--delay-seconds", type=float, metavar="S", help="wait this long before the reply"),
            Argument(
                "--status", type=int, metavar="CODE", help="reply with this status; the request is not carried out"
            ),
            Argument("--header", action="append", metavar="NAME:VALUE", help="add to the reply; may be repeated"),
            Argument("--body", metavar="TEXT", help="the body of the reply"),
            Argument(
                "--drop-after-bytes", type=int, metavar="N", help="close the connection after this many body bytes"
            ),
            Argument("--reset", action="store_true", help="close it by a TCP reset; alone: before any reply"),
            Argument("--stall-after-bytes", type=int, metavar="N", help="stop sending after this many body bytes"),
            Argument("--stall-seconds", type=float, metavar="S", help="for this long (default: an hour)"),
            Argument("--bytes-per-second", type=float, metavar="N", help="send the body no faster than this"),
            Argument("--ignore-range", action="store_true", help="reply to a Range request with the whole Artifact"),
            Argument("--etag", metavar="TAG", help="the ETag to send"),
            Argument("--content-range", metavar="TEXT", help="the Content-Range to send"),
            Argument("--expired", action="store_true", help="reply as if the link had expired"),
        ),
    ),
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "serve",
        "run the server until it is stopped, and print what happens",
        parts=(
            Argument("--host", default="127.0.0.1", help="name or address to listen on; also the one in links"),
            Argument("--port", type=int, default=0, help="port for devices and management (default: a free one)"),
            Argument("--storage-port", type=int, default=0, help="port of the object store (default: a free one)"),
            Argument("--plain", action="store_true", help="plain HTTP; the default is TLS with its own certificate"),
            Argument("--auto-accept", action="store_true", help="accept every new device at once"),
            Argument("--v2", action="store_true", help=NAMES["v2"].partition(": ")[2]),
        ),
    ),
    Command(
        "page", "print the address of the server's page, for a browser; whoever has it can manage the server", _page
    ),
    Command("devices", "list the devices and their status", _devices),
    Command(
        "accept",
        "accept devices, each with its newest key",
        _accept,
        (
            Argument("devices", nargs="*", metavar="DEVICE"),
            Argument("--all", action="store_true", help="all that are pending; no accepted key is replaced"),
        ),
    ),
    Command("reject", "reject a device; its tokens become invalid", _on_device("reject", "rejected"), (_DEVICE,)),
    Command(
        "preauthorize",
        "accept a device before its first request",
        _preauthorize,
        (
            Argument("identity", nargs="+", metavar="KEY=VALUE", help="the device's identity"),
            Argument("--key", type=Path, required=True, metavar="FILE", help="the device's public key, a PEM file"),
        ),
    ),
    Command(
        "decommission",
        "remove a device; if it asks again, it is treated as new",
        _on_device("decommission", "decommissioned"),
        (_DEVICE,),
    ),
    Command("inventory", "show the inventory of a device", _inventory, (_DEVICE,)),
    Command("configuration", "show what is configured for a device, and what it reports", _configuration, (_DEVICE,)),
    *REMOTE_COMMANDS,
    Command("upload", "upload Artifacts", _upload, (Argument("files", nargs="+", type=Path, metavar="FILE"),)),
    Command("artifacts", "list the Artifacts", _artifacts),
    Command(
        "deploy",
        "deploy an Artifact to devices, and print the deployment's id",
        _deploy,
        (
            Argument("artifact_name", metavar="ARTIFACT_NAME"),
            Argument(
                "--device",
                action="append",
                metavar="DEVICE",
                help="to this one; may be repeated (default: to all accepted)",
            ),
            Argument("--force", action="store_true", help="even to devices that already have it"),
        ),
    ),
    Command(
        "configure",
        "deploy a configuration to a device, and print the deployment's id",
        _configure,
        (
            _DEVICE,
            Argument("configuration", nargs="*", metavar="KEY=VALUE", help="the whole configuration; none empties it"),
        ),
    ),
    Command("deployments", "list the deployments", _deployments),
    Command("status", "show the status of a deployment on each device", _status, (_DEPLOYMENT,)),
    Command(
        "log",
        "show the log that a device has sent for a deployment",
        _log,
        (_DEPLOYMENT, Argument("--device", metavar="DEVICE", help="needed when several have sent one")),
    ),
    Command("abort", "abort a deployment", _abort, (Argument("deployment", metavar="DEPLOYMENT"),)),
    Command(
        "fault",
        "plan faults: list, clear, add; by default, each fault is consumed by the first request that it applies to",
        parts=FAULT_COMMANDS,
    ),
    Command(
        "settings",
        f"show the settings, and change some: {', '.join(NAMES)}",
        _settings,
        (Argument("settings", nargs="*", metavar="NAME=VALUE", help=_setting_help()),),
    ),
)
"""All commands, in the order of the help; ``cli`` runs ``serve``, the others contact a running server."""
