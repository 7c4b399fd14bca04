"""Picture of a phase retrieval: modulus and phase through the middle of each density."""

from pathlib import Path

import numpy as np

from cdi.picture import PLANES, draw_phase_slice, draw_support_slice, new_figure, save_figure
from cdi.retrieval.averaging import FSC_LEVEL, PRTF_LEVEL
from cdi.retrieval.retrieval import Retrieval


def save_retrieval_picture(path: str | Path, found: Retrieval, *, title: str = "") -> None:
    """One row of modulus slices and one of phase slices for each pattern, and its curves over frequency."""
    figure = new_figure(14, 6.8 * len(found.density))
    axes = figure.subplots(2 * len(found.density), 4, squeeze=False)
    for row, (density, support, grid) in enumerate(zip(found.density, found.support, found.grids, strict=True)):
        voxel = None if grid is None else grid.voxel
        modulus = np.abs(density) / np.abs(density).max()
        for column, plane in enumerate(PLANES):
            draw_support_slice(axes[2 * row, column], modulus, plane, voxel=voxel)
            image = draw_phase_slice(axes[2 * row + 1, column], np.angle(density), support, plane, voxel=voxel)
        axes[2 * row, 1].set_title("modulus, of its maximum (black: 1)")
        axes[2 * row + 1, 1].set_title("phase within the support")
        figure.colorbar(image, ax=list(axes[2 * row + 1, :3]), label="phase (rad)")
        for curve, level, told, name, panel in (
            (found.transfer, PRTF_LEVEL, "1/e", "phase-retrieval transfer function", axes[2 * row, 3]),
            (found.halves, FSC_LEVEL, "½", "Fourier shell correlation of halves", axes[2 * row + 1, 3]),
        ):
            panel.plot(curve.frequency, curve.values[row])
            panel.axhline(level, color="0.6", lw=1)
            panel.text(0.0, level + 0.01, f"{told}: the resolution that is told", color="0.4", fontsize=8)
            panel.set(xlabel="frequency (1/voxel)", ylabel=name, ylim=(0, 1.05))
    figure.suptitle(title)
    save_figure(figure, path)
