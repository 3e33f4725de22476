"""A browser for all tests, a page that watches itself for each test, and virtual devices to play with."""

from __future__ import annotations

import io
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from mender_client import Deployment
from mender_client.core.artifact import Compression, PayloadSource, rootfs_image, write_artifact
from mender_devserver import DevServer
from ports import restartable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1280, 800), "phone": (360, 740)}
TIMEOUT_MILLISECONDS = 180_000
PICTURES = os.environ.get("PICTURES", "")
"""A directory for pictures of the page; ``make screenshots`` names one."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs the program chromium")
    api.expect.set_options(timeout=TIMEOUT_MILLISECONDS)  # the default of a context isn't that of expect()
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server in plain HTTP, which a browser trusts on this machine."""
    with restartable(tmp_path / "server", tls=False) as running:
        yield running


class Watch:
    """What a page did besides what it should do.

    Args:
        page: the page, from its beginning.
        server: the only one it may ask.
    """

    def __init__(self, page: Page, server: DevServer) -> None:
        self._own = urlsplit(server.url).netloc
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._check(request.url))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _check(self, url: str) -> None:
        if urlsplit(url).netloc != self._own:
            self.strangers.append(url)


@contextmanager
def watching(
    browser: Browser, server: DevServer, *, size: str = "desktop", scheme: str = "light", complaints: int = 0
) -> Iterator[Page]:
    """The page in a new window; at the end nobody else was asked, and the browser has complained so often."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
    )
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    page = context.new_page()
    watch = Watch(page, server)
    try:
        page.goto(server.page_url)
        yield page
        assert complaints == len(watch.complaints), watch.complaints
        assert [] == watch.strangers
    finally:
        context.close()


def write_release(directory: Path, name: str, *, image_bytes: int = 400_000) -> Path:
    """An Artifact for the device type ``board-x``."""
    image = bytes(image_bytes)
    path = directory / f"{name}.mender"
    with path.open("wb") as file:
        source = PayloadSource("rootfs.img", image_bytes, lambda: io.BytesIO(image))
        write_artifact(file, rootfs_image(name, ["board-x"], compression=Compression.NONE), [source])
    return path


def install(artifact: Path, deployment: Deployment) -> bool:
    """Install everything but the release that has a bad day."""
    if deployment.artifact_name == "release-3":
        raise RuntimeError("the health check failed: app.service does not start; rolled back to release-2")
    return True


@pytest.fixture(autouse=True)
def _talkative(caplog: pytest.LogCaptureFixture) -> None:
    """A failed device's log has more than the last line."""
    caplog.set_level(logging.INFO, logger="mender_client")
