"""Drawing primitives for patterns, objects and dislocation lines, each onto a given matplotlib Axes.

Figures are built without pyplot, on the Agg canvas: no window, no global state, safe in any
process. matplotlib is imported on first use. Free of torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdi.grid import QGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

AXIS_NAMES = ("x", "y", "z")
PLANES = ((0, 1), (0, 2), (1, 2))
"""Axes (horizontal, vertical) of the three central slices."""

INTENSITY_COLOURS, PHASE_COLOURS, SUPPORT_COLOURS = "inferno", "twilight", "Greys"
LINE_COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b")
MASKED_COLOUR = "#5f7f7f"


def new_figure(width: float = 10.0, height: float = 3.6) -> "Figure":
    """An empty figure of ``width`` × ``height`` inches that lays itself out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: str | Path, *, dpi: int = 150) -> None:
    """Write ``figure`` as PNG, whatever the name of ``path``."""
    figure.savefig(path, dpi=dpi, format="png")


def draw_intensity_slice(
    axes: "Axes",
    intensity: NDArray[Any],
    plane: tuple[int, int],
    *,
    grid: QGrid | None = None,
    mask: NDArray[np.bool_] | None = None,
    decades: float | None = None,
) -> "AxesImage":
    """Central slice of ``intensity`` (x, y, z), logarithmic over ``decades``, in a square panel.

    Axes run along the grid's own directions in Å⁻¹ from the centre, or in voxels without a
    ``grid``. By default photon counts go down to one photon, an ideal intensity over seven decades.
    """
    from matplotlib.colors import LogNorm

    top = float(intensity.max())
    low = 10 ** (np.log10(top) - decades) if decades is not None else _lowest(intensity)
    hidden = np.zeros(intensity.shape, bool) if mask is None else ~mask
    shown = np.ma.masked_array(np.maximum(intensity, low), mask=hidden)
    image = _draw_slice(axes, shown, plane, norm=LogNorm(low, top), cmap=_with_bad(INTENSITY_COLOURS))
    spans = None if grid is None else np.linalg.norm(grid.step, axis=1)
    _label_slice(axes, image, intensity.shape, plane, spans, "δq along {} (Å⁻¹)")
    axes.set_aspect("auto")
    axes.set_box_aspect(1)
    return image


def draw_phase_slice(
    axes: "Axes",
    phase: NDArray[Any],
    support: NDArray[Any],
    plane: tuple[int, int],
    *,
    voxel: NDArray[np.float64] | None = None,
) -> "AxesImage":
    """Central slice of ``phase`` (radians, wrapped) where ``support`` exceeds one half.

    Axes run along the voxel vectors (``voxel`` (3, 3) in Å, row i along axis i), or in voxels;
    they zoom to the support.
    """
    wrapped = np.angle(np.exp(1j * np.asarray(phase, np.float64)))
    shown = np.ma.masked_array(wrapped, mask=np.asarray(support) <= 0.5)
    image = _draw_slice(axes, shown, plane, cmap=_with_bad(PHASE_COLOURS, "white"), vmin=-np.pi, vmax=np.pi)
    _label_object(axes, image, support, plane, voxel)
    return image


def draw_support_slice(
    axes: "Axes", support: NDArray[Any], plane: tuple[int, int], *, voxel: NDArray[np.float64] | None = None
) -> "AxesImage":
    """Central slice of ``support`` (x, y, z) in [0, 1], zoomed to it."""
    image = _draw_slice(axes, support, plane, cmap=SUPPORT_COLOURS, vmin=0, vmax=1.4)
    _label_object(axes, image, support, plane, voxel)
    return image


def draw_lines(
    axes: "Axes",
    lines: Sequence[NDArray[np.float64]],
    plane: tuple[int, int],
    *,
    outline: NDArray[np.float64] | None = None,
    labels: Sequence[str] | None = None,
    style: str = "-",
) -> None:
    """Polylines ``(n, 3)`` in Å projected along the third axis, over the shadow of the crystal.

    ``outline`` (m, 3) Å are points of the crystal (vertices, atoms or voxels); their projected
    convex hull is shaded.
    """
    if outline is not None:
        _shade_hull(axes, np.asarray(outline)[:, list(plane)])
    for number, points in enumerate(lines):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        label = labels[number] if labels is not None else None
        axes.plot(points[:, plane[0]], points[:, plane[1]], style, color=colour, lw=2, label=label)
    axes.set_aspect("equal")
    axes.margins(0.08)
    axes.set_xlabel(f"{AXIS_NAMES[plane[0]]} (Å)")
    axes.set_ylabel(f"{AXIS_NAMES[plane[1]]} (Å)")


def support_points(support: NDArray[Any], voxel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions ``(m, 3)`` in Å of the voxels inside ``support``, index ``N // 2`` at the origin."""
    index = np.argwhere(np.asarray(support) > 0.5) - np.array([n // 2 for n in support.shape])
    return np.asarray(index @ voxel)


def draw_pattern(
    figure: "Figure", intensity: NDArray[Any], *, grid: QGrid | None = None, mask: NDArray[np.bool_] | None = None,
    unit: str = "electrons²",
) -> None:  # fmt: skip
    """Three central slices of a pattern with one colour bar."""
    panels = figure.subplots(1, 3)
    for axes, plane in zip(panels, PLANES, strict=True):
        image = draw_intensity_slice(axes, intensity, plane, grid=grid, mask=mask)
    figure.colorbar(image, ax=panels, label=f"intensity ({unit})", shrink=0.8, pad=0.01)


def save_pattern_picture(
    path: str | Path,
    intensity: NDArray[Any],
    *,
    grid: QGrid | None = None,
    mask: NDArray[np.bool_] | None = None,
    unit: str = "electrons²",
    title: str = "",
    lines: Sequence[NDArray[np.float64]] = (),
    outline: NDArray[np.float64] | None = None,
) -> None:
    """Picture of a pattern; with ``outline`` (m, 3) Å a second row shows crystal and ``lines``."""
    figure = new_figure(11, 3.5 if outline is None else 6.8)
    parts = figure.subfigures(1 if outline is None else 2, 1, squeeze=False)[:, 0]
    draw_pattern(parts[0], intensity, grid=grid, mask=mask, unit=unit)
    if outline is not None:
        for axes, plane in zip(parts[1].subplots(1, 3), PLANES, strict=True):
            draw_lines(axes, lines, plane, outline=outline)
    figure.suptitle(title)
    save_figure(figure, path)


def _lowest(intensity: NDArray[Any]) -> float:
    top = float(intensity.max())
    counted = top < 1e7 and np.array_equal(intensity, np.round(intensity))
    return min(0.8, top / 10) if counted else top * 1e-7


def _with_bad(name: str, colour: str = MASKED_COLOUR) -> Any:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=colour)


def _draw_slice(axes: "Axes", volume: NDArray[Any], plane: tuple[int, int], **options: Any) -> "AxesImage":
    """The slice through index ``N // 2`` of the axis that ``plane`` leaves out, its first axis to the right."""
    across = ({0, 1, 2} - set(plane)).pop()
    section = np.ma.asarray(volume).take(volume.shape[across] // 2, axis=across)
    return axes.imshow(section.T, origin="lower", interpolation="nearest", **options)


def _label_object(
    axes: "Axes", image: "AxesImage", support: NDArray[Any], plane: tuple[int, int], voxel: NDArray[Any] | None
) -> None:
    spans = None if voxel is None else np.linalg.norm(voxel, axis=1)
    _label_slice(axes, image, support.shape, plane, spans, "along {} (Å)")
    inside = np.argwhere(np.asarray(support) > 0.5) - np.array([n // 2 for n in support.shape])
    if len(inside):
        reach = (np.abs(inside).max(0) + 3) * (np.ones(3) if spans is None else spans)
        axes.set_xlim(-reach[plane[0]], reach[plane[0]])
        axes.set_ylim(-reach[plane[1]], reach[plane[1]])


def _label_slice(
    axes: "Axes", image: "AxesImage", shape: tuple[int, ...], plane: tuple[int, int],
    spans: NDArray[np.float64] | None, label: str,
) -> None:  # fmt: skip
    """Edges of the image in units of ``spans`` (3,) per voxel, or in voxels; few ticks."""
    from matplotlib.ticker import MaxNLocator

    edges: list[float] = []
    for axis in plane:
        low, span = -(shape[axis] // 2) - 0.5, 1.0 if spans is None else float(spans[axis])
        edges += [low * span, (low + shape[axis]) * span]
    image.set_extent((edges[0], edges[1], edges[2], edges[3]))
    names = [(label if spans is not None else "{} (voxels)").format(AXIS_NAMES[axis]) for axis in plane]
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    for ticks in (axes.xaxis, axes.yaxis):
        ticks.set_major_locator(MaxNLocator(5))


def _shade_hull(axes: "Axes", points: NDArray[np.float64]) -> None:
    from scipy.spatial import ConvexHull

    corners = points[ConvexHull(points).vertices]
    axes.fill(corners[:, 0], corners[:, 1], facecolor="0.92", edgecolor="0.5", lw=1, zorder=0)
