"""The page as people use it: with a mouse, a keyboard, a screen reader, on a desktop and on a phone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devserver.caller import DEPLOYMENTS, Gadget, calling, new_key, public_pem
from mender_devserver import DevServer, Fault
from mender_devserver.testing import VirtualDevice
from page.conftest import PICTURES, SIZES, install, watching, write_release

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


def button(page: Page | Locator, name: str) -> Locator:
    """A button by its accessible name."""
    return page.get_by_role("button", name=name, exact=True)


def card(page: Page, part: str, text: str) -> Locator:
    """The only matching element in a part of the page."""
    return page.locator(f"#{part} li.card").filter(has_text=text)


def assert_in_one_line(one: Locator) -> None:
    """A button isn't so narrow that its text wraps."""
    line, height = one.evaluate("node => [parseFloat(getComputedStyle(node).lineHeight), node.clientHeight]")
    assert height < 2 * line


def check(page: Page, scheme: str) -> None:
    """No accessibility violation of any severity, and no horizontal scrolling, in either colour scheme."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect

    every_rule = {"resultTypes": ["violations"]}
    only_colours = {**every_rule, "runOnly": {"type": "rule", "values": ["color-contrast"]}}  # dark has other colours
    for one, options in (("light", every_rule), ("dark", only_colours)):
        page.emulate_media(color_scheme="dark" if one == "dark" else "light", reduced_motion="reduce")
        found = Axe().run(page, options=options).response["violations"]
        assert [] == [(one, fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found]
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator("#connection")).to_have_text("live")


def picture(page: Page, name: str) -> None:
    """Save a screenshot for the documents, if requested."""
    if PICTURES:
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=f"{PICTURES}/{name}.png")


@pytest.mark.parametrize(
    ("size", "scheme"), [("desktop", "light"), pytest.param("phone", "dark", marks=pytest.mark.nightly)]
)
def test_whole_round(browser: Browser, server: DevServer, tmp_path: Path, size: str, scheme: str) -> None:
    """Accept a device, upload, deploy, watch the success, read the log of a failure: all on the page, live."""
    from playwright.sync_api import expect

    identity = {"mac": "02:00:5e:00:53:01"}
    attributes = {"kernel": "6.1.0", "ipv4_eth0": "192.0.2.7/24", "mem_total_kB": "512000"}
    device = VirtualDevice(
        server.url, tmp_path / "one", identity=identity, device_type="board-x", inventory=attributes, install=install
    )
    with watching(browser, server, size=size, scheme=scheme) as page, device.start():
        accept = button(page, "Accept mac=02:00:5e:00:53:01")
        accept.click()
        expect(accept).to_be_hidden()
        device.poll_now()
        button(page, "Inventory mac=02:00:5e:00:53:01").click()
        expect(page.get_by_role("cell", name="192.0.2.7/24")).to_be_visible()
        check(page, scheme)
        page.keyboard.press("Escape")

        for name in ("release-2", "release-3"):
            page.get_by_label("Choose Artifacts").set_input_files(write_release(tmp_path, name))
            expect(card(page, "artifacts", name)).to_contain_text("for board-x")

        server.add_fault(Fault(kind="artifact", bytes_per_second=200_000))
        button(page, "New deployment").click()
        page.get_by_role("combobox", name="Artifact").select_option("release-2")
        page.get_by_label("these devices").check()
        page.get_by_label("mac=02:00:5e:00:53:01", exact=True).check()
        check(page, scheme)
        button(page, "Deploy").click()
        server.wait_until(lambda: len(server.deployments()) == 1)
        device.poll_now()
        bar = page.get_by_role("progressbar", name="Download of mac=02:00:5e:00:53:01")
        expect(bar).to_be_visible()
        page.wait_for_function("node => node.value > 0.3 && node.value < 1", arg=bar.element_handle())
        picture(page, f"download-{size}-{scheme}")
        expect(card(page, "deployments", "release-2")).to_contain_text("success")
        expect(card(page, "devices", "mac=02:00:5e:00:53:01")).to_contain_text("runs release-2")

        server.clear_faults()
        button(page, "Deploy release-3").click()
        button(page, "Deploy").click()
        server.wait_until(lambda: len(server.deployments()) == 2)
        device.poll_now()
        log = button(page, "Log of mac=02:00:5e:00:53:01, release-3")
        expect(log).to_be_visible()
        log.click()
        expect(page.get_by_role("dialog")).to_contain_text("the health check failed: app.service does not start")
        check(page, scheme)
        picture(page, f"log-{size}-{scheme}")
        button(page, "Close").click()
        expect(log).to_be_focused()
        check(page, scheme)


def test_keyboard_keeps_its_place(browser: Browser, server: DevServer, tmp_path: Path) -> None:
    """Everything can be done with the keyboard; the focus is kept when the page is updated."""
    from playwright.sync_api import expect

    device = VirtualDevice(server.url, tmp_path / "one", device_type="board-x")
    with watching(browser, server) as page, device.start():
        page.on("filechooser", lambda _: None)  # the browser needs a moment to ask us instead of opening one
        accept = button(page, "Accept name=one")
        accept.focus()
        page.keyboard.press("Enter")
        expect(button(page, "Inventory name=one")).to_be_focused()
        expect(page.locator("#said")).to_contain_text("name=one was accepted")
        device.poll_now()
        expect(card(page, "devices", "name=one")).to_contain_text("runs release-1")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name="Inventory of name=one")).to_be_visible()
        page.keyboard.press("Escape")
        expect(button(page, "Inventory name=one")).to_be_focused()

        button(page, "Forget name=one").focus()
        page.keyboard.press("Enter")
        expect(button(page, "Cancel")).to_be_focused()
        check(page, "light")
        page.keyboard.press("Enter")
        expect(button(page, "Forget name=one")).to_be_focused()
        assert 1 == len(server.devices())
        choose = page.get_by_label("Choose Artifacts")
        choose.focus()
        expect(choose).to_be_focused()
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Space")
        chooser.value.set_files(write_release(tmp_path, "release-2"))
        expect(card(page, "artifacts", "release-2")).to_be_visible()


@pytest.mark.nightly
def test_new_key_is_accepted(browser: Browser, server: DevServer) -> None:
    """The page shows that an accepted device uses a new key, and the new key can be accepted."""
    from playwright.sync_api import expect

    with calling() as caller, watching(browser, server) as page:
        Gadget(caller, server.url).authorize()
        button(page, "Accept mac=02:00:00:00:00:01").click()
        expect(page.locator("#devices .badge")).to_have_text("accepted")
        expect(page.locator("#devices .card .meta")).to_be_empty()
        Gadget(caller, server.url).authorize()
        expect(page.locator("#devices .card .meta")).to_have_text("requests authorisation with a new key")
        button(page, "Accept mac=02:00:00:00:00:01").click()
        expect(button(page, "Accept mac=02:00:00:00:00:01")).to_be_hidden()
        assert ["rejected", "accepted"] == [one.status for one in server.devices()[0].auth_sets]


@pytest.mark.nightly
def test_accept_all_replaces_no_key(browser: Browser, server: DevServer) -> None:
    """Accept all accepts new devices; a device that uses another key than its accepted one is left out."""
    from playwright.sync_api import expect

    with calling() as caller, watching(browser, server) as page:
        Gadget(caller, server.url).authorize()
        server.accept(server.devices()[0].id)
        Gadget(caller, server.url).authorize()
        for name in ("one", "two"):
            Gadget(caller, server.url, identity={"name": name}).authorize()
        button(page, "Accept all pending").click()
        expect(button(page, "Accept all pending")).to_be_hidden()
        server.wait_until(lambda: [one.status for one in server.devices()] == ["accepted"] * 3)
        assert ["accepted", "pending"] == [one.status for one in server.devices()[0].auth_sets]


@pytest.mark.nightly
def test_failures_come_first(browser: Browser, server: DevServer, tmp_path: Path) -> None:
    """In a deployment to many devices the failed ones come first; the focus moves along with its button."""
    from playwright.sync_api import expect

    server.auto_accept = True
    server.upload(write_release(tmp_path, "release-2"))
    log = {"messages": [{"level": "error", "message": "no", "timestamp": "2026-01-01T00:00:00Z"}]}
    with calling() as caller, watching(browser, server) as page:
        gadgets = [Gadget(caller, server.url, identity={"name": name}) for name in ("one", "two", "three")]
        for gadget in gadgets:
            gadget.authorize()
        deployment_id = server.deploy("release-2")
        expect(card(page, "deployments", "release-2")).to_contain_text("3 devices: 3 not polled yet")
        for gadget in gadgets:
            gadget.poll(device_type="board-x")
            gadget.call("PUT", f"{DEPLOYMENTS}/{deployment_id}/log", log)
        rows = page.locator("#deployments .who")
        expect(rows).to_have_text(["name=one", "name=two", "name=three"])
        button(page, "Log of name=three, release-2").focus()
        gadgets[2].report(deployment_id, "failure")
        expect(rows).to_have_text(["name=three", "name=one", "name=two"])
        expect(button(page, "Log of name=three, release-2")).to_be_focused()
        gadgets[1].report(deployment_id, "failure")
        expect(rows).to_have_text(["name=two", "name=three", "name=one"])
        expect(card(page, "deployments", "release-2")).to_contain_text("1 pending, 2 failure")


def test_faults_and_settings(browser: Browser, server: DevServer, tmp_path: Path) -> None:
    """Faults are added and cleared on the page, settings are changed, and a refusal is displayed."""
    from playwright.sync_api import expect

    with watching(browser, server, size="phone", complaints=1) as page:  # the browser logs the refused upload
        page.get_by_label("Preset").select_option("too many requests")
        page.get_by_label("How often").fill("")
        button(page, "Add fault").click()
        expect(page.locator("#faults li")).to_have_text('kind=any times=always status=429 headers={"Retry-After":"5"}')
        assert [Fault(times=None, status=429, headers={"Retry-After": "5"})] == server.faults()
        page.get_by_text("Details").click()
        check(page, "light")
        button(page, "Remove all").click()
        expect(page.locator("#faults li")).to_have_count(0)

        page.get_by_label("accept every new device at once").check()
        page.get_by_label("Requests per device").fill("5/20")
        button(page, "Save settings").click()
        server.wait_until(lambda: server.auto_accept and server.rate_limit is not None)
        server.token_seconds = 77
        expect(page.get_by_label("Token lifetime, seconds")).to_have_value("77")

        page.locator("body").evaluate(
            """body => {
                const given = new DataTransfer();
                given.items.add(new File(["no Artifact"], "broken.mender"));
                body.dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
            }"""
        )
        expect(page.get_by_role("alert").filter(has_text="cannot upload broken.mender")).to_be_visible()
        assert_in_one_line(button(page, "Close"))
        button(page, "Close").click()
        assert [] == server.artifacts()


def test_hostile_device_is_text(browser: Browser, server: DevServer, tmp_path: Path) -> None:
    """Data from a device is displayed as text, whatever it looks like."""
    from playwright.sync_api import expect

    server.auto_accept = True
    device = VirtualDevice(
        server.url,
        tmp_path / "one",
        identity={HOSTILE: HOSTILE},
        device_type=HOSTILE,
        artifact_name=HOSTILE,
        inventory={HOSTILE: HOSTILE},
    )
    with watching(browser, server, size="phone") as page, device.start():
        expect(card(page, "devices", f"{HOSTILE}={HOSTILE}")).to_contain_text(f"runs {HOSTILE}")
        page.get_by_role("button", name=re.compile("^Inventory")).click()
        expect(page.get_by_role("cell", name=HOSTILE, exact=True).first).to_be_visible()
        assert "Mender dev server" == page.title()
        assert 0 == page.locator("main img, dialog img").count()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_token_is_asked_for(browser: Browser, server: DevServer) -> None:
    """Without its token the page asks for it; a wrong one is refused, the URL that the command prints is accepted."""
    from playwright.sync_api import expect

    width, height = SIZES["phone"]
    page = browser.new_page(viewport={"width": width, "height": height})
    try:
        page.goto(server.url)
        field = page.get_by_label("Address or token")
        field.fill("wrong")
        button(page, "Open").click()
        expect(page.get_by_role("alert").filter(has_text="The token is missing or wrong")).to_be_visible()
        field.fill(server.page_url)
        button(page, "Open").click()
        expect(page.locator("#connection")).to_have_text("live")
        check(page, "light")
        page.reload()
        expect(page.locator("#connection")).to_have_text("live")
        assert f"{server.url}/" == page.url

        server.stop()
        expect(page.locator("#connection")).to_have_text("no connection, trying again")
        server.start()
        expect(page.locator("#connection")).to_have_text("live")
    finally:
        page.close()


@pytest.mark.parametrize("size", [pytest.param("phone", marks=pytest.mark.nightly), "desktop"])
def test_thousand_devices(browser: Browser, server: DevServer, tmp_path: Path, size: str) -> None:
    """With a thousand devices the page shows fifty at a time, counts all, and finds one; a deployment likewise."""
    from playwright.sync_api import expect

    key = public_pem(new_key("ed25519"))
    ids = [server.preauthorize({"serial": f"SN-{number:04}"}, key).id for number in range(1000)]
    for device_id in ids[:990]:
        server.accept(device_id)
    server.upload(write_release(tmp_path, "release-2"))
    cards, place = page_parts("#devices")
    with watching(browser, server, size=size) as page:
        expect(page.locator(cards)).to_have_count(50)
        expect(page.locator(place)).to_have_text("1 to 50 of 1000")
        button(page, "Next devices").click()
        expect(page.locator(place)).to_have_text("51 to 100 of 1000")
        expect(page.locator(cards).first).to_contain_text("serial=SN-0050")
        if size == "phone":  # axe is slow
            check(page, "light")

        button(page, "preauthorized 10").click()
        expect(page.locator(cards)).to_have_count(10)
        expect(button(page, "preauthorized 10")).to_have_attribute("aria-pressed", "true")
        button(page, "Accept serial=SN-0999").click()
        expect(page.locator(cards)).to_have_count(9)
        button(page, "all 1000").click()
        search = page.get_by_label("Search devices", exact=True)
        search.fill("sn-0777")
        expect(page.locator(cards)).to_have_text([re.compile("serial=SN-0777")])
        search.fill("nobody")
        expect(page.get_by_text("No device matches.")).to_be_visible()
        search.fill("")
        expect(page.locator(cards)).to_have_count(50)

        button(page, "New deployment").click()
        page.get_by_label("these devices").check()
        expect(page.get_by_text("These are the first 50; search for others.")).to_be_visible()
        page.get_by_label("serial=SN-0003", exact=True).check()
        page.get_by_label("Search devices to choose").fill("SN-0888")
        page.get_by_label("serial=SN-0888", exact=True).check()
        if size == "phone":
            check(page, "light")
        button(page, "Deploy").click()
        expect(card(page, "deployments", "release-2")).to_contain_text("2 devices")
        assert {ids[3], ids[888]} == set(server.deployments()[0].device_ids)


def page_parts(part: str) -> tuple[str, str]:
    """The selectors of the cards in a part of the page, and of the text that says which of them are shown."""
    return f"{part} li.card", f"{part} [data-slot=place]"
