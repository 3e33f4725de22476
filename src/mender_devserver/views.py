"""Objects as JSON values of the management API."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from mender_devserver.activity import Event
from mender_devserver.deployments import Deployment, DeviceDeployment
from mender_devserver.devices import KnownDevice


def stamp(time: datetime) -> str:
    """Format a time as the real server does."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def device_json(device: KnownDevice) -> dict[str, Any]:
    """A device as JSON values."""
    return {
        "device_id": device.id,
        "status": device.status,
        "identity": device.identity,
        "created": device.created.isoformat(),
        "connected": device.is_connected,
        "last_seen": device.last_seen.isoformat() if device.last_seen else None,
        "auth_sets": [
            {"auth_set_id": one.id, "status": one.status, "public_key": one.public_key} for one in device.auth_sets
        ],
    }


def deployment_json(deployment: Deployment) -> dict[str, Any]:
    """A deployment as JSON values, with its status on each device that has polled."""
    return {
        "deployment_id": deployment.id,
        "artifact_name": deployment.artifact_name,
        "status": deployment.status,
        "created": deployment.created.isoformat(),
        "force": deployment.force,
        "device_count": len(deployment.devices),
        "max_devices": len(deployment.device_ids),
        "devices": [on_device_json(*one) for one in deployment.devices.items()],
    }


def on_device_json(device_id: str, known: DeviceDeployment) -> dict[str, Any]:
    """A deployment on one device as JSON values."""
    return {
        "device_id": device_id,
        "status": known.status,
        "received": list(known.received),
        "has_log": bool(known.packed_log),
        "size_bytes": known.size_bytes,
        "downloaded_bytes": known.downloaded_bytes,
        "sent_bytes": known.sent_bytes,
        "requests": known.requests,
    }


def event_json(event: Event) -> dict[str, Any]:
    """An event as JSON values."""
    return {**asdict(event), "time": event.time.isoformat()}
