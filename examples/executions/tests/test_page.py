"""The pages, in headless Chromium against a server: light and dark, on a telephone, by keyboard, and without scripts."""

import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from examples.executions.seeds.groups import PASSWORD
from examples.executions.tests.servers import Server, serving

pytestmark = pytest.mark.slow

_CHROMIUM = shutil.which("chromium")
_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
expect.set_options(timeout=20_000)  # milliseconds: machines are slow at times
TEXT = "It is 5 km to the village, and the parcel weighs 3 kg."


@pytest.fixture(scope="module")
def server(seeded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with serving(Path(shutil.copy(seeded_file, folder))) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    if _CHROMIUM is None:
        missing = "Chromium is not installed: apt-get install chromium"
        (pytest.fail if os.environ.get("LAYERED_REQUIRE_SERVERS") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_OPTIONS)
        yield browser
        browser.close()


def opened(browser: Browser, server: Server, name: str = "north/ann", **options: Any) -> Page:
    """Log in, by keyboard alone, and return the page of the executions."""
    page = browser.new_context(base_url=server.url, **options).new_page()
    page.goto("/")
    expect(page.get_by_label("Group and name")).to_be_focused()
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The newest")).to_be_visible()
    return page


def test_a_wrong_password_is_told_at_the_form(browser: Browser, server: Server) -> None:
    page = browser.new_context(base_url=server.url).new_page()
    page.goto("/session")
    page.get_by_label("Group and name").fill("north/ann")
    page.get_by_label("Password").fill("a guess")
    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    expect(page.get_by_label("Group and name")).to_have_value("north/ann")
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_label("Password")).to_have_attribute("aria-describedby", "error")


def test_an_execution_is_started_and_watched_by_keyboard(browser: Browser, server: Server) -> None:
    page = opened(browser, server)
    page.get_by_label("Crew or flow").focus()
    page.keyboard.type("Travel")
    page.keyboard.press("Tab")
    page.keyboard.type(TEXT)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Start")).to_be_focused()
    page.keyboard.press("Enter")

    newest = page.get_by_role("listitem").first
    expect(newest).to_contain_text("Travel desk: km, village, parcel")
    expect(newest).to_contain_text("completed")
    expect(newest).to_contain_text("2 of 2 steps")
    newest.get_by_role("link", name="Results").click()
    expect(page.locator("body")).to_contain_text("It is 3.107 mi to the village")


def test_what_happens_elsewhere_comes_by_the_stream(browser: Browser, server: Server) -> None:
    page = opened(browser, server)
    count = page.get_by_role("listitem").count()

    server.start("crew", "Travel desk", "nothing to convert")

    expect(page.get_by_role("listitem")).to_have_count(count + 1)
    newest = page.get_by_role("listitem").first
    expect(newest).to_contain_text("failed")
    expect(newest).to_contain_text("convert: there is no length or weight to convert")


def test_what_is_wrong_is_told_at_its_field_and_nothing_entered_is_lost(browser: Browser, server: Server) -> None:
    page = opened(browser, server)
    page.get_by_label("Crew or flow").select_option(index=1)
    chosen = page.get_by_label("Crew or flow").input_value()
    page.get_by_role("textbox", name="Text", exact=True).fill(TEXT)
    name = page.get_by_label("Name, made")
    name.evaluate("field => field.removeAttribute('pattern')")  # as a browser does that knows no patterns
    name.fill("bad/name")
    page.get_by_role("button", name="Start").click()

    expect(page.get_by_role("alert")).to_contain_text("Use letters and digits")
    expect(name).to_have_attribute("aria-describedby", "name-error")
    expect(name).to_have_value("bad/name")
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value(TEXT)
    expect(page.get_by_label("Crew or flow")).to_have_value(chosen)


def test_text_is_text_and_never_markup(browser: Browser, server: Server) -> None:
    page = opened(browser, server)
    server.start("crew", "Reading room", "<img src=x onerror=document.title='broken'> <script>alert(1)</script>")

    expect(page.get_by_role("listitem").first).to_contain_text("completed")
    page.reload()
    expect(page).to_have_title("Executions")
    assert page.locator("li img, li script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_and_can_be_read_in_both_schemes(browser: Browser, server: Server, scheme: Any) -> None:
    phone = {"width": 360, "height": 740}
    page = opened(browser, server, viewport=phone, color_scheme=scheme, is_mobile=True)

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for selector in ("body", "label", "button", ".card"):
        assert _contrast(page, selector) >= 4.5, selector  # WCAG 2.2, 1.4.3


def _contrast(page: Page, selector: str) -> float:
    script = """element => {
        const found = []
        for (let each = element; each; each = each.parentElement) found.push(getComputedStyle(each).backgroundColor)
        return [getComputedStyle(element).color, found.find(color => !color.endsWith(", 0)")) ?? "rgb(255, 255, 255)"]
    }"""
    colors = page.locator(selector).first.evaluate(script)
    lights = sorted(_luminance(color) for color in colors)
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(color: str) -> float:
    """Return the relative luminance of a CSS color (WCAG 2.2)."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_without_scripts_it_works_by_reloading(browser: Browser, server: Server) -> None:
    page = opened(browser, server, java_script_enabled=False)
    page.get_by_role("textbox", name="Text", exact=True).fill(TEXT)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("listitem").first).to_contain_text("Reading room: km, village, parcel")

    server.wait_until_idle()
    page.reload()
    expect(page.get_by_role("listitem").first).to_contain_text("completed")


def test_one_group_does_not_see_anothers_and_logging_out_ends_it(browser: Browser, server: Server) -> None:
    server.start("crew", "Travel desk", TEXT)
    page = opened(browser, server, "south/bob")
    expect(page.get_by_role("listitem")).to_have_count(0)

    page.get_by_role("button", name="Log out").click()
    page.goto("/")
    expect(page.get_by_label("Password")).to_be_visible()


def test_the_session_cannot_be_read_by_scripts(browser: Browser, server: Server) -> None:
    page = opened(browser, server)

    (cookie,) = page.context.cookies()
    assert (cookie.get("name"), cookie.get("httpOnly"), cookie.get("sameSite")) == ("session", True, "Strict")
    assert page.evaluate("document.cookie") == ""
