"""The feed of the page: the server's state as server-sent events, whole at first and then what has changed.

The state is looked at a few times a second and compared with what was sent last. So nothing in the server has to
remember to tell the page, a page that comes back after a break is right again with its first message, and a hundred
changes at once are one message.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from mender_devserver import artifacts, faults
from mender_devserver.settings import read_settings
from mender_devserver.state import World
from mender_devserver.views import deployment_json, device_json, event_json

TICK_SECONDS = 0.2
"""How often the state is looked at, and so how late the page may be."""
SIGN_OF_LIFE_SECONDS = 10.0
"""A feed that has nothing to say speaks all the same, so that a broken connection is noticed."""
OLDEST_EVENTS = 200
"""How many events of the past a new page is told."""

State = dict[str, dict[str, Any]]
"""The parts of the server, and in each the things by their keys."""


class Live:
    """Sends the feed.

    Args:
        world: the server's state.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    async def send(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request with the feed, for as long as somebody listens."""
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(raw)
        sent: State = {}
        last_event, silent_seconds = 0, 0.0
        while raw.transport is not None and not raw.transport.is_closing():
            with self._world.lock:
                state = look(self._world)
                events = self._world.record.events(last_event)[-OLDEST_EVENTS:]
            change: dict[str, Any] = {"changed": difference(sent, state), "events": [event_json(one) for one in events]}
            silent_seconds += TICK_SECONDS
            if change["changed"] or events:
                await response.write(b"data: " + json.dumps({"first": not sent, **change}).encode() + b"\n\n")
                silent_seconds = 0.0
            elif silent_seconds >= SIGN_OF_LIFE_SECONDS:
                await response.write(b": still here\n\n")
                silent_seconds = 0.0
            sent, last_event = state, events[-1].number if events else last_event
            await asyncio.sleep(TICK_SECONDS)
        return response


def look(world: World) -> State:
    """The state as it stands; the caller holds the lock."""
    return {
        "devices": {one.id: {**device_json(one), "inventory": one.inventory} for one in world.devices},
        "artifacts": {one.id: artifacts.as_json(one) for one in world.artifacts},
        "deployments": {one.id: deployment_json(one) for one in world.deployments},
        "faults": {"list": [faults.as_json(one) for one in world.faults.listed()]},
        "settings": read_settings(world),
    }


def difference(old: State, new: State) -> State:
    """What has to be told to somebody who knows ``old``; a thing that is gone is told as null."""
    changed: State = {}
    for part, things in new.items():
        known = old.get(part, {})
        told = {key: value for key, value in things.items() if key not in known or known[key] != value}
        told.update({key: None for key in known if key not in things})
        if told:
            changed[part] = told
    return changed
