"""``mender-devserver``: run the server, and tell a running one what to do.

Results go to standard output, as aligned tables or with ``--json`` as JSON; complaints go to standard error, one line
each. Exit codes: 0 done; 1 failed; 2 what was asked for isn't there (no such device, no log yet …); 64 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mender_client.errors import ConfigError, MenderError, ServerError
from mender_devserver.contact import Contact, load_contact
from mender_devserver.parser import DEFAULT_DIRECTORY, parse_arguments
from mender_devserver.settings import NAMES

if TYPE_CHECKING:
    from mender_devserver.record import Event

DONE, FAILED, MISSING, USAGE = 0, 1, 2, 64
SHORT_ID = 8
"""Characters of an id that are shown in text; enough to name it again."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    arguments = parse_arguments(argv)
    try:
        if arguments.command == "serve":
            serve(arguments)
        else:
            value, text = COMMANDS[arguments.command](load_contact(arguments.directory), arguments)
            print(json.dumps(value, indent=2) if arguments.json else text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; say no more
        return FAILED
    except ImportError as error:
        return _complain(f"cannot run without {error.name}: install 'mender-python-client[devserver]'", FAILED)
    except ConfigError as error:
        return _complain(str(error), USAGE)
    except ServerError as error:
        return _complain(str(error), MISSING if error.status == 404 else FAILED)
    except (MenderError, OSError) as error:
        return _complain(str(error), FAILED)
    return DONE


def _complain(message: str, code: int) -> int:
    print(f"mender-devserver: {message}", file=sys.stderr)
    return code


# serve


def serve(arguments: argparse.Namespace) -> None:
    """Run the server in the foreground until SIGINT or SIGTERM."""
    from mender_devserver.server import DevServer  # aiohttp is needed for this command only

    happened: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: happened.put(None))
    server = DevServer(
        arguments.directory,
        tls=not arguments.plain,
        host=arguments.host,
        port=arguments.port,
        storage_port=arguments.storage_port,
        auto_accept=arguments.auto_accept,
        v2=arguments.v2,
    )
    with server:
        server.subscribe(happened.put)
        print(_greeting(load_contact(arguments.directory), arguments), flush=True)
        while (event := happened.get()) is not None:
            print(_event_json(event) if arguments.json else _event_text(event), flush=True)


def _greeting(contact: Contact, arguments: argparse.Namespace) -> str:
    told = {
        "ServerURL": contact.url,
        "ServerCertificate": contact.certificate,
        "storage": contact.storage_url,
        "directory": str(arguments.directory.resolve()),
    }
    if arguments.json:
        return json.dumps(told)
    return (
        table([(name, value) for name, value in told.items() if value])
        + f"\n{_how_to_watch(arguments)}\nstop with Ctrl-C\n"
    )


def _how_to_watch(arguments: argparse.Namespace) -> str:
    directory = (
        "" if arguments.directory == DEFAULT_DIRECTORY else f" --directory {shlex.quote(str(arguments.directory))}"
    )
    return f"'mender-devserver page{directory}' gives the address of its page for a browser"


def _event_json(event: Event) -> str:
    return json.dumps({"number": event.number, "time": event.time.isoformat(), "name": event.name, **event.data})


def _event_text(event: Event) -> str:
    said = [f"{name}={_short(value)}" for name, value in event.data.items() if value not in ("", None)]
    return f"{event.time:%H:%M:%S}  {event.name:20}  {'  '.join(said)}"


def _short(value: object) -> str:
    if isinstance(value, str):
        return value[:SHORT_ID] if len(value) == 36 and value.count("-") == 4 else value
    return json.dumps(value, separators=(",", ":"))


# the commands: each returns a JSON value and the text for people


def _page(contact: Contact, _: argparse.Namespace) -> tuple[object, str]:
    contact.call("GET", "/settings")  # a link to a server that has died helps nobody
    return {"page": contact.page_url}, contact.page_url


def _devices(contact: Contact, _: argparse.Namespace) -> tuple[object, str]:
    devices = contact.call("GET", "/devices")
    rows = [(one["device_id"][:SHORT_ID], one["status"], _pairs(one["identity"])) for one in devices]
    return devices, table([("DEVICE", "STATUS", "IDENTITY"), *rows]) if rows else "no device has asked yet"


def _accept(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    chosen = arguments.devices
    if arguments.all:
        pending = [one for one in contact.call("GET", "/devices") if _is_waiting(one)]
        chosen = [one["device_id"] for one in pending]
    accepted = [contact.call("POST", f"/devices/{quote(one)}/accept") for one in chosen]
    lines = [f"accepted {one['device_id'][:SHORT_ID]}  {_pairs(one['identity'])}" for one in accepted]
    return accepted, "\n".join(lines) or "no device is pending"


def _is_waiting(device: Mapping[str, Any]) -> bool:
    return any(one["status"] == "pending" for one in device["auth_sets"])


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


def _deployments(contact: Contact, _: argparse.Namespace) -> tuple[object, str]:
    deployments = contact.call("GET", "/deployments")
    head = ("DEPLOYMENT", "ARTIFACT", "STATUS", "DEVICES")
    rows = [
        (one["deployment_id"][:SHORT_ID], one["artifact_name"], one["status"], str(len(one["devices"])))
        for one in deployments
    ]
    return deployments, table([head, *rows]) if rows else "there is no deployment"


def _status(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    deployment = contact.call("GET", f"/deployments/{_deployment_id(contact, arguments)}")
    head = ("DEVICE", "STATUS", "REPORTED", "LOG")
    rows = [
        (one["device_id"][:SHORT_ID], one["status"], " ".join(one["received"]), "yes" if one["has_log"] else "")
        for one in deployment["devices"]
    ]
    title = f"{deployment['deployment_id']}  {deployment['artifact_name']}  {deployment['status']}"
    return deployment, f"{title}\n{table([head, *rows])}"


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


def _fault(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    if arguments.action == "clear":
        return contact.call("DELETE", "/faults"), "no fault is left"
    if arguments.action == "list":
        faults = contact.call("GET", "/faults")
        return faults, "\n".join(_pairs(one) for one in faults) or "no fault is left"
    fault = contact.call("POST", "/faults", _fault_fields(arguments))
    return fault, f"added {_pairs(fault)}"


def _fault_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    not_fields = ("command", "action", "directory", "json", "for_ever", "header")
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


COMMANDS: Mapping[str, Callable[[Contact, argparse.Namespace], tuple[object, str]]] = {
    "page": _page,
    "devices": _devices,
    "accept": _accept,
    "reject": _on_device("reject", "rejected"),
    "preauthorize": _preauthorize,
    "decommission": _on_device("decommission", "decommissioned"),
    "inventory": _inventory,
    "upload": _upload,
    "artifacts": _artifacts,
    "deploy": _deploy,
    "deployments": _deployments,
    "status": _status,
    "log": _log,
    "abort": _abort,
    "fault": _fault,
    "settings": _settings,
}


# text


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, each column as wide as its longest cell."""
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


if __name__ == "__main__":
    sys.exit(main())
