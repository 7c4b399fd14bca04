"""The report's largest figure: workers, rates, latency and queue over the seconds of the run."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from inference_insitu.watching.figures import name_seconds
from inference_insitu.watching.ledger_files import Ledger
from inference_insitu.watching.reasons import colour, severity, shown
from inference_insitu.watching.run_files import RunFiles
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
}
_STEERING = "#08519c"


def over_time(run: RunFiles) -> Figure:
    """Workers, frames per second by outcome, latency and queue, one below the other over the run's seconds."""
    spans = worker_spans(run)
    workers = sorted({span.worker for span in spans})
    lanes = max(0.5, 0.35 * len(workers))
    figure = Figure(figsize=(10, 6.0 + lanes), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True, height_ratios=[lanes, 2, 2, 1.5])
    _draw_lanes(axes[0], spans, workers)
    _draw_rates(axes[1], run.ledger)
    _draw_latency(axes[2], run.ledger)
    _draw_queue(axes[3], run.ledger)
    for axis in axes:
        _draw_marks(axis, run)
        axis.margins(x=0)
    happened = {event.event for event in run.events}
    lines = {name.replace("_", " "): line for name, line in _MARKS.items() if name in happened}
    if run.steered_s:
        lines["steered"] = _STEERING
    _legend(axes[3], [Line2D([], [], color=line, linestyle="--", label=name) for name, line in lines.items()])
    axes[3].set_xlim(0, max(run.end_s, 1e-3))
    axes[3].set_xlabel("seconds since the run's start")
    return figure


def _draw_lanes(axis: Axes, spans: Sequence[Span], workers: Sequence[str]) -> None:
    for span in spans:
        axis.barh(
            workers.index(span.worker), span.end_s - span.start_s, left=span.start_s, height=0.7,
            color=_STATE_COLOURS.get(span.state, "#bbbbbb"),
        )  # fmt: skip
    axis.set_yticks(range(len(workers)), [shown(name, 16) for name in workers])
    axis.set_ylim(-0.6, max(len(workers), 1) - 0.4)
    states = list(dict.fromkeys(span.state for span in spans))
    handles = [Patch(color=_STATE_COLOURS.get(state, "#bbbbbb"), label=state) for state in states]
    _legend(axis, handles)
    axis.set_title("workers" if workers else "workers: no events of any", loc="left")


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


def _draw_latency(axis: Axes, ledger: Ledger) -> None:
    axis.set_title("latency of the inferred frames", loc="left")
    good = np.isfinite(ledger.published_s) & np.isfinite(ledger.latency_s) & (ledger.latency_s > 0)
    if not good.any():
        return
    times, latency = ledger.published_s[good], ledger.latency_s[good]
    edges = _time_edges(times)
    place = np.clip(np.searchsorted(edges, times, "right") - 1, 0, len(edges) - 2)
    groups = [latency[place == bin_] for bin_ in range(len(edges) - 1)]
    middles = (edges[:-1] + edges[1:]) / 2
    for label, percentile, line in (("p50", 50, ".-"), ("p95", 95, ".--"), ("longest", 100, ".:")):
        # A gap where nothing was answered: a line across it would tell of latencies that nobody had.
        values = [np.percentile(group, percentile) if len(group) else np.nan for group in groups]
        axis.plot(middles, values, line, color="#08519c", markersize=3, linewidth=1.2, label=label)
    axis.set_yscale("log")
    name_seconds(axis, "y")
    _legend(axis)


def _draw_queue(axis: Axes, ledger: Ledger) -> None:
    axis.set_title("frames waiting for inference (those that were answered)", loc="left")
    good = np.isfinite(ledger.published_s) & np.isfinite(ledger.queued_s)
    if not good.any():
        return
    begins, ends = ledger.published_s[good], ledger.published_s[good] + ledger.queued_s[good]
    times = np.concatenate([begins, ends])
    order = np.argsort(times, kind="stable")
    depth = np.cumsum(np.concatenate([np.ones(len(begins)), -np.ones(len(ends))])[order])
    edges = _time_edges(ledger.published_s[good], times)
    place = np.clip(np.searchsorted(edges, times[order], "right") - 1, 0, len(edges) - 2)
    most = np.zeros(len(edges) - 1)
    np.maximum.at(most, place, depth)
    axis.stairs(most, edges, fill=True, color="#9ecae9")
    axis.set_ylim(bottom=0)


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


def _legend(axis: Axes, handles: Sequence[Artist] | None = None) -> None:
    if handles is None:
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=7.5)
    elif handles:
        axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=7.5)
