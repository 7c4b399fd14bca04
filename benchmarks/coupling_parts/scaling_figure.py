"""Latency and losses over the number of ranks, and where it breaks, as one picture."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scaling_model as model
from scaling_case import Case, World
from scaling_events import STEADY, frames_of, play

from inference_insitu.ring.policies import PolicyConfig

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "scaling.png"
WORKERS = 16
COLOURS = {"cores": "#1f6f8b", "nodes": "#c8553d"}
LINES = {"cores": "-", "nodes": (0, (4, 3))}
MOST_SERVED = 400


def figure(loads: Mapping[str, tuple[World, float]], seed: int) -> Path:
    """Draw it; for each load a row: latency, share without an answer, break point over the workers."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    drawing, axes = plt.subplots(len(loads), 3, figsize=(12.5, 3.6 * len(loads)), squeeze=False, layout="constrained")
    for row, (name, (world, period_s)) in zip(axes, loads.items(), strict=True):
        for placement in ("cores", "nodes"):
            _draw(row, Case(1, period_s, placement, PolicyConfig(kind="latest"), calls=10), world, seed)
        ranks = f"simulation ranks N (M = {WORKERS} workers)"
        row[0].set(xlabel=ranks, ylabel="latency / s", title=f"{name}: a frame each {period_s:g} s")
        row[1].set(xlabel=ranks, ylabel="share without an answer", title="policy latest")
        row[2].set(xlabel="workers M", ylabel="break point N*", title="most ranks that M workers keep up with")
        row[2].axhline(1e4, color="grey", lw=0.8)
        for panel in row:
            panel.grid(alpha=0.25)
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.legend(fontsize=7, frameon=False)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(PICTURE, dpi=110)
    plt.close(drawing)
    return PICTURE.relative_to(PICTURE.parents[2])


def _draw(row: Any, case: Case, world: World, seed: int) -> None:
    colour, name = COLOURS[case.placement], case.placement
    line = {"color": colour, "ls": LINES[name]}
    most = min(MOST_SERVED, world.machine.node_cores - 1) if name == "cores" else MOST_SERVED
    limit = model.largest_served(case, world)
    around = {max(1, round(limit * share)) for share in np.geomspace(0.04, 2.0, 9)}
    cases = [replace(case, served=served) for served in sorted(around) if served <= most]
    found = [play(one, world, frames=frames_of(one), seed=seed, counted=STEADY) for one in cases]
    total = [WORKERS * one.served for one in cases]
    row[0].loglog(total, [one.latency(50) for one in found], **line, label=f"{name}, median")
    row[0].loglog(total, [one.latency(99) for one in found], color=colour, ls=":", label=f"{name}, 99th percentile")
    row[1].semilogx(total, [one.drop_fraction for one in found], **line, marker=".", label=f"{name}, events")
    row[1].semilogx(
        total, [model.drop_fraction(one, world) for one in cases], color=colour, ls=":", label=f"{name}, paper"
    )
    for panel in row[:2]:
        panel.axvline(WORKERS * limit, color="grey", lw=0.8)
    workers = np.unique(np.geomspace(1, 4096, 13).astype(int))
    points = [model.break_point(case, world, int(each)) for each in workers]
    ends = " then ".join(dict.fromkeys(what for _, what in points))
    row[2].loglog(workers, [ranks for ranks, _ in points], **line, label=f"{name}: {ends}")
