"""Operations on the page with a connected device: a terminal, files, the configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from connect.conftest import start
from devserver.caller import Gadget, calling
from mender_devserver import DevServer
from page.conftest import watching
from page.test_page import button, check, picture
from program.stage import MAC, Device

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

VENDOR = "/vendor/"
BOTH = pytest.mark.parametrize(
    ("size", "scheme"), [("desktop", "light"), pytest.param("phone", "dark", marks=pytest.mark.nightly)]
)


@pytest.fixture
def device(server: DevServer, tmp_path: Path) -> Iterator[Device]:
    """A device that is connected."""
    if os.geteuid() != 0:
        pytest.skip("the user of the shells is root")
    made = Device(tmp_path / "device", server)
    try:
        start(made, Sessions={"MaxPerUser": 2})
        server.wait_until(lambda: server.devices()[0].is_connected, timeout_seconds=180)
        yield made
    finally:
        made.close()


def opened(page: Page, what: str) -> Locator:
    """The dialog that a button of the device opens."""
    page.get_by_role("button", name=f"{what} mac=").click()
    return page.get_by_role("dialog")


def screen(window: Locator) -> Locator:
    """The text in the terminal."""
    return window.locator(".xterm-rows")


@BOTH
def test_terminal(browser: Browser, server: DevServer, device: Device, size: str, scheme: str) -> None:
    """A terminal is loaded when it is opened, fits its dialog, has colours, and ends with its dialog."""
    from playwright.sync_api import expect

    asked: list[str] = []
    with watching(browser, server, size=size, scheme=scheme) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        expect(button(page, f"Terminal mac={MAC}")).to_be_visible()
        assert [] == [one for one in asked if VENDOR in one]
        window = opened(page, "Terminal")
        expect(window.get_by_role("status")).to_have_text("connected; Ctrl-] leaves")
        assert {"xterm.mjs", "xterm.css", "addon-fit.mjs"} == {one.rpartition("/")[2] for one in asked if VENDOR in one}
        page.keyboard.type(
            "echo $((6 * 7))o$((1 + 1)); stty size; printf '\\033[31mr%sd\\033[38;2;1;200;3mgr%sn\\033[0m\\n' e ee"
        )
        page.keyboard.press("Enter")
        expect(screen(window)).to_contain_text("42o2")
        expect(screen(window)).to_contain_text("redgreen")
        red, green = (screen(window).locator("span", has_text=text).last for text in ("red", "green"))
        expect(red).to_have_css("color", "rgb(204, 0, 0)")
        expect(green).to_have_css("color", "rgb(1, 200, 3)")
        assert window.locator(".xterm-screen").evaluate(
            "node => node.clientHeight > 100 && node.clientWidth <= node.closest('.screen').clientWidth"
        )
        check(page, scheme)
        picture(page, f"terminal-{size}-{scheme}")

        window.locator("textarea").focus()
        page.keyboard.type("sh -c \"echo be''gun; exec cat\"")  # printed once it has the terminal
        page.keyboard.press("Enter")
        expect(screen(window)).to_contain_text("begun")
        page.keyboard.press("Escape")
        page.keyboard.press("Tab")
        expect(screen(window)).to_contain_text("^[")
        page.keyboard.press("Control+c")
        page.keyboard.type("exit")
        page.keyboard.press("Enter")
        expect(window.get_by_role("status")).to_have_text("ended: the shell has ended")
        button(page, "Close").click()
        expect(button(page, f"Terminal mac={MAC}")).to_be_focused()

        opened(page, "Terminal")
        expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("connected; Ctrl-] leaves")
        page.keyboard.press("Control+]")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_long_paste(browser: Browser, server: DevServer, device: Device) -> None:
    """Pasted text arrives completely, although the server queues only a few messages for a device."""
    from playwright.sync_api import expect

    with watching(browser, server) as page:
        window = opened(page, "Terminal")
        expect(window.get_by_role("status")).to_have_text("connected; Ctrl-] leaves")
        page.keyboard.type("stty -echo; cksum")
        page.keyboard.press("Enter")
        line = "x" * 99
        window.locator("textarea").evaluate(
            """(node, text) => {
                const given = new DataTransfer();
                given.setData("text/plain", text);
                node.dispatchEvent(new ClipboardEvent("paste", { clipboardData: given, bubbles: true }));
            }""",
            f"{line}\n" * 3000,
        )
        page.keyboard.press("Control+d")
        expect(screen(window)).to_contain_text(" 300000")


@BOTH
def test_files(browser: Browser, server: DevServer, device: Device, tmp_path: Path, size: str, scheme: str) -> None:
    """A file is uploaded to the device and downloaded again, and a refusal is displayed in the dialog."""
    from playwright.sync_api import expect

    content = os.urandom(700_000)
    (tmp_path / "local").write_bytes(content)
    (tmp_path / "there").mkdir()
    with watching(browser, server, size=size, scheme=scheme, complaints=1) as page:  # the browser logs the refusal
        window = opened(page, "Files")
        check(page, scheme)
        window.get_by_label("File to upload").set_input_files(tmp_path / "local")
        window.get_by_label("File or directory on the device").fill(str(tmp_path / "there"))
        button(page, "Upload").click()
        expect(window.get_by_role("status")).to_have_text("local: 683.6 KiB uploaded")
        assert content == (tmp_path / "there/local").read_bytes()

        window.get_by_label("File on the device").fill(str(tmp_path / "there/local"))
        with page.expect_download() as download:
            button(page, "Download").click()
        assert "local" == download.value.suggested_filename
        assert content == Path(download.value.path()).read_bytes()
        expect(window.get_by_role("status")).to_contain_text("683.6 KiB downloaded")

        window.get_by_label("File on the device").fill("/no/where")
        button(page, "Download").click()
        expect(window.get_by_role("alert")).to_contain_text("no such file or directory")
        check(page, scheme)
        picture(page, f"files-{size}-{scheme}")


@BOTH
def test_configuration(browser: Browser, server: DevServer, size: str, scheme: str) -> None:
    """A configuration is edited, saved, deployed, and compared with the one that the device reports, live."""
    from playwright.sync_api import expect

    server.auto_accept = True
    with calling() as caller, watching(browser, server, size=size, scheme=scheme) as page:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        window = opened(page, "Configuration")
        expect(window.get_by_role("status")).to_have_text("nothing reported yet")
        window.get_by_label("Key").fill("zone")
        window.get_by_label("Value").fill("UTC")
        button(page, "Add a key").click()
        page.keyboard.type("<b>name</b>")
        page.keyboard.press("Tab")
        page.keyboard.type("x=y")
        button(page, "Save").click()
        wanted = {"zone": "UTC", "<b>name</b>": "x=y"}
        server.wait_until(lambda: server.devices()[0].configured == wanted)
        assert [] == server.deployments()
        button(page, "Save and deploy").click()
        server.wait_until(lambda: [one.configuration for one in server.deployments()] == [wanted])

        gadget.call("PUT", "/api/devices/v1/deviceconfig/configuration", {"zone": "CET"})
        expect(window.get_by_role("status")).to_have_text("differs from what is reported")
        expect(window.get_by_role("row", name="zone")).to_contain_text("CET")
        expect(window.get_by_role("row", name="<b>name</b>")).to_contain_text("not reported")
        check(page, scheme)
        picture(page, f"configuration-{size}-{scheme}")
        gadget.call("PUT", "/api/devices/v1/deviceconfig/configuration", wanted)
        expect(window.get_by_role("status")).to_have_text("equal to what is reported")

        window.get_by_role("button", name="Remove").first.click()
        window.get_by_label("Key").fill("")
        button(page, "Save").click()
        expect(window.get_by_role("alert")).to_have_text('cannot save a value without a key: "x=y"')
        page.keyboard.press("Escape")
        opened(page, "Configuration")
        expect(page.get_by_role("dialog").get_by_label("Key")).to_have_count(2)
