"""The picture of a run: load, answers and truth over time; patterns and lines at three steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np

from inference_insitu.inference.results import StoredResult, read_results
from inference_insitu.lammps import folder
from inference_insitu.lammps.compression import LoadReading
from inference_insitu.lammps.config import InsituConfig
from inference_insitu.lammps.dxa import Analysis, read_analyses
from models.prediction import CLASSES

PREDICTED, TRUE, LOAD = "#c2410c", "#1d4ed8", "#374151"
CLASS_COLOURS = dict(zip(CLASSES, ("#d1d5db", "#0f766e", "#7c3aed", "#d97706", "#be123c", "#0369a1"), strict=True))
TITLES = ("before", "at", "after")


def draw_run(output: Path, config: InsituConfig) -> Path:
    """Draw the run in ``output`` from its files; path of the PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    results, analyses = read_results(output), read_analyses(output)
    readings = folder.read_load_curve(output / folder.LOAD)
    onset = onset_step(results, analyses, minimum_length_A=config.truth.minimum_length_A)
    with mpl.rc_context({"font.size": 9, "axes.spines.right": False, "axes.spines.top": False}):
        figure = Figure(figsize=(17, 8), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = cast(Any, figure).subfigures(1, 2, width_ratios=(1.0, 1.45), wspace=0.02)
        _draw_history(left, readings, results, analyses, onset, config)
        _draw_moments(right, results, analyses, onset, config)
        figure.suptitle(_title(config), fontsize=11)
        path = output / folder.PICTURE
        figure.savefig(path, dpi=110)
    return path


def onset_step(results: Sequence[StoredResult], analyses: Sequence[Analysis], *, minimum_length_A: float) -> int | None:
    """First step with dislocations: of the truth where there is one, else of the predictions."""
    if analyses:
        return next((analysis.step for analysis in analyses if analysis.length_A >= minimum_length_A), None)
    return next((result.step for result in results if result.defect_probability >= 0.5), None)


def chosen_results(
    results: Sequence[StoredResult], onset: int | None, analyses: Sequence[Analysis] = ()
) -> list[StoredResult]:
    """Three results to look at: before, at, and after ``onset``; evenly spread where there is none.

    "After" is the step with the longest lines where there is a truth, else the last.
    """
    if not results:
        return []
    if onset is None:
        return [results[round(i * (len(results) - 1))] for i in (0, 0.5, 1)]
    before = [result for result in results if result.step < onset] or [results[0]]
    since = [result for result in results if result.step >= onset] or [results[-1]]
    length = {analysis.step: analysis.length_A for analysis in analyses}
    richest = max(since, key=lambda result: (length.get(result.step, 0.0), result.step))
    return [before[-1], since[0], richest]


def _title(config: InsituConfig) -> str:
    crystal, load, pattern = config.crystal, config.load, config.pattern
    axis, reflection = ("".join(map(str, indices)) for indices in (crystal.axis, pattern.reflection))
    return (
        f"{crystal.element} sphere of {2 * crystal.radius_A / 10:.1f} nm compressed along [{axis}] "
        f"at {load.temperature_K:g} K ({crystal.potential}): what the network says of its {reflection} Bragg pattern"
    )


def _draw_history(
    figure: Any,
    readings: Sequence[LoadReading],
    results: Sequence[StoredResult],
    analyses: Sequence[Analysis],
    onset: int | None,
    config: InsituConfig,
) -> None:
    dt = config.load.timestep_ps
    axes = figure.subplots(4, 1, sharex=True, height_ratios=(1.3, 1, 1, 0.5))
    for axis in axes:
        if onset is not None:
            axis.axvline(onset * dt, color="#9ca3af", lw=1, ls="--", zorder=0)
    _draw_load(axes[0], readings, onset, bool(analyses), dt)
    _draw_probability(axes[1], results, analyses, config)
    _draw_count(axes[2], results, analyses, dt)
    _draw_classes(axes[3], results, analyses, dt)
    axes[3].set_xlabel("time (ps)")
    axes[0].set_xlim(0, config.load.steps * dt)


def _draw_load(axis: Any, readings: Sequence[LoadReading], onset: int | None, truth: bool, dt: float) -> None:
    axis.plot([r.time_ps for r in readings], [r.load_nN for r in readings], color=LOAD, lw=1.4)
    axis.set_ylabel("load (nN)")
    # Headroom for the label of the onset.
    axis.set_ylim(0, 1.2 * max([r.load_nN for r in readings], default=1.0) or 1.0)
    if len(readings) > 1:
        time, strain = [r.time_ps for r in readings], [100 * r.strain for r in readings]
        rate = (strain[-1] - strain[0]) / (time[-1] - time[0])
        start = strain[0] - rate * time[0]
        top = axis.secondary_xaxis("top", functions=(lambda t: start + rate * t, lambda e: (e - start) / rate))
        top.set_xlabel("closing of the planes (% of the diameter)")
    if onset is not None:
        label = "first dislocation (DXA)" if truth else "first predicted dislocation"
        axis.annotate(label, (onset * dt, 0.97), xycoords=("data", "axes fraction"), xytext=(-4, 0),
                      textcoords="offset points", ha="right", va="top", color="#6b7280")  # fmt: skip


def _draw_probability(
    axis: Any, results: Sequence[StoredResult], analyses: Sequence[Analysis], config: InsituConfig
) -> None:
    dt = config.load.timestep_ps
    axis.axhline(0.5, color="#9ca3af", lw=0.8, ls=":")
    time = np.array([r.step for r in results]) * dt
    probability = np.array([r.defect_probability for r in results])
    open_ = np.array([r.undetermined for r in results], bool)
    axis.plot(time, probability, color=PREDICTED, lw=1)
    axis.scatter(time[~open_], probability[~open_], s=16, color=PREDICTED, label="predicted", zorder=3)
    if open_.any():
        axis.scatter(
            time[open_],
            probability[open_],
            s=16,
            facecolor="white",
            edgecolor=PREDICTED,
            zorder=3,
            label="undetermined",
        )
    if analyses:
        least = config.truth.minimum_length_A
        found = [float(analysis.length_A >= least) for analysis in analyses]
        axis.step([a.step * dt for a in analyses], found, where="post", color=TRUE, lw=1.4, label="DXA")
    axis.set_ylim(-0.05, 1.05)
    axis.set_ylabel("P(dislocated)")
    axis.legend(**_beside())


def _draw_count(axis: Any, results: Sequence[StoredResult], analyses: Sequence[Analysis], dt: float) -> None:
    axis.plot(
        [r.step * dt for r in results], [r.count for r in results], "o-", ms=4, lw=1, color=PREDICTED, label="predicted"
    )
    if analyses:
        axis.step([a.step * dt for a in analyses], [a.count for a in analyses], where="post", color=TRUE, lw=1.4,
                  label="DXA (partials\ncount singly)")  # fmt: skip
    axis.set_ylabel("dislocation lines")
    axis.set_ylim(bottom=-0.3)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.legend(**_beside())


def _draw_classes(axis: Any, results: Sequence[StoredResult], analyses: Sequence[Analysis], dt: float) -> None:
    from matplotlib.patches import Patch

    rows = [("predicted", [(r.step, r.defect_class) for r in results])]
    if analyses:
        rows.append(("DXA", [(a.step, a.defect_class) for a in analyses]))
    for row, (_, entries) in enumerate(rows):
        steps = np.array([step for step, _ in entries], float) * dt
        if not len(steps):
            continue
        widths = np.diff(np.append(steps, steps[-1] + (steps[-1] - steps[-2] if len(steps) > 1 else dt)))
        axis.barh(
            [-row] * len(steps), widths, left=steps, height=0.7, color=[CLASS_COLOURS[name] for _, name in entries]
        )
    axis.set_yticks([-row for row in range(len(rows))], [name for name, _ in rows])
    axis.set_ylim(-len(rows) + 0.5, 0.5)
    axis.legend(handles=[Patch(color=colour, label=name) for name, colour in CLASS_COLOURS.items()], **_beside())


def _beside() -> dict[str, Any]:
    return {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False, "fontsize": 8}


def _draw_moments(
    figure: Any, results: Sequence[StoredResult], analyses: Sequence[Analysis], onset: int | None, config: InsituConfig
) -> None:
    chosen = chosen_results(results, onset, analyses)
    truth = {analysis.step: analysis for analysis in analyses}
    if not chosen:
        figure.text(0.5, 0.5, "no result", ha="center")
        return
    axes = figure.subplots(2, len(chosen))
    for column, (result, when) in enumerate(zip(chosen, TITLES, strict=True)):
        time = f"step {result.step}, {result.step * config.load.timestep_ps:.2f} ps"
        image = _draw_pattern(axes[0, column], result)
        axes[0, column].set_title(f"{when} the first dislocation\n{time}" if onset is not None else time, fontsize=9)
        _draw_lines(axes[1, column], result, truth.get(result.step), config)
    figure.colorbar(image, ax=axes[0, :].tolist(), shrink=0.75, label="photons", pad=0.01)
    for axis in axes[:, 1:].ravel():
        axis.set_ylabel("")
    _legend(axes[1, -1], bool(analyses))


def _draw_pattern(axis: Any, result: StoredResult) -> Any:
    """Slice of the counted pattern through its centre, the plane of the load axis (vertical)."""
    from matplotlib.colors import LogNorm

    counts = result.counts[:, result.counts.shape[1] // 2, :]
    half = [n * np.linalg.norm(result.q_step[i]) / 2 for i, n in ((0, counts.shape[0]), (2, counts.shape[1]))]
    image = axis.imshow(
        np.where(counts > 0, counts, np.nan).T,
        origin="lower",
        norm=LogNorm(1, max(10.0, float(result.counts.max()))),
        extent=(-half[0], half[0], -half[1], half[1]),
        cmap="magma",
    )
    axis.set_facecolor("black")
    axis.set_xlabel("q$_x$ − peak (Å$^{-1}$)")
    axis.set_ylabel("q$_z$ − peak (Å$^{-1}$)")
    return image


def _draw_lines(axis: Any, result: StoredResult, truth: Analysis | None, config: InsituConfig) -> None:
    """Predicted line density seen along y, with the predicted lines and those of DXA."""
    density = result.line_density.max(1)
    half = [n * np.linalg.norm(result.voxel[i]) / 2 for i, n in ((0, density.shape[0]), (2, density.shape[1]))]
    shift = [np.linalg.norm(result.voxel[i]) / 2 for i in (0, 2)]
    extent = (-half[0] - shift[0], half[0] - shift[0], -half[1] - shift[1], half[1] - shift[1])
    axis.imshow(density.T, origin="lower", extent=extent, cmap="Oranges", vmin=0, vmax=1)
    for line in truth.lines if truth else ():
        points = np.asarray(line.points_A)
        axis.plot(points[:, 0], points[:, 2], color=TRUE, lw=1.3)
    for line in result.prediction["lines"]:
        points = np.asarray(line["points_A"])
        axis.plot(points[:, 0], points[:, 2], color=PREDICTED, lw=2.2)
    reach = config.crystal.radius_A
    angle = np.linspace(0, 2 * np.pi, 200)
    axis.plot(reach * np.cos(angle), reach * np.sin(angle), color="#9ca3af", lw=0.8, ls="--")
    axis.set_xlim(-1.25 * reach, 1.25 * reach)
    axis.set_ylim(-1.25 * reach, 1.25 * reach)
    axis.set_xlabel("x (Å)")
    axis.set_ylabel("z, load axis (Å)")
    found = f"DXA: {_lines(truth.count)}, {truth.length_A:.0f} Å in all\n" if truth else ""
    said = f"predicted: {_lines(result.count)}, P = {result.defect_probability:.2f}"
    axis.set_title(found + said, fontsize=9)


def _lines(count: int) -> str:
    return f"{count} line{'' if count == 1 else 's'}"


def _legend(axis: Any, truth: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=PREDICTED, lw=2.2, label="predicted line (up to the twin r → −r)"),
        Patch(color="#fdba74", label="predicted line density, maximum along y"),
        Line2D([], [], color="#9ca3af", lw=0.8, ls="--", label="sphere before loading"),
    ]
    if truth:
        handles.insert(1, Line2D([], [], color=TRUE, lw=1.3, label="DXA"))
    axis.figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
