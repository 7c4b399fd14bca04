"""The report's largest figure: workers, rates, latency and queue over the seconds of the run."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from inference_insitu.books.outcomes import HANDED_OVER, INFERRED
from inference_insitu.watching.figures import name_seconds
from inference_insitu.watching.ledger_files import Ledger
from inference_insitu.watching.reasons import colour, severity, shown
from inference_insitu.watching.run_files import RunFiles
from inference_insitu.watching.site_spans import (
    ABORTED,
    CATCHING_UP,
    IN_SITU,
    IN_TRANSIT,
    MIGRATING,
    SiteSpan,
    site_spans,
)
from inference_insitu.watching.worker_spans import Span, worker_spans

MOST_MARKS = 100
TIME_BINS = 150
_STATE_COLOURS = {
    "starting": "#fdd0a2",
    "ready": "#a1d99b",
    "unusable": "#99000d",
    "dead": "#cb181d",
    "hung": "#7a0177",
    "restarting": "#fdae6b",
    "given up": "#252525",
}
_MARKS = {
    "worker_died": "#cb181d",
    "worker_hung": "#7a0177",
    "gave_up": "#252525",
    "restart": "#f16913",
    "simulation_died": "#000000",
    "engine_died": "#e7298a",
    "log_died": "#a6761d",
    "version_took_over": "#238b45",
    "workers_changed": "#807dba",
}
_STEERING = "#08519c"
_SITE_COLOURS = {
    IN_SITU: colour(INFERRED),
    IN_TRANSIT: colour(HANDED_OVER),
    MIGRATING: "#f0c808",
    ABORTED: "#999999",
    CATCHING_UP: "#009e73",
}
_LANE = "answered"


def over_time(run: RunFiles) -> Figure:
    """Workers, frames per second by outcome, latency and queue, one below the other over the run's seconds."""
    spans = worker_spans(run)
    workers = sorted({span.worker for span in spans})
    sites = site_spans(run)
    lanes = max(0.5, 0.35 * (len(workers) + bool(sites)))
    figure = Figure(figsize=(10, 6.0 + lanes), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True, height_ratios=[lanes, 2, 2, 1.5])
    _draw_lanes(axes[0], spans, workers, sites)
    _draw_rates(axes[1], run.ledger)
    _draw_latency(axes[2], {"": run.ledger, "in transit ": run.transit.rows})
    _draw_queue(axes[3], run.ledger, run.transit.rows)
    for axis in axes:
        _draw_marks(axis, run)
        for span in sites:
            if span.who in (MIGRATING, ABORTED):
                axis.axvspan(span.start_s, span.end_s, color=_SITE_COLOURS[span.who], alpha=0.35, linewidth=0, zorder=0)
        axis.margins(x=0)
    happened = {event.event for event in run.events}
    lines = {name.replace("_", " "): line for name, line in _MARKS.items() if name in happened}
    if run.steered_s:
        lines["steered"] = _STEERING
    _legend(axes[3], [Line2D([], [], color=line, linestyle="--", label=name) for name, line in lines.items()])
    axes[3].set_xlim(0, max(run.end_s, 1e-3))
    axes[3].set_xlabel("seconds since the run's start")
    return figure


def _draw_lanes(axis: Axes, spans: Sequence[Span], workers: Sequence[str], sites: Sequence[SiteSpan]) -> None:
    names = [*workers, *([_LANE] if sites else [])]
    bars = [(span.worker, span.state, span.start_s, span.end_s, _STATE_COLOURS) for span in spans]
    bars += [(_LANE, span.who, span.start_s, span.end_s, _SITE_COLOURS) for span in sites]
    handles: dict[str, Patch] = {}
    for name, state, start_s, end_s, colours in bars:
        fill = colours.get(state, "#bbbbbb")
        axis.barh(names.index(name), end_s - start_s, left=start_s, height=0.7, color=fill)
        handles.setdefault(state, Patch(color=fill, label=state))
    axis.set_yticks(range(len(names)), [shown(name, 16) for name in names])
    axis.set_ylim(-0.6, max(len(names), 1) - 0.4)
    _legend(axis, [*handles.values()], columns=1 + (len(handles) > 4))
    title = "workers, and where frames were answered" if sites else "workers"
    axis.set_title(title if workers else "workers: no events of any", loc="left")


def _draw_rates(axis: Axes, ledger: Ledger) -> None:
    axis.set_title("frames published per second, by what became of them", loc="left")
    finite = np.isfinite(ledger.published_s)
    if not finite.any():
        return
    edges = _time_edges(ledger.published_s[finite])
    names = sorted(ledger.fate.counts(finite), key=severity)
    counts = [np.histogram(ledger.published_s[ledger.fate.where(name) & finite], edges)[0] for name in names]
    rates = np.cumsum([count / np.diff(edges) for count in counts], axis=0)
    below = np.zeros(len(edges) - 1)
    handles = []
    for name, above in zip(names, rates, strict=True):
        axis.stairs(above, edges, baseline=below, fill=True, color=colour(name))
        handles.append(Patch(color=colour(name), label=shown(name, 16)))
        below = above
    axis.set_ylim(bottom=0)
    _legend(axis, handles)


def _draw_latency(axis: Axes, answered: Mapping[str, Ledger]) -> None:
    """Of the rows in each of ``answered``, by how their lines are called."""
    axis.set_title("latency of the inferred frames", loc="left")
    good = {
        prefix: np.isfinite(rows.published_s) & np.isfinite(rows.latency_s) & (rows.latency_s > 0)
        for prefix, rows in answered.items()
    }
    if not any(some.any() for some in good.values()):
        return
    edges = _time_edges(np.concatenate([rows.published_s[good[prefix]] for prefix, rows in answered.items()]))
    for (prefix, rows), line in zip(answered.items(), ("#08519c", "#d95f02"), strict=True):
        if good[prefix].any():
            published_s, latency_s = rows.published_s[good[prefix]], rows.latency_s[good[prefix]]
            _draw_percentiles(axis, edges, published_s, latency_s, _Line(prefix, line))
    axis.set_yscale("log")
    name_seconds(axis, "y")
    _legend(axis)


class _Line(NamedTuple):
    """How lines are called and coloured."""

    prefix: str
    colour: str


def _draw_percentiles(
    axis: Axes, edges: NDArray[np.float64], times: NDArray[np.float64], latency: NDArray[np.float64], line: _Line
) -> None:
    place = np.clip(np.searchsorted(edges, times, "right") - 1, 0, len(edges) - 2)
    groups = [latency[place == bin_] for bin_ in range(len(edges) - 1)]
    middles = (edges[:-1] + edges[1:]) / 2
    for label, percentile, style in (("p50", 50, ".-"), ("p95", 95, ".--"), ("longest", 100, ".:")):
        # A gap where nothing was answered: a line across it would tell of latencies that nobody had.
        values = [np.percentile(group, percentile) if len(group) else np.nan for group in groups]
        axis.plot(middles, values, style, color=line.colour, markersize=3, linewidth=1.2, label=line.prefix + label)


def _draw_queue(axis: Axes, ledger: Ledger, transit: Ledger) -> None:
    """Where frames were handed over, those that waited in the log are drawn too."""
    axis.set_title("frames waiting for inference (those that were answered)", loc="left")
    waited = {}
    for label, rows, fill in (("in rings", ledger, "#9ecae9"), ("in the log", transit, "#fdae6b")):
        good = np.isfinite(rows.published_s) & np.isfinite(rows.queued_s)
        if good.any():
            waited[label, fill] = rows.published_s[good], rows.published_s[good] + rows.queued_s[good]
    if not waited:
        return
    published_s = np.concatenate([begins for begins, _ in waited.values()])
    edges = _time_edges(published_s, np.concatenate([published_s, *(ends for _, ends in waited.values())]))
    handles = []
    for (label, fill), (begins, ends) in waited.items():
        axis.stairs(_most_at_once(begins, ends, edges), edges, fill=True, color=fill, alpha=0.8)
        handles.append(Patch(color=fill, label=label))
    axis.set_ylim(bottom=0)
    if len(transit):
        axis.add_artist(axis.legend(handles=handles, loc="upper right", frameon=False, fontsize=7.5))


def _most_at_once(
    begins: NDArray[np.float64], ends: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Within each bin, most of what lasts from ``begins`` to ``ends`` at any moment."""
    times = np.concatenate([begins, ends])
    order = np.argsort(times, kind="stable")
    depth = np.cumsum(np.concatenate([np.ones(len(begins)), -np.ones(len(ends))])[order])
    place = np.clip(np.searchsorted(edges, times[order], "right") - 1, 0, len(edges) - 2)
    most = np.zeros(len(edges) - 1)
    np.maximum.at(most, place, depth)
    return most


def _draw_marks(axis: Axes, run: RunFiles) -> None:
    marks = [(run.seconds(event), _MARKS[event.event]) for event in run.events if event.event in _MARKS]
    marks += [(seconds, _STEERING) for seconds in run.steered_s]
    for seconds, line in marks[:MOST_MARKS]:
        axis.axvline(seconds, color=line, linewidth=0.9, linestyle="--")


def _time_edges(published_s: NDArray[np.float64], within: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Edges of bins over ``within``, wide enough for about four steps each: narrower ones show a comb."""
    times = published_s if within is None else within
    low, high = float(times.min()), float(times.max())
    gaps = np.diff(np.unique(published_s))
    # Ranks publish a step at almost the same time; the wide gaps are those between steps.
    step_s = float(np.percentile(gaps, 95)) if len(gaps) else 1.0
    bins = int(np.clip((high - low) / (4 * step_s), 1, TIME_BINS)) if step_s > 0 else TIME_BINS
    return np.linspace(low, high if high > low else low + 1.0, bins + 1)


def _legend(axis: Axes, handles: Sequence[Artist] | None = None, columns: int = 1) -> None:
    placed: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False, "fontsize": 7.5}
    if handles is None:
        axis.legend(**placed)
    elif handles:
        axis.legend(handles=handles, ncols=columns, **placed)
