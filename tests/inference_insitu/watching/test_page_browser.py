"""The page in a real browser: what it shows, how steps are looked at, and a command on its way to a ring."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_predictions import exposure, frame, prediction
from serving import Served, served
from synthetic_run import SyntheticRun
from test_page_proposal import write_run

from inference_insitu.inference.results import ResultsFile
from inference_insitu.ring.layout import Kind, Layout, Side, SlotGroup, Word
from inference_insitu.ring.region import PREFIX, SHARED_MEMORY, Region
from inference_insitu.steering.encoding import decode

driving = pytest.importorskip("playwright.sync_api", reason="a browser is driven by playwright")
expect = driving.expect
TIMEOUT_MS = 30_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
    with driving.sync_playwright() as driver:
        # Within a container, and as root, its own sandbox cannot be made.
        one = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console and the page itself complain of."""
    return []


def opened(browser: Any, page: Served, complaints: list[str]) -> Any:
    tab = browser.new_page(viewport={"width": 1300, "height": 1000})
    tab.set_default_timeout(TIMEOUT_MS)
    expect.set_options(timeout=TIMEOUT_MS)
    tab.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    tab.goto(page.url)
    expect(tab.locator("#condition")).not_to_have_text("…")
    return tab


def painted(tab: Any, canvas: str) -> int:
    """Pixels of ``canvas`` that are not empty."""
    script = """(id) => { const c = document.getElementById(id);
        const seen = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return seen.filter((value, i) => i % 4 === 3 && value).length; }"""
    return int(tab.evaluate(script, canvas))


def picture(tab: Any, canvas: str) -> str:
    """All of ``canvas`` as a data URI."""
    return str(tab.evaluate("(id) => document.getElementById(id).toDataURL()", canvas))


def run_with_volumes(folder: Path) -> SyntheticRun:
    run = SyntheticRun(folder, ranks=1, steps=30, streams=("pattern",)).write(finished=False)
    file = ResultsFile(folder / "results-0.0.h5")
    for step in (0, 100, 200):
        file.append(frame(step), exposure(step), prediction(lines=step // 100))
    file.close()
    return run


def test_steps_are_looked_at_and_an_end_is_seen(browser: Any, tmp_path: Path, complaints: list[str]) -> None:
    run = run_with_volumes(tmp_path / "run")
    with served(run.folder) as page:
        tab = opened(browser, page, complaints)
        expect(tab.locator("#answer")).to_contain_text("step 200: edge")
        assert tab.inner_text("#condition") == "running"
        assert "2 lines" in tab.inner_text("#answer")
        assert tab.locator("#lines > div").count() == 2
        assert min(painted(tab, name) for name in ("crystal", "pattern", "slice-x", "rates", "bar")) > 50
        # Every slice says what runs along it, how far, and in which unit.
        assert re.fullmatch(r"δq z → ±[\d.]+ 1/Å\s+δq y ↓ ±[\d.]+ 1/Å", tab.inner_text("#axes-x").strip())
        before = picture(tab, "crystal")
        tab.focus("#crystal")
        tab.keyboard.press("ArrowRight")
        tab.wait_for_timeout(300)
        assert picture(tab, "crystal") != before, "it turns"
        tab.locator("#step").fill("12")
        expect(tab.locator("#answer")).to_contain_text("step 100: edge")
        assert not tab.is_checked("#follow")
        looked_at = tab.inner_text("#stepname")
        assert 100 < int(looked_at.removeprefix("step ")) < 200
        assert tab.locator("#lines > div").count() == 1
        run.write_books(run.books())
        expect(tab.locator("#condition")).to_have_text("ended, the books balance")
        assert tab.inner_text("#stepname") == looked_at, "the step that is looked at stays"
        tab.check("#follow")
        expect(tab.locator("#answer")).to_contain_text("step 200: edge")
        assert complaints == []
        tab.close()


def test_a_command_goes_to_the_ring_after_a_confirmation_only(
    browser: Any, tmp_path: Path, complaints: list[str]
) -> None:
    folder = tmp_path / "run"
    SyntheticRun(folder, ranks=1, steps=5, streams=("pattern",)).write(finished=False)
    path = SHARED_MEMORY / f"{PREFIX}viewbrowser{os.getpid()}-0"
    region = Region.create(Layout((SlotGroup("s", Kind.MEMORY, 1, 100),)), rank=0, path=path)
    try:
        region.words[Word.PRODUCER_STATE] = Side.READY
        write_run(folder, str(path))
        with served(folder) as page:
            tab = opened(browser, page, complaints)
            tab.select_option("#command", "load")
            assert tab.inner_text("#bounds") == "[-2, 3] kN"
            tab.fill("#value", "2.5")
            tab.click("#ask")
            assert tab.inner_text("#asked") == "load 2.5 kN"
            tab.click("dialog button[value=no]")
            expect(tab.locator("#confirm")).to_be_hidden()
            assert region.collect() == []
            tab.click("#ask")
            tab.click("#yes")
            expect(tab.locator("#told")).to_contain_text("Proposed as live view")
            (command,) = map(decode, region.collect())
            assert (command.name, command.value, command.step_proposed) == ("load", 2.5, 40)
            region.words[Word.PRODUCER_STATE] = Side.CLOSED
            expect(tab.locator("#ask")).to_be_disabled()
            assert "Nothing can be proposed" in tab.inner_text("#desk")
            assert complaints == []
            tab.close()
    finally:
        region.unlink()


def test_names_of_a_hostile_run_are_text_and_run_nothing(
    browser: Any, tmp_path: Path, hostile: str, complaints: list[str]
) -> None:
    name = '<img src=x onerror="document.title=1">' + hostile
    run = SyntheticRun(tmp_path / "run", ranks=2, steps=20, streams=(name,)).write()
    (run.folder / "events-x.jsonl").write_text(
        '{"time": "2026-03-01T12:00:01+00:00", "event": "<script>alert(1)</script>", "who": "<i>", "a": ["<s>"]}\n'
    )
    with (run.folder / "results-9.0.jsonl").open("w") as file:
        file.write('{"stream": "other", "step": 1, "values": {"<b>x</b>": 1, "__proto__": 2}}\n')
    with served(run.folder) as page:
        tab = opened(browser, page, complaints)
        tab.wait_for_selector("#events tr:nth-child(2)")
        assert tab.locator("main img, main i, main s, main script").count() == 0
        assert '<img src=x onerror="document.title=1">' in tab.inner_text("#streams")
        assert tab.title().startswith("ended")
        tab.select_option("#stream", "other")
        expect(tab.locator("#answer")).to_contain_text("<b>x</b> 1")
        assert complaints == []
        tab.close()


def test_a_run_that_has_not_begun_is_waited_for(browser: Any, tmp_path: Path, complaints: list[str]) -> None:
    """Also in a narrow window: nothing empty is shown for something, and nothing hangs over the edge."""
    with served(tmp_path / "run") as page:
        tab = opened(browser, page, complaints)
        tab.set_viewport_size({"width": 400, "height": 900})
        assert "cdi insitu run" in tab.inner_text("#waiting")
        assert [tab.is_hidden(part) for part in ("#looked", "#propose", "#fates")] == [True] * 3
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        run_with_volumes(tmp_path / "run")
        expect(tab.locator("#answer")).to_contain_text("step 200: edge")
        assert tab.is_hidden("#waiting")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        assert complaints == []
        tab.close()


def test_when_the_view_ends_the_page_says_how_to_go_on(browser: Any, tmp_path: Path, complaints: list[str]) -> None:
    run = SyntheticRun(tmp_path / "run", ranks=1, steps=5).write()
    with served(run.folder) as page:
        tab = opened(browser, page, complaints)
        assert tab.is_hidden("#lost")
    tab.wait_for_selector("#lost:not([hidden])")
    assert f"cdi insitu watch {run.folder}" in tab.inner_text("#lost")
    tab.close()


def test_nothing_is_loaded_from_elsewhere_and_no_script_of_others_runs(
    browser: Any, tmp_path: Path, complaints: list[str]
) -> None:
    run = SyntheticRun(tmp_path / "run", ranks=1, steps=5).write()
    with served(run.folder) as page:
        tab = browser.new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.url)
        tab.wait_for_selector("#streams tr")
        assert all(url.startswith((page.url, "data:")) for url in asked)
        tab.evaluate("""() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';
            document.body.append(s); }""")
        assert tab.evaluate("window.ran === undefined")
        tab.close()
