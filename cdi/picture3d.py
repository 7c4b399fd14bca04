"""Crystals in three dimensions as still pictures (matplotlib). Free of torch; matplotlib is imported on first use."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdi.drawn_crystal import DrawnCrystal
from cdi.picture import LINE_COLOURS, PHASE_COLOURS, new_figure, save_figure
from cdi.surface import Surface

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d import Axes3D

LIGHT = np.array([0.4, -0.7, 0.6])
LIGHT = LIGHT / np.linalg.norm(LIGHT)
AMBIENT = 0.55
VIEWS = ((22.0, -58.0), (22.0, 32.0))
"""Elevation and azimuth in degrees of the two sides that are shown."""


def crystal_figure(drawn: DrawnCrystal) -> "Figure":
    """Phase on the surface from two sides for each reflection, then the lines within a crystal of glass."""
    with_phase = [name for name, surface in drawn.surfaces.items() if surface.phase is not None]
    rows = max(1, len(with_phase)) if with_phase or not drawn.lines else 0
    lines = bool(drawn.lines)
    figure = new_figure(10.5, 4.6 * (rows + lines))
    number = 0
    names = with_phase or list(drawn.surfaces)[:1]
    for name in names if rows else []:
        for view in VIEWS:
            number += 1
            axes = _axes(figure, rows + lines, number, drawn, view)
            draw_surface(axes, drawn.surfaces[name])
            axes.set_title(name, fontsize=10, y=0.98)
    for view in VIEWS if lines else ():
        number += 1
        axes = _axes(figure, rows + lines, number, drawn, view)
        for surface in list(drawn.surfaces.values())[:1]:
            draw_surface(axes, surface, glass=True)
        draw_lines(axes, drawn)
    if lines:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    if with_phase:
        _phase_bar(figure)
    figure.suptitle(drawn.title)
    return figure


def save_crystal_picture(drawn: DrawnCrystal, path: str | Path) -> None:
    """``crystal_figure`` as PNG."""
    save_figure(crystal_figure(drawn), path, dpi=120)


def draw_surface(axes: "Axes3D", surface: Surface, *, glass: bool = False) -> None:
    """``surface`` shaded by a light, coloured by its phase where it has one; or as glass that lines show through."""
    from matplotlib import colormaps
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    shade = (AMBIENT + (1 - AMBIENT) * np.abs(surface.normals @ LIGHT))[:, None]
    phase = surface.face_phase
    if glass or phase is None:
        colours: NDArray[Any] = np.tile([0.62, 0.7, 0.78], (len(surface.faces), 1))
    else:
        colours = colormaps[PHASE_COLOURS]((phase + np.pi) / (2 * np.pi))[:, :3]
    alpha = 0.13 if glass else 1.0
    faces = Poly3DCollection(
        surface.vertices[surface.faces], facecolors=np.c_[colours * shade, np.full(len(shade), alpha)],
        edgecolors="none", linewidths=0,
    )  # fmt: skip
    axes.add_collection3d(faces)


def draw_lines(axes: "Axes3D", drawn: DrawnCrystal) -> None:
    """The lines, each with its Burgers vector as an arrow (not to scale) where it is known."""
    for number, line in enumerate(drawn.lines):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        axes.plot(*line.points.T, color=colour, lw=2.2, label=line.label or f"line {number + 1}")
        arrow = drawn.arrow(line)
        if arrow is not None:
            start, end = arrow
            axes.quiver(*start, *(end - start), color=colour, lw=1.6, arrow_length_ratio=0.3)
            axes.text(*end, " b", color=colour, fontsize=11)


def _axes(figure: "Figure", rows: int, number: int, drawn: DrawnCrystal, view: tuple[float, float]) -> "Axes3D":
    from matplotlib.ticker import MaxNLocator

    axes: Axes3D = figure.add_subplot(rows, 2, number, projection="3d")
    low, high = drawn.bounds
    middle, half = (low + high) / 2, 0.55 * float((high - low).max())
    for name, centre in zip("xyz", middle, strict=True):
        getattr(axes, f"set_{name}lim")(centre - half, centre + half)
        getattr(axes, f"set_{name}label")(f"{name} ({drawn.unit})", fontsize=8)
        getattr(axes, f"{name}axis").set_tick_params(labelsize=7, pad=0)
        getattr(axes, f"{name}axis").set_major_locator(MaxNLocator(4))
    axes.set_box_aspect((1, 1, 1), zoom=0.9)
    axes.view_init(*view)
    return axes


def _phase_bar(figure: "Figure") -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    mappable = ScalarMappable(Normalize(-np.pi, np.pi), PHASE_COLOURS)
    figure.colorbar(mappable, ax=figure.axes, label="phase G·u (rad)", shrink=0.5, pad=0.02)
