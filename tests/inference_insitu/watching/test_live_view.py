"""The live view tells what the files hold, of a run that goes on, has ended, was killed or has not begun."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_run import SyntheticRun

from inference_insitu.watching import live_state
from inference_insitu.watching.account import account
from inference_insitu.watching.ledger_files import TIMES
from inference_insitu.watching.line_tail import LONGEST_LINE_BYTES, LineTail
from inference_insitu.watching.live import watch
from inference_insitu.watching.live_state import RunState
from inference_insitu.watching.metrics_files import WorkerNumbers, read_metrics
from inference_insitu.watching.report import write_report

WATCH = "import sys; from inference_insitu.watching.live import watch; watch(sys.argv[1], once=False, interval_s=0.05)"


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """What one frame of a folder prints."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def once(folder: Path) -> str:
        watch(folder, once=True)
        return capsys.readouterr().out

    return once


def test_an_ended_run_is_told_in_one_frame_without_control_characters(
    run: SyntheticRun, shown: Callable[[Path], str]
) -> None:
    text = shown(run.folder)
    assert "ended, the books balance" in text
    assert "4 ranks, 2400 frames settled" in text
    assert "\x1b" not in text
    for word in ("pattern", "stress", "superseded", "lost", "closed", "worker0", "lost 8", "confidence", "screw"):
        assert word in text


def test_a_run_that_goes_on_and_one_that_fell_silent(tmp_path: Path, shown: Callable[[Path], str]) -> None:
    run = SyntheticRun(tmp_path / "run").write(finished=False)
    assert "running" in shown(run.folder)
    for path in run.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    assert "stalled or killed" in shown(run.folder)


def test_unbalanced_books_are_said_loudly(run: SyntheticRun, shown: Callable[[Path], str]) -> None:
    run.write_books(run.books() | {"published": 9999})
    assert "THE BOOKS DO NOT BALANCE" in shown(run.folder)
    books = run.books()
    books["dropped"]["lost"], books["dropped"]["full"] = books["dropped"]["full"], books["dropped"]["lost"]
    run.write_books(books)
    text = shown(run.folder)
    assert "THE BOOKS DO NOT BALANCE" in text
    assert "dropped as 'lost' by the books" in text
    run.write_books(run.books())
    (run.folder / "ledger-0.csv").unlink()
    assert "THE BOOKS DO NOT BALANCE" in shown(run.folder)


def test_a_run_that_ends_while_it_is_read_is_not_said_to_be_unbalanced(
    run: SyntheticRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last rows and its books come while files are read one after the other."""
    (run.folder / "books.json").unlink()
    lines = (run.folder / "ledger-3.csv").read_text().splitlines(keepends=True)
    (run.folder / "ledger-3.csv").write_text("".join(lines[:-5]))

    def ends_after_this_file(folder: Path) -> list[WorkerNumbers]:
        (run.folder / "ledger-3.csv").write_text("".join(lines))
        run.write_books(run.books())
        return read_metrics(folder)

    monkeypatch.setattr(live_state, "read_metrics", ends_after_this_file)
    state = RunState(run.folder)
    for _ in range(2):
        state.refresh()
        assert state.imbalances == []
    assert state.books is not None
    assert account(run.folder)["balanced"]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e300"])
def test_numbers_that_are_none_do_not_stop_the_view(tmp_path: Path, shown: Callable[[Path], str], number: str) -> None:
    run = SyntheticRun(tmp_path / "run", steps=30).write()
    header, first = (run.folder / "ledger-0.csv").read_text().splitlines()[:2]
    fields = dict(zip(header.split(","), first.split(","), strict=True)) | dict.fromkeys(TIMES, number)
    with (run.folder / "ledger-0.csv").open("a") as file:
        file.write(",".join({**fields, "step": "99999"}.values()) + "\n")
    (run.folder / "results-9.0.jsonl").write_text(
        f'{{"stream": "pattern", "step": {number}, "values": {{"x": {number}}}}}\n'
        f'{{"stream": "other", "step": 1, "values": {{"x": {number}, "confidence": {number}}}}}\n'
    )
    (run.folder / "events-x.jsonl").write_text(
        f'{{"time": "2026-03-01T12:00:01+00:00", "monotonic_s": {number}, "event": "restart", "attempt": {number}}}\n'
    )
    text = "".join(
        f'{name}{{worker="7"}} {number}\n'
        for name in ("cdi_batches_total", "cdi_queue_frames", "cdi_worker_restarts_total", "cdi_batch_seconds_sum")
    )
    (run.folder / "metrics-7.prom").write_text(text.replace("Infinity", "Inf"))
    assert "241 frames settled" in shown(run.folder)
    write_report(run.folder)
    for name in ("published", "inferred", "open"):
        text = json.dumps(run.books()).replace(f'"{name}": ', f'"{name}": {number}, "was": ', 1)
        (run.folder / "books.json").write_text(text)
        assert "books" in shown(run.folder)
        assert not account(run.folder)["balanced"]


def test_an_empty_folder_and_one_that_is_not_there_say_what_is_waited_for(
    tmp_path: Path, shown: Callable[[Path], str]
) -> None:
    assert "holds no file of a run yet" in shown(tmp_path)
    text = " ".join(shown(tmp_path / "later").split())
    assert "does not exist yet" in text
    assert "Waiting for ledger-<rank>.csv" in text


def test_hostile_names_reach_the_terminal_as_text(tmp_path: Path, hostile: str, shown: Callable[[Path], str]) -> None:
    SyntheticRun(tmp_path / "run", streams=(hostile, "[bold red]b[/]"), steps=40).write()
    text = shown(tmp_path / "run")
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "<script>" in text
    assert "[bold red]b[/]" in text


def test_damaged_files_are_named(run: SyntheticRun, shown: Callable[[Path], str]) -> None:
    (run.folder / "ledger-9.csv").write_text("nothing\n1\n")
    (run.folder / "books.json").write_text("{")
    with (run.folder / "ledger-0.csv").open("a") as file:
        file.write("a,b\n")
    for name in ("events-keeper0.jsonl", "results-0.0.jsonl", "metrics-0.prom"):
        with (run.folder / name).open("ab") as file:
            file.write(b'\xff{"half')
    text = shown(run.folder)
    for word in ("ledger-9.csv: its first line must", "ledger-0.csv: 1 lines are no row", "books.json must hold"):
        assert word in text
    assert "2400 frames settled" in text


def test_a_state_brought_up_to_date_is_that_of_reading_it_all_at_once(run: SyntheticRun, tmp_path: Path) -> None:
    """Whatever the places at which the files are cut while they grow."""
    growing = tmp_path / "growing"
    growing.mkdir()
    state = RunState(growing)
    files = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.suffix in (".csv", ".jsonl")}
    for part in range(7):
        for name, content in files.items():
            with (growing / name).open("ab") as file:
                file.write(content[part * len(content) // 7 : (part + 1) * len(content) // 7])
        state.refresh()
    whole = RunState(run.folder)
    whole.refresh()
    assert state.streams.keys() == whole.streams.keys()
    for name, stream in whole.streams.items():
        again = state.streams[name]
        assert (again.published, again.inferred, again.dropped) == (stream.published, stream.inferred, stream.dropped)
        assert again.newest_step == stream.newest_step == 2990
        assert again.percentiles_s() == pytest.approx(stream.percentiles_s())
        assert again.rate(state.newest_s) == stream.rate(whole.newest_s)
    assert state.workers == whole.workers
    assert {name: (worker.state, worker.restarts) for name, worker in state.workers.items()} == {
        "worker0": ("closed", 1)
    }
    assert {name: answer["step"] for name, answer in state.answers.items()} == {"pattern": 2970, "stress": 2970}
    assert state.problems == {}


def test_the_rate_is_that_of_the_last_seconds(run: SyntheticRun) -> None:
    state = RunState(run.folder)
    state.refresh()
    assert state.streams["pattern"].rate(state.newest_s) == pytest.approx(run.ranks / run.step_s, rel=0.05)


def test_another_run_in_the_folder_starts_the_count_anew(run: SyntheticRun) -> None:
    state = RunState(run.folder)
    state.refresh()
    for path in list(run.folder.iterdir()):
        path.unlink()
    SyntheticRun(run.folder, steps=20).write()
    state.refresh()
    assert sum(stream.published for stream in state.streams.values()) == 160
    assert state.problems == {}


def test_a_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    tail = LineTail(path)
    assert tail.read() == []
    path.write_bytes(b"one\ntw")
    assert tail.read() == ["one"]
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(b"o\n\nthree")
    assert tail.read() == ["two", ""]
    path.write_bytes(b"new\n")
    assert tail.read() == ["new"]
    assert tail.replaced


def test_a_tail_of_the_end_starts_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    tail = LineTail(path, last_bytes=40)
    assert tail.read() == ["line 996", "line 997", "line 998", "line 999"]


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    tail = LineTail(path)
    path.write_bytes(b"one\n" + b"x" * LONGEST_LINE_BYTES)
    assert tail.read() == ["one"]
    with path.open("ab") as file:
        file.write(b"x" * LONGEST_LINE_BYTES)
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(b"end of it\ntwo\nthr")
    assert tail.read() == ["two"]


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="folder must be the folder of a run, got the file"):
        watch(tmp_path / "file", once=True)
    with pytest.raises(ValueError, match="interval_s must be positive, got 0"):
        watch(tmp_path, once=True, interval_s=0)


def start_in_terminal(folder: Path) -> tuple["subprocess.Popen[bytes]", int]:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "150", "LINES": "60"}
    process = subprocess.Popen(
        [sys.executable, "-c", WATCH, str(folder)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    return process, ours


def read_until(terminal: int, wanted: bytes, timeout_s: float = 60.0) -> bytes:
    """What the terminal got, up to ``wanted`` or its end."""
    got, deadline = b"", time.monotonic() + timeout_s
    while wanted not in got and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                more = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            got += more
    return got


def test_ctrl_c_leaves_cleanly_and_gives_the_cursor_back(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "run", steps=40).write(finished=False)
    process, terminal = start_in_terminal(run.folder)
    try:
        assert b"running" in read_until(terminal, b"worker_ready")
        process.send_signal(signal.SIGINT)
        rest = read_until(terminal, b"\x1b[?25h")
        assert b"\x1b[?25h" in rest
        assert b"Traceback" not in rest
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        os.close(terminal)


def test_the_view_follows_a_run_and_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process, terminal = start_in_terminal(folder)
    try:
        assert b"does not exist yet" in read_until(terminal, b"does not exist yet")
        run = SyntheticRun(folder, steps=40).write(finished=False)
        assert b"running" in read_until(terminal, b"running")
        run.write_books(run.books())
        assert b"the books balance" in read_until(terminal, b"the books balance")
        read_until(terminal, b"\x1b[?25h")
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        os.close(terminal)


def test_a_pipe_that_closes_early_is_no_error(run: SyntheticRun) -> None:
    command = f"{sys.executable} -c '{WATCH}' {run.folder} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.strip() == "0"
