"""The report's figures, each as a data URI for an ``<img>``, in which nothing can run.

No text is read as mathematics: a stream may be called ``$x$``.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from inference_insitu.books.outcomes import INFERRED
from inference_insitu.watching.answers_files import Series
from inference_insitu.watching.ledger_files import Ledger
from inference_insitu.watching.reasons import colour, severity, shown

MOST_COLUMNS = 1200
MOST_RANK_ROWS = 256
MOST_STREAMS = 6
MOST_POINTS = 20_000
_LINES = ("#08519c", "#d95f02", "#238b45", "#7a0177", "#a6761d", "#666666")
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "axes.titlesize": 9,
    "svg.hashsalt": "cdi",
    "axes.unicode_minus": False,
}


@contextmanager
def plain_style() -> Iterator[None]:
    """Within it figures are drawn and written as the report wants them, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def data_uri(figure: Figure, kind: str = "svg") -> str:
    """``figure`` as ``data:image/…``, ``kind`` ``svg`` or ``png``."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=110, metadata=metadata)
    mime = "svg+xml" if kind == "svg" else "png"
    return f"data:image/{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def latency_histogram(ledger: Ledger) -> Figure:
    """Latencies of the inferred frames by stream, and the parts they consist of, on a logarithmic axis."""
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    inferred = ledger.fate.where(INFERRED)
    streams = {shown(name, 30): ledger.latency_s[inferred & ledger.stream.where(name)] for name in _streams(ledger)}
    _draw_histograms(left, streams, "latency by stream")
    parts = {"waiting": ledger.queued_s[inferred], "inference": ledger.inferred_s[inferred]}
    _draw_histograms(right, parts, "what it consists of")
    left.set_ylabel("frames")
    return figure


def timeline(ledger: Ledger) -> Figure:
    """What became of each frame: steps along x, ranks along y, one picture a stream."""
    streams = _streams(ledger)
    present = sorted(ledger.fate.counts(), key=severity)
    order = {name: place for place, name in enumerate(present)}
    place_of_code = np.array([order.get(name, -1) for name in ledger.fate.names], np.int64)
    ranks = min(len(np.unique(ledger.rank)), MOST_RANK_ROWS)
    height = min(4.0, 0.7 + 0.06 * ranks)
    figure = Figure(figsize=(10, height * len(streams) + 0.9), layout="constrained")
    axes = figure.subplots(len(streams), 1, squeeze=False)[:, 0]
    colours = ListedColormap([colour(name) for name in present]).with_extremes(bad="#f4f4f4")
    for axis, name in zip(axes, streams, strict=True):
        rows = ledger.stream.where(name)
        steps, step_place = _places(ledger.step[rows], MOST_COLUMNS)
        rank_names, rank_place = _places(ledger.rank[rows], MOST_RANK_ROWS)
        grid = np.full((len(rank_names), len(steps)), -1, np.int64)
        np.maximum.at(grid, (rank_place, step_place), place_of_code[ledger.fate.codes[rows]])
        axis.imshow(
            np.ma.masked_less(grid, 0),
            cmap=colours,
            vmin=-0.5,
            vmax=len(present) - 0.5,
            aspect="auto",
            interpolation="nearest",
            origin="lower",
        )
        _name_ticks(axis, steps, rank_names)
        axis.set_title(shown(name), loc="left")
    axes[-1].set_xlabel("step")
    handles = [Patch(color=colour(name), label=shown(name, 30)) for name in present]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(7, len(handles)), frameon=False)
    return figure


def answers_over_steps(series: Sequence[Series]) -> Figure:
    """Numbers that the analyses said, one small picture for each name, a line for each stream."""
    names = list(dict.fromkeys(item.name for item in series))[:MOST_STREAMS]
    figure = Figure(figsize=(10, 1.9 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
    for axis, name in zip(axes, names, strict=True):
        chosen = [item for item in series if item.name == name][:MOST_STREAMS]
        for item, line in zip(chosen, _LINES, strict=False):
            step, value = _thinned(item.step, item.value)
            label = f"{shown(item.stream, 30)} ({shown(item.analysis, 30)})"
            axis.plot(step, value, ".", markersize=2.5, color=line, label=label)
        axis.set_title(shown(name), loc="left")
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, markerscale=3)
    axes[-1].set_xlabel("step")
    return figure


def _draw_histograms(axis: Axes, values: dict[str, NDArray[np.float64]], title: str) -> None:
    axis.set_title(title, loc="left")
    positive = {name: found[np.isfinite(found) & (found > 0)] for name, found in values.items()}
    everything = np.concatenate([np.zeros(0), *positive.values()])
    if not len(everything):
        return
    low, high = everything.min(), everything.max()
    edges = np.geomspace(low, max(high, low * 1.1) * 1.0001, 60)
    for (name, found), line in zip(positive.items(), _LINES, strict=False):
        axis.stairs(np.histogram(found, edges)[0], edges, label=name, color=line, linewidth=1.3)
    axis.set_xscale("log")
    name_seconds(axis, "x")
    axis.legend(frameon=False)


def _streams(ledger: Ledger) -> list[str]:
    """The streams that have room in a figure, those with most frames."""
    counts = ledger.stream.counts()
    return sorted(counts, key=lambda name: -counts[name])[:MOST_STREAMS]


def _places(values: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first value of each cell, and the cell of each of ``values``: at most ``most`` cells of equal shares."""
    distinct, place = np.unique(values, return_inverse=True)
    cells = min(len(distinct), most)
    cell = place * cells // max(len(distinct), 1)
    firsts = distinct[-(-np.arange(cells) * len(distinct) // max(cells, 1))]
    return firsts, cell


def _thinned(step: NDArray[np.float64], value: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(step) <= MOST_POINTS:
        return step, value
    # By chance: every n-th answer may be that of one rank.
    chosen = np.sort(np.random.default_rng(0).choice(len(step), MOST_POINTS, replace=False))
    return step[chosen], value[chosen]


def _name_ticks(axis: Axes, steps: NDArray[np.int64], ranks: NDArray[np.int64]) -> None:
    at = np.unique(np.linspace(0, len(steps) - 1, min(8, len(steps))).astype(int))
    axis.set_xticks(at, [str(steps[place]) for place in at])
    at = np.unique(np.linspace(0, len(ranks) - 1, min(5, len(ranks))).astype(int))
    axis.set_yticks(at, [str(ranks[place]) for place in at])
    axis.set_ylabel("rank")


def name_seconds(axis: Axes, which: str) -> None:
    """Write the logarithmic axis ``x`` or ``y`` in seconds and milliseconds, without powers of ten."""
    side = axis.xaxis if which == "x" else axis.yaxis
    side.set_major_locator(LogLocator(subs=(1, 2, 5) if _decades(axis, which) < 2.5 else (1,)))
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 1e3:g} ms" if value < 1 else f"{value:g} s"))
    side.set_minor_formatter(NullFormatter())


def _decades(axis: Axes, which: str) -> float:
    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    return float(np.log10(high / low)) if low > 0 else 3.0
