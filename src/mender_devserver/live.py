"""The feed of the page: server-sent events, of which the first has all that the page shows, the others the changes.

Several times a second, the state is compared with what was sent last. Thus no other code has to notify the page, a page
that reconnects is up to date after the first message, and simultaneous changes are sent in one message.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from mender_devserver.pageview import Snapshot, View, event_line, snapshot
from mender_devserver.state import ServerState

TICK_SECONDS = 0.2
"""The interval at which the state is compared, and thus the maximum delay of the page."""
KEEPALIVE_SECONDS = 10.0
"""A comment is sent after this silence, so that a broken connection is noticed."""
OLDEST_EVENTS = 200
"""The number of past events that a new page receives."""
BUSY_SHARE = 0.1
"""The maximum share of the server's time used by one page: if comparing takes longer, it is done less often."""


class LiveFeed:
    """Sends the feed.

    Args:
        state: the server's state.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def send(self, raw: web.BaseRequest, view: View) -> web.StreamResponse:
        """Answer a request with the feed, until the client closes the connection.

        Args:
            raw: the request.
            view: the parts of long lists that the page shows; for another view, the page sends a new request.
        """
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(raw)
        sent: Snapshot = {}
        last_event, silent_seconds = 0, 0.0
        while raw.transport is not None and not raw.transport.is_closing():
            start = time.monotonic()
            with self._state.lock:
                current = snapshot(self._state, view)
                events = self._state.activity.events(last_event)[-OLDEST_EVENTS:]
                lines = [event_line(self._state, one) for one in events]
            change: dict[str, Any] = {"changed": difference(sent, current), "events": lines}
            pause_seconds = max(TICK_SECONDS, (time.monotonic() - start) / BUSY_SHARE)
            silent_seconds += pause_seconds
            if change["changed"] or events:
                await response.write(b"data: " + json.dumps({"first": not sent, **change}).encode() + b"\n\n")
                silent_seconds = 0.0
            elif silent_seconds >= KEEPALIVE_SECONDS:
                await response.write(b": keepalive\n\n")
                silent_seconds = 0.0
            sent, last_event = current, events[-1].number if events else last_event
            await asyncio.sleep(pause_seconds)
        return response


def difference(old: Snapshot, new: Snapshot) -> Snapshot:
    """The differences from ``old`` to ``new``; removed objects are null."""
    changed: Snapshot = {}
    for part, things in new.items():
        known = old.get(part, {})
        told = {key: value for key, value in things.items() if key not in known or known[key] != value}
        told.update({key: None for key in known if key not in things})
        if told:
            changed[part] = told
    return changed
