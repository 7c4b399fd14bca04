"""The report of a run: one HTML file that needs nothing else, neither network nor script.

Every text of the run is escaped: names of streams, messages of errors and answers are somebody
else's. Figures are images within the file. It works on what there is of a run and says what is missing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from cdi.whole_file import whole_file
from inference_insitu.books.outcomes import INFERRED
from inference_insitu.watching import figure_over_time, figures
from inference_insitu.watching.balance import Totals, imbalances, ledger_totals, stream_totals, totals_of
from inference_insitu.watching.in_transit import transit_imbalances
from inference_insitu.watching.ledger_files import Ledger
from inference_insitu.watching.reasons import asked_for, colour, meaning, severity, shown
from inference_insitu.watching.run_files import RunFiles, read_run
from inference_insitu.watching.worker_events import is_bad, worker_name

REPORT = "report.html"
MOST_ROWS = 500
"""Rows of any table."""
MOST_DETAILS = 5
_LONGEST = 400


@dataclass(frozen=True)
class BooksRow:
    """One line of the books."""

    name: str
    totals: Totals
    balances: bool


@dataclass(frozen=True)
class DropRow:
    """One reason: its meaning, its frames in all and by stream, and what was said about it most often."""

    name: str
    meaning: str
    colour: str
    asked_for: bool
    frames: int
    share: float
    by_stream: tuple[int, ...]
    details: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Picture:
    """A figure with its caption, or why there is none."""

    title: str
    caption: str
    uri: str = ""
    problem: str = ""


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into the run's ``folder``, whole or not at all; its path.

    Raises
    ------
    ValueError
        If ``folder`` is no folder.
    OSError
        If it cannot be written.
    """
    run = read_run(folder)
    path = run.folder / REPORT
    with whole_file(path) as temporary:
        temporary.write_text(render(run), encoding="utf-8")
    return path


def render(run: RunFiles) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=PackageLoader("inference_insitu.watching"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "plain": _plain,
        "seconds": _seconds,
        "worker": worker_name,
        "shown": lambda text: shown(text, _LONGEST),
    }
    totals, streams = _totals(run)
    ranks = _rank_rows(run.ledger)
    events = [event for event in run.events if event.event != "attach"]
    return environment.get_template("report.html").render(
        name=shown(run.folder.resolve().name, 120),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        started=f"{datetime.fromtimestamp(run.start_s, UTC):%Y-%m-%d %H:%M:%S} UTC" if run.start_s else None,
        run=run,
        imbalances=[
            *imbalances(run.books, run.ledger),
            *transit_imbalances(run.ledger, run.transit, ended=run.books is not None),
        ],
        totals=totals,
        books=_books_rows(run, totals, streams),
        ranks=ranks[:MOST_ROWS],
        left_out_ranks=max(0, len(ranks) - MOST_ROWS),
        streams=list(streams),
        drops=_drop_rows(run, totals, streams),
        latency=_latency(run),
        models=run.ledger.model.counts(),
        pictures=_pictures(run),
        events=events[:MOST_ROWS],
        left_out_events=max(0, len(events) - MOST_ROWS),
        steering=_table(run.commands[:MOST_ROWS]),
        left_out_steering=max(0, len(run.commands) - MOST_ROWS),
        answers=sorted(run.answers.newest.items()),
        machines=_machines(run),
        is_bad=is_bad,
    )


def _totals(run: RunFiles) -> tuple[Totals, dict[str, Totals]]:
    """Of the books where there are any, else of the ledgers' rows."""
    rows = stream_totals(run.ledger)
    if run.books is None:
        return ledger_totals(run.ledger), rows
    return run.books.total, dict(run.books.streams) or rows


def _books_rows(run: RunFiles, totals: Totals, streams: Mapping[str, Totals]) -> list[BooksRow]:
    rows = [*streams.items(), ("all streams", totals)]
    return [BooksRow(name, part, not part.missing and not part.open) for name, part in rows]


def _rank_rows(ledger: Ledger) -> list[tuple[str, int, Totals]]:
    """Totals of the ledgers' rows by stream and rank."""
    ranks, place = np.unique(ledger.rank, return_inverse=True)
    shape = (len(ledger.stream.names), len(ranks), len(ledger.fate.names))
    if not len(ledger):
        return []
    cells = np.ravel_multi_index((ledger.stream.codes, place, ledger.fate.codes), shape)
    frames = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)
    found = []
    for stream, rank in np.argwhere(frames.any(axis=2)):
        fates = {name: int(count) for name, count in zip(ledger.fate.names, frames[stream, rank], strict=True) if count}
        found.append((ledger.stream.names[stream], int(ranks[rank]), totals_of(fates)))
    return found


def _drop_rows(run: RunFiles, totals: Totals, streams: Mapping[str, Totals]) -> list[DropRow]:
    rows = []
    for name, frames in sorted(totals.dropped.items(), key=lambda item: (-item[1], severity(item[0]))):
        details = run.ledger.reason.counts(run.ledger.fate.where(name))
        details.pop("", None)
        most = sorted(details.items(), key=lambda item: -item[1])[:MOST_DETAILS]
        by_stream = tuple(part.dropped.get(name, 0) for part in streams.values())
        share = frames / totals.published if totals.published else math.nan
        rows.append(DropRow(name, meaning(name), colour(name), asked_for(name), frames, share, by_stream, tuple(most)))
    return rows


def _latency(run: RunFiles) -> dict[str, float]:
    """Percentiles of the ledgers' rows in seconds; empty where there are none."""
    found = run.ledger.latency_s[np.isfinite(run.ledger.latency_s) & run.ledger.fate.where(INFERRED)]
    if not len(found):
        return {}
    names = ("p50", "p95", "p99", "longest")
    return dict(zip(names, np.percentile(found, (50, 95, 99, 100)).tolist(), strict=True))


def _pictures(run: RunFiles) -> list[Picture]:
    """Each figure by itself: one that cannot be drawn must not cost the report."""
    planned: list[tuple[str, str, bool, str, Callable[[], Figure]]] = [
        (
            "Over time",
            "Workers' states, frames published per second by what became of them, latency of the inferred ones, and "
            "how many of those waited at once. Dashed lines mark deaths, restarts, steering, versions that took over, "
            "and another number of workers. Where frames were also answered in transit, a bar says who answered when, "
            "and migrations are shaded.",
            bool(len(run.ledger) or run.events),
            "svg",
            lambda: figure_over_time.over_time(run),
        ),
        (
            "Every frame",
            "Steps along x, ranks along y. Where several frames share a cell, the most severe outcome is shown. "
            f"At most {figures.MOST_STREAMS} streams are drawn, those with most frames.",
            bool(len(run.ledger)),
            "png",
            lambda: figures.timeline(run.ledger),
        ),
        (
            "Latency",
            "From publishing to answer, and its two parts: waiting, and the inference itself.",
            bool(_latency(run)),
            "svg",
            lambda: figures.latency_histogram(run.ledger),
        ),
        (
            "Answers",
            "Numbers that the analyses said of the frames of all ranks, over the simulation's steps. "
            f"At most {figures.MOST_POINTS} points a stream are drawn, chosen by chance.",
            bool(run.answers.series),
            "png",
            lambda: figures.answers_over_steps(run.answers.series),
        ),
    ]
    return [
        _picture(title, caption, kind, draw)
        if there
        else Picture(title, caption, problem="the files of the run hold nothing to draw here")
        for title, caption, there, kind, draw in planned
    ]


def _picture(title: str, caption: str, kind: str, draw: Callable[[], Figure]) -> Picture:
    try:
        with figures.plain_style():
            return Picture(title, caption, uri=figures.data_uri(draw(), kind))
    except Exception as error:
        return Picture(title, caption, problem=f"it could not be drawn: {type(error).__name__}: {error}")


def _machines(run: RunFiles) -> list[Mapping[str, Any]]:
    """What ``attach`` said of the nodes, each once."""
    found: list[Mapping[str, Any]] = []
    for event in run.events:
        machine = event.fields.get("machine") if event.event == "attach" else None
        if isinstance(machine, Mapping) and machine not in found:
            found.append(machine)
    return found[:MOST_ROWS]


def _table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of rows whose keys differ; at most twelve columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))[:12]
    return names, [[_plain(row[name]) if name in row else "" for name in names] for row in rows]


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return shown(", ".join(f"{name} {_plain(item)}" for name, item in value.items()), _LONGEST)
    if isinstance(value, list | tuple):
        return shown(f"[{', '.join(map(_plain, value))}]", _LONGEST)
    return shown(value, _LONGEST)


def _seconds(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.4g} s"
