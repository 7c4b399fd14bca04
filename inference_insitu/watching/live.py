"""The live terminal view of a run: ``cdi insitu watch FOLDER``.

It reads the run's files and nothing else, so it works beside the run, on another node that sees the
folder, and on a run that has ended or was killed.
"""

import math
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from inference_insitu.watching.balance import BOOKS
from inference_insitu.watching.live_state import QUIET_S, RunState, StreamState
from inference_insitu.watching.reasons import asked_for, meaning, shown
from inference_insitu.watching.worker_events import BAD_STATES, is_bad, worker_name

MOST_STREAMS = 20
MOST_WORKERS = 16
LAST_EVENTS = 8
MOST_PROBLEMS = 5
PIPE_COLUMNS = 160
_STYLES = {
    "waiting": "bold",
    "running": "bold cyan",
    "silent": "bold red",
    "ended": "bold green",
    "unbalanced": "bold white on red",
}


def watch(folder: str | Path, *, once: bool = False, interval_s: float = 1.0) -> None:
    """Show the run in ``folder`` until it has ended or Ctrl-C.

    ``once`` prints what is there now and returns, without control characters where the standard
    output is no terminal.

    Raises
    ------
    ValueError
        If ``folder`` is a file or ``interval_s`` is not positive.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder must be the folder of a run, got the file {folder}")
    if not (math.isfinite(interval_s) and interval_s > 0):
        raise ValueError(f"interval_s must be positive, got {interval_s}")
    console = _console()
    state = RunState(folder)
    try:
        state.refresh()
        if once or not console.is_terminal:
            _print_frames(console, state, once, interval_s)
        else:
            _live(console, state, interval_s)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # The reader of a pipe has seen enough; the interpreter must not fail on the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _console() -> Console:
    # A pipe has no width of its own, and a table cut to 80 columns says little.
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PIPE_COLUMNS if wide else None)


def _print_frames(console: Console, state: RunState, once: bool, interval_s: float) -> None:
    _print(console, state)
    while not (once or state.books):
        time.sleep(interval_s)
        state.refresh()
        _print(console, state)


def _print(console: Console, state: RunState) -> None:
    # Not by the console itself, which ends the process with a failure when a pipe closes.
    with console.capture() as capture:
        console.print(frame(state))
    sys.stdout.write(capture.get())
    sys.stdout.flush()


def _live(console: Console, state: RunState, interval_s: float) -> None:
    try:
        with Live(frame(state), console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while not state.books:
                time.sleep(interval_s)
                state.refresh()
                live.update(frame(state), refresh=True)
    finally:
        # A Ctrl-C while the first picture is drawn finds the cursor hidden and ``Live`` not yet entered.
        console.show_cursor()


def frame(state: RunState) -> RenderableType:
    """One picture of ``state``."""
    if state.empty:
        return Panel(_waiting(state), title="cdi insitu watch", title_align="left")
    return Group(*_parts(state))


def _waiting(state: RunState) -> Text:
    there = state.folder.is_dir()
    text = Text(f"{shown(state.folder, 200)} {'holds no file of a run yet' if there else 'does not exist yet'}.\n")
    text.append("Waiting for ledger-<rank>.csv, events-*.jsonl, metrics-*.prom, results-*.jsonl or books.json.")
    return text


def _parts(state: RunState) -> Iterator[RenderableType]:
    yield Panel(_heading(state), title="cdi insitu watch", title_align="left")
    tables = (
        (_streams, state.streams),
        (_drops, any(stream.dropped for stream in state.streams.values())),
        (_workers, state.workers or state.numbers),
        (_answers, state.answers),
        (_events, state.events),
    )
    for table, is_there in tables:
        if is_there:
            yield table(state)
            yield Text()
    for problem in [*state.imbalances, *state.problems.values()][:MOST_PROBLEMS]:
        yield Text(shown(problem, 200), style="bold red")


def _heading(state: RunState) -> Text:
    published = sum(stream.published for stream in state.streams.values())
    inferred = sum(stream.inferred for stream in state.streams.values())
    dropped = sum(stream.dropped.total() for stream in state.streams.values())
    handed_over = sum(stream.handed_over for stream in state.streams.values())
    text = Text(f"{shown(state.folder, 200)}\n")
    kind, line = condition_of(state)
    text.append(line, style=_STYLES[kind])
    text.append(
        f"\n{len(state.ranks)} ranks, {published} frames settled: {inferred} inferred, {dropped} dropped"
        f"{f', {handed_over} handed over' if handed_over else ''}"
        f"; newest frame {state.newest_s:.1f} s into the run"
    )
    return text


def condition_of(state: RunState) -> tuple[str, str]:
    """How the run stands, in a word (a key of ``_STYLES``) and in a line."""
    if state.empty:
        return "waiting", "no file of a run is there yet"
    if state.books is not None:
        if not state.imbalances:
            return "ended", "ended, the books balance"
        return "unbalanced", f"ended, THE BOOKS DO NOT BALANCE (see {BOOKS}, and below)"
    quiet_s = state.quiet_s()
    if quiet_s is not None and quiet_s > QUIET_S:
        return "silent", f"no books, and no file has changed for {_duration(quiet_s)}: stalled or killed"
    return "running", "running"


def _streams(state: RunState) -> Table:
    table = _table(
        "stream", "settled", "inferred", "dropped", "frames/s", "p50", "p95", "p99", "longest", "newest step"
    )
    for name, stream in list(state.streams.items())[:MOST_STREAMS]:
        table.add_row(*_stream_row(name, stream, state.newest_s))
    _say_left_out(table, len(state.streams) - MOST_STREAMS, "streams")
    return table


def _stream_row(name: str, stream: StreamState, now_s: float) -> list[Text]:
    percentiles = stream.percentiles_s()
    latencies = ["-"] * 4 if percentiles is None else [_seconds(value) for value in percentiles]
    numbers = [stream.published, stream.inferred, stream.dropped.total(), f"{stream.rate(now_s):.4g}"]
    return [Text(shown(name, 30)), *(Text(str(value)) for value in (*numbers, *latencies, stream.newest_step))]


def _drops(state: RunState) -> Table:
    table = _table("dropped as", "frames", "meaning", numbers=(1,))
    names = {name for stream in state.streams.values() for name in stream.dropped}
    counts = {name: sum(stream.dropped[name] for stream in state.streams.values()) for name in names}
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        style = "" if asked_for(name) else "red"
        table.add_row(Text(shown(name, 20), style=style), Text(str(count), style=style), Text(meaning(name)))
    return table


def _workers(state: RunState) -> Table:
    table = _table("worker", "state", "for", "restarts", "queue", "batch", "s/batch", numbers=(2, 3, 4, 5, 6))
    numbers = {worker_name(row.worker): row for row in state.numbers}
    names = [*state.workers, *(name for name in numbers if name not in state.workers)]
    for name in names[:MOST_WORKERS]:
        said, counted = state.workers.get(name), numbers.get(name)
        condition = said.state if said else "-"
        table.add_row(
            Text(shown(name, 30)),
            Text(condition, style="bold red" if condition in BAD_STATES else ""),
            Text(_duration(time.time() - said.since_s) if said and not state.books else "-"),
            Text(str(max(said.restarts if said else 0, counted.restarts if counted else 0))),
            Text(_plain(counted.queue if counted else None)),
            Text(_plain(counted.batch_frames if counted else None)),
            Text(_plain(counted.batch_seconds if counted else None)),
        )
    _say_left_out(table, len(names) - MOST_WORKERS, "workers")
    return table


def _answers(state: RunState) -> Table:
    table = _table("newest answer", "step", "confidence", "values", numbers=(1, 2))
    confidences = {stream: value for row in state.numbers for stream, value in row.confidence.items()}
    for name, answer in list(state.answers.items())[:MOST_STREAMS]:
        given = answer.get("values")
        values = dict(given) if isinstance(given, dict) else {}
        confidence = values.pop("confidence", confidences.get(name))
        text = ", ".join(f"{shown(key, 30)} {_plain(value)}" for key, value in list(values.items())[:12])
        table.add_row(Text(shown(name, 30)), Text(_plain(answer["step"])), Text(_plain(confidence)), Text(text))
    return table


def _events(state: RunState) -> Table:
    table = _table("time (UTC)", "who", "event", "", numbers=())
    for event in list(state.events)[-LAST_EVENTS:]:
        fields = ", ".join(f"{shown(name, 20)} {_plain(value)}" for name, value in event.fields.items())
        style = "red" if is_bad(event) else ""
        moment = datetime.fromtimestamp(event.time_s, UTC)
        table.add_row(
            Text(f"{moment:%H:%M:%S}"),
            Text(shown(event.who, 20)),
            Text(shown(event.event, 24), style=style),
            Text(shown(fields, 120)),
        )
    return table


def _table(*columns: str, numbers: tuple[int, ...] | None = None) -> Table:
    """A table without lines; all columns but the first hold numbers unless they are named."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for place, name in enumerate(columns):
        right = place > 0 if numbers is None else place in numbers
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="ellipsis")
    return table


def _say_left_out(table: Table, count: int, what: str) -> None:
    if count > 0:
        table.add_row(Text(f"and {count} more {what}", style="dim"))


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return shown(value, 40)


def _seconds(value: float) -> str:
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"
