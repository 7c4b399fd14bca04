"""The report is one file that needs nothing else, says what is wrong and what is missing, and runs nothing."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_run import SyntheticRun

from inference_insitu.watching.report import write_report


class Page(HTMLParser):
    """Tags, attributes and text as a browser would take them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.alerts = 0
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.links += [given[name] for name in ("href", "srcset", "action") if name in given]
        self.images += [given["src"]] if "src" in given else []
        self.alerts += given.get("role") == "alert"
        assert not [name for name in given if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(folder: Path) -> Page:
    path = write_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[SyntheticRun, Page]:
    run = SyntheticRun(tmp_path_factory.mktemp("ended") / "run").write()
    return run, page_of(run.folder)


def test_an_ended_run_is_reported_whole(ended: tuple[SyntheticRun, Page]) -> None:
    run, page = ended
    assert page.alerts == 0
    assert "The books balance" in page.text
    assert "Missing" not in page.text
    assert len(page.images) == 4
    for words in (
        "the worker died with it",
        "4 ×: ValueError: the pattern is empty",
        "keeper0 worker_died code -11, signal SIGSEGV",
        "the simulation is equilibrating",
        "May be asked for: interval interval from 1 to 50",
        "placement: cores",
        "node17",
        "unrolled-2:3f9ac1",
    ):
        assert words in page.text
    inferred = sum(row["outcome"] == "inferred" for row in run.rows)
    assert f"all streams 2400 {inferred} {2400 - inferred} 0 = published" in page.text


def test_the_file_needs_nothing_else(ended: tuple[SyntheticRun, Page]) -> None:
    _, page = ended
    assert page.links == []
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    for image in page.images:
        kind, _, content = image.partition(";base64,")
        assert kind in ("data:image/svg+xml", "data:image/png")
        data = base64.b64decode(content, validate=True)
        assert data.startswith(b"\x89PNG") or b"<svg" in data
        references = re.findall(rb'href="([^"]*)"', data) if b"<svg" in data else []
        assert all(reference.startswith(b"#") for reference in references)


def test_hostile_names_are_text_everywhere(tmp_path: Path, hostile: str) -> None:
    run = SyntheticRun(tmp_path / "run", streams=(hostile, "$\\nonsense$"), steps=60).write()
    for row in run.rows:
        row["reason"] = hostile.replace("\n", " ") if row["outcome"] == "failed" else ""
        row["model"] = hostile
    run.write_ledgers()
    (run.folder / "coupling.yaml").write_text(f"name: {hostile}\n</pre><script>alert(1)</script>\n")
    (run.folder / "steering.jsonl").write_text('{"<b>key</b>": "<img src=x onerror=alert(1)>"}\n')
    (run.folder / "events-x.jsonl").write_text(
        '{"time": "2026-03-01T12:00:01+00:00", "event": "<script>e</script>", "who": "<i>", "<u>": {"<s>": ["<q>"]}}\n'
    )
    page = page_of(run.folder)
    assert not {"script", "i", "u", "s", "q"} & set(page.tags)
    assert len(page.images) == 4, page.text
    assert '<script>alert("x")</script>' in page.text
    assert "{{ 7*7 }}" in page.text
    assert "<img src=x onerror=alert(1)>" in page.text


def test_unbalanced_books_are_said_loudly(run: SyntheticRun) -> None:
    run.write_books(run.books() | {"inferred": 7, "balanced": False})
    page = page_of(run.folder)
    assert page.alerts == 1
    assert "The books do not balance." in page.text
    assert "BOOKS DO NOT BALANCE" in page.text
    assert "unaccounted for" in page.text


def test_a_killed_run_is_reported_from_what_it_left(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "run", steps=100).write(finished=False)
    for path in run.folder.glob("*.*"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3 - 3])
    page = page_of(run.folder)
    assert page.alerts == 0
    assert "There are no books to balance yet" in page.text
    assert "books.json: the run has not ended, or was killed" in page.text
    assert "ledger-0.csv: its last line is cut off" in page.text
    assert "results-0.0.jsonl: 1 lines are no answer" in page.text
    assert len(page.images) == 4


@pytest.mark.parametrize("pattern", ["ledger-*", "events-*", "results-*", "metrics-*", "coupling.yaml", "books.json"])
def test_each_kind_of_file_may_be_missing_and_is_named(tmp_path: Path, pattern: str) -> None:
    run = SyntheticRun(tmp_path / "run", steps=30).write()
    for path in run.folder.glob(pattern):
        path.unlink()
    page = page_of(run.folder)
    assert "Missing or not whole" in page.text
    assert pattern.split("*")[0] in page.text
    assert page.alerts == (pattern == "ledger-*")


def test_an_empty_folder_is_reported_as_such(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert page.images == []
    assert page.text.count("No figure:") == 4
    assert "ledger-*.csv: no row of any frame" in page.text


@pytest.mark.parametrize("row", ["s,0,5,full,0.5", "s,0,5,inferred,", "s,0,5,tomorrow,1e9"])
def test_a_single_frame_of_any_kind_is_drawn(tmp_path: Path, row: str) -> None:
    (tmp_path / "ledger-0.csv").write_text(f"stream,rank,step,outcome,published_s\n{row}\n")
    page = page_of(tmp_path)
    assert "could not be drawn" not in page.text
    assert len(page.images) == 2


def test_a_figure_that_fails_costs_itself_alone(run: SyntheticRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("inference_insitu.watching.figures.timeline", fail)
    page = page_of(run.folder)
    assert "it could not be drawn: RuntimeError: no ink" in page.text
    assert len(page.images) == 3


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="folder must be the folder of a run"):
        write_report(tmp_path / "none")
