"""Pictures in three dimensions that can be turned, in a notebook or on a page (plotly, optional group ``view``).

A plotly figure shows itself where a notebook cell ends with it; ``save_page`` writes one file that needs no network.
Free of torch.
"""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.drawn_crystal import DrawnCrystal, DrawnLine
from cdi.errors import optional_import
from cdi.grid import QGrid
from cdi.picture import LINE_COLOURS
from cdi.surface import Surface, isosurface

GLASS = 0.25
LEVELS = ((1.0, 0.9), (2.0, 0.35), (3.0, 0.12))
"""Decades below the maximum at which a pattern's surfaces lie, and their opacity."""
CAMERA = {"eye": {"x": 1.5, "y": -1.85, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.12}}
LARGEST_SIDE = 96
"""Voxels a side beyond which a pattern is binned for the picture: a browser turns some 10⁵ triangles."""


def crystal_scene(drawn: DrawnCrystal) -> Any:
    """A plotly figure: the crystal's surface with the phase of a reflection on it, lines and Burgers vectors within.

    A menu chooses the reflection, buttons make the surface solid or glass; the legend switches lines off.

    Raises
    ------
    MissingDependencyError
        If plotly is not installed.
    """
    go = _plotly()
    glass = bool(drawn.lines)
    meshes = [_mesh(go, name, surface, GLASS if glass else 1.0) for name, surface in drawn.surfaces.items()]
    for number, mesh in enumerate(meshes):
        mesh.visible = number == 0
    traces = [trace for number, line in enumerate(drawn.lines) for trace in _line(go, drawn, line, number)]
    figure = go.Figure([*meshes, *traces])
    axes = {f"{name}axis": {"title": {"text": f"{name} ({drawn.unit})"}} for name in "xyz"}
    figure.update_layout(
        title={"text": drawn.title, "x": 0.02, "y": 0.98, "yanchor": "top"},
        scene={**axes, "aspectmode": "data", "camera": CAMERA}, margin={"l": 0, "r": 0, "t": 84, "b": 0},
        legend={"y": 0.02, "x": 0.02, "bgcolor": "rgba(255,255,255,0.7)"}, uirevision="kept",
        updatemenus=_menus(meshes, len(traces), glass),
    )  # fmt: skip
    return figure


def pattern_scene(
    intensity: ArrayLike, grid: QGrid | None = None, mask: NDArray[np.bool_] | None = None, title: str = ""
) -> Any:
    """A plotly figure: surfaces of equal intensity, decades apart, in q from the centre or in voxels.

    Raises
    ------
    ValueError
        If there is no intensity.
    MissingDependencyError
        If plotly or scikit-image is not installed.
    """
    go = _plotly()
    volume = np.asarray(intensity, np.float64)
    counts = volume if mask is None else np.where(mask, volume, 0)
    if not counts.max() > 0:
        raise ValueError("intensity must not be all zero")
    step = np.eye(3) if grid is None else grid.step
    counts, factors, start = _coarse(counts)
    logarithm = np.log10(np.maximum(counts, 1e-30) / counts.max())
    unit = "voxels" if grid is None else "Å⁻¹"
    origin = (np.array(volume.shape) // 2 - start - (factors - 1) / 2) / factors
    traces: list[Any] = []
    for decades, opacity in LEVELS:
        surface = isosurface(np.maximum(logarithm + decades + 1, 0), 1.0, np.eye(3), centred=False)
        placed = Surface((surface.vertices - origin) * factors @ step, surface.faces)
        mesh = _mesh(go, f"10<sup>−{decades:g}</sup> of the maximum", placed, opacity)
        mesh.update(color=("#7a1fa2", "#e8743b", "#3b6fb6")[len(traces)], showlegend=True)
        traces.append(mesh)
    figure = go.Figure(traces)
    axes = {f"{name}axis": {"title": {"text": f"δq {name} ({unit})"}} for name in "xyz"}
    figure.update_layout(
        title=title, scene={**axes, "aspectmode": "data", "camera": CAMERA}, margin={"l": 0, "r": 0, "t": 44, "b": 0},
        legend={"y": 0.02, "x": 0.02},
    )  # fmt: skip
    return figure


def fragment(figure: Any, *, library: bool, height: int = 560) -> str:
    """``figure`` as HTML to stand in a page; ``library``: with plotly's own script, once a page."""
    text: str = figure.to_html(full_html=False, include_plotlyjs=library, default_height=f"{height}px")
    return text


def save_page(figures: Sequence[Any], path: str | Path, *, title: str) -> None:
    """One HTML file with ``figures`` below each other, which needs no network."""
    parts = [fragment(figure, library=number == 0, height=680) for number, figure in enumerate(figures)]
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
    style = "<style>body{font:16px system-ui,sans-serif;margin:1rem auto;max-width:70rem}</style></head><body>"
    Path(path).write_text(head + style + "\n".join(parts) + "</body></html>\n", encoding="utf-8")


def _plotly() -> Any:
    return optional_import("plotly.graph_objects", group="view", purpose="a picture that can be turned")


def _mesh(go: Any, name: str, surface: Surface, opacity: float) -> Any:
    x, y, z = surface.vertices.T
    i, j, k = surface.faces.T
    look: dict[str, Any] = {"color": "#9fb3c8"}
    if surface.phase is not None:
        bar = {"title": {"text": "phase (rad)"}, "len": 0.6}
        # By faces: between vertices the numbers would be interpolated through 0 where the phase wraps.
        look = {"intensity": surface.face_phase, "intensitymode": "cell", "colorscale": "twilight", "colorbar": bar}
        look |= {"cmin": -np.pi, "cmax": np.pi}
    lighting = {"ambient": 0.6, "diffuse": 0.6, "specular": 0.15, "roughness": 0.7}
    return go.Mesh3d(
        x=x, y=y, z=z, i=i, j=j, k=k, name=name, opacity=opacity, lighting=lighting, hoverinfo="name", **look
    )


def _line(go: Any, drawn: DrawnCrystal, line: DrawnLine, number: int) -> list[Any]:
    colour = LINE_COLOURS[number % len(LINE_COLOURS)]
    x, y, z = line.points.T
    name = line.label or f"line {number + 1}"
    group = f"line {number}"
    traces = [
        go.Scatter3d(x=x, y=y, z=z, mode="lines", line={"color": colour, "width": 8}, name=name, legendgroup=group)
    ]
    arrow = drawn.arrow(line)
    if arrow is not None:
        start, end = arrow
        along = (end - start) * 0.3
        shaft = np.stack([start, end])
        traces.append(go.Scatter3d(
            x=shaft[:, 0], y=shaft[:, 1], z=shaft[:, 2], mode="lines+text", text=["", "b"], legendgroup=group,
            line={"color": colour, "width": 5}, textfont={"color": colour, "size": 16}, showlegend=False,
            hoverinfo="skip",
        ))  # fmt: skip
        traces.append(go.Cone(
            x=end[:1], y=end[1:2], z=end[2:], u=along[:1], v=along[1:2], w=along[2:], anchor="tail", showscale=False,
            colorscale=[[0, colour], [1, colour]], sizemode="raw", sizeref=0.6, legendgroup=group, hoverinfo="skip",
        ))  # fmt: skip
    return traces


def _menus(meshes: list[Any], others: int, glass: bool) -> list[dict[str, Any]]:
    if not meshes:
        return []
    numbers = list(range(len(meshes)))
    looks = [
        {"label": label, "method": "restyle", "args": [{"opacity": opacity}, numbers]}
        for label, opacity in (("solid", 1.0), ("glass", GLASS), ("hidden", 0.0))
    ]
    menus: list[dict[str, Any]] = [
        {"type": "buttons", "direction": "right", "buttons": looks, "active": int(glass), "x": 0.0, "y": 1.0}
    ]
    if len(meshes) > 1:
        choices = [
            {
                "label": mesh.name, "method": "update",
                "args": [{"visible": [n == number for n in numbers] + [True] * others}],
            }
            for number, mesh in enumerate(meshes)
        ]  # fmt: skip
        menus.append({"type": "dropdown", "buttons": choices, "x": 0.45, "y": 1.0})
    for menu in menus:
        menu.update({"xanchor": "left", "yanchor": "bottom", "pad": {"b": 4}})
    return menus


def _coarse(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The part with a millionth of the maximum or more, binned to ``LARGEST_SIDE``; factors, and where it starts."""
    bright = np.argwhere(counts > counts.max() * 10.0 ** -LEVELS[-1][0])
    low = np.maximum(bright.min(0) - 1, 0)
    high = np.minimum(bright.max(0) + 2, counts.shape)
    factors = np.maximum(1, -(-(high - low) // LARGEST_SIDE))
    sides = np.maximum((high - low) // factors, 1)
    part = counts[tuple(slice(a, a + n * f) for a, n, f in zip(low, sides, factors, strict=True))]
    split = [m for n, f in zip(sides, factors, strict=True) for m in (n, f)]
    return part.reshape(split).mean(axis=(1, 3, 5)), factors, low
