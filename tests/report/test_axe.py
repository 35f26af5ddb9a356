"""The pages in a real browser: accessible, quiet, and what their script does; by pointer and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from demo_run import build_demo_run, write

from tagevol_hf.report import write_report
from tagevol_hf.report.study import write_study_report

from .test_report import CHROMIUM, HOSTILE, cleaned_run, hostile_run
from .test_study_report import hostile_study

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

PWNED = ["<script>window.pwned = 1</script>", '"><img src="x" onerror="window.pwned = 1">', "</script><b>x</b>"]
LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 390)]


@dataclass
class Seen:
    """A page that is open, and all that went wrong in it."""

    page: Any
    faults: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    demo = build_demo_run(folder / "demo")
    tags = [{"tag": f"tag {number}", "count": 2, "aspects": {"topic": 2}} for number in range(160)]
    write(demo / "tag_pool.json", {"tags": [*tags, {"tag": "Queueing theory", "count": 1, "aspects": {"topic": 1}}]})
    return {
        "demo": write_report(demo),
        "cleaned": write_report(cleaned_run(folder / "cleaned", "reject")),
        "hostile": write_report(hostile_run(folder / "hostile", [*PWNED, *HOSTILE])),
        "study": write_study_report(hostile_study(folder / "study", [*HOSTILE, *PWNED])),
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=60_000)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any, files: dict[str, Path]) -> Iterator[Any]:
    seen: list[Seen] = []

    def look(name: str, scheme: str = "light", width: int = 1280, **more: Any) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        page.set_default_timeout(15_000)
        seen.append(one := Seen(page))
        page.on("console", lambda message: one.faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda fault: one.faults.append(f"error: {fault}"))
        page.on("dialog", lambda dialog: one.faults.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: one.faults.extend(_foreign(request.url)))
        page.goto(files[name].as_uri())
        return page

    yield look
    for one in seen:
        pwned = one.page.evaluate("typeof window.pwned")
        one.page.close()
        assert one.faults == []
        assert pwned == "undefined"


def _foreign(address: str) -> list[str]:
    return [] if address.startswith(("file://", "data:,")) else [f"request: {address}"]


def violations(page: Any) -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {[node['target'] for node in one['nodes'][:5]]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.parametrize("name", ["demo", "cleaned", "hostile", "study"])
def test_a_page_is_accessible_and_fits(opened: Any, name: str, scheme: str, width: int) -> None:
    page = opened(name, scheme, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_search_filters_all_lists_and_says_how_many_are_left(opened: Any) -> None:
    page = opened("demo")
    status = page.locator("[data-find] .tools [role=status]")
    folded = page.get_by_text("Queueing theory")
    assert not folded.is_visible()
    search = page.get_by_label("Find a tag of the pool, an open tag or a label")
    search.press_sequentially("THEORY queue")
    assert folded.is_visible()
    assert status.inner_text() == "1 of 168 shown"
    search.fill("sorting")
    assert status.inner_text() == "4 of 168 shown"
    assert not page.locator("#tags [data-rows]").first.is_visible()
    search.fill("tag")
    assert status.inner_text() == "140 of 168 shown; 160 match"
    search.fill("nothing is like this")
    assert status.inner_text() == "0 of 168 shown"
    assert violations(page) == []
    search.press("Escape")
    assert (search.input_value(), status.inner_text(), folded.is_visible()) == ("", "", False)
    assert page.locator("#tags [data-rows] > li:visible").count() == 40


PLACE = "(dot) => [Number(dot.getAttribute('cx')), Number(dot.getAttribute('cy'))]"


def place(page: Any) -> list[float]:
    """Where the ring round the row that is told stands."""
    return page.locator("[data-map] .ring").evaluate(PLACE)


def test_pointing_at_a_row_tells_it(opened: Any) -> None:
    page = opened("demo")
    told = page.locator("[data-map] .told")
    assert "arrow keys" in told.inner_text()
    dot = page.locator("[data-map] g.yes circle").first
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shown = told.inner_text()
    assert dot.evaluate(PLACE) == place(page)
    assert "· chosen, score " in shown
    assert "seed-" in shown
    assert page.locator("[data-map] .ring").is_visible()
    assert violations(page) == []


def test_arrow_keys_go_from_row_to_row(opened: Any) -> None:
    page = opened("demo")
    told = page.locator("[data-map] .told")
    page.locator("[data-map] svg").focus()
    page.keyboard.press("ArrowRight")
    first, (across, _) = told.inner_text(), place(page)
    page.keyboard.press("ArrowLeft")
    assert told.inner_text() != first
    before = place(page)
    assert before[0] < across
    page.keyboard.press("ArrowDown")
    assert place(page)[1] > before[1]
    page.keyboard.press("Escape")
    assert "arrow keys" in told.inner_text()
    assert not page.locator("[data-map] .ring").is_visible()


def test_a_cluster_is_highlighted_from_the_menu_and_from_the_list(opened: Any) -> None:
    page = opened("demo")
    menu = page.get_by_label("Show a cluster")
    menu.select_option(label="cooking, planning")
    assert page.locator("[data-map] g.on").count() == 2
    assert "points of the map" in page.locator("[data-map] .told").inner_text()
    page.locator("[data-map] svg").focus()
    for key in ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key)
        assert "cooking, planning · " in page.locator("[data-map] .told").inner_text()
    named = page.get_by_role("button", name="physics, light")
    named.press("Enter")
    assert named.get_attribute("aria-pressed") == "true"
    assert menu.input_value() == "5"
    assert violations(page) == []
    named.press("Enter")
    assert (menu.input_value(), page.locator("[data-map] g.on").count()) == ("", 0)


def test_without_a_script_all_is_there(opened: Any) -> None:
    page = opened("demo", java_script_enabled=False)
    page.get_by_text("Show the other 121").click()
    assert page.get_by_text("Queueing theory").is_visible()
    assert page.locator(".tools:visible").count() == 0
    title = page.locator("[data-map] g.yes circle title").first.text_content()
    assert title.startswith("chosen, score ")
