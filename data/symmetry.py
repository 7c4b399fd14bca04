"""The 48 ways to flip and permute a grid's axes, applied to a pattern and its object together.

Relabelling the axes of a pattern and of its object in the same way keeps the one the transform
of the other, so each crystal stands for 48 orientations of the detector's axes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdi.grid import QGrid


@dataclass(frozen=True)
class AxisSymmetry:
    """New axis i is old axis ``order[i]``, inverted about ``N // 2`` where ``flips[i]``."""

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def draw(cls, generator: np.random.Generator) -> "AxisSymmetry":
        """One of the 48, uniformly."""
        a, b, c = (int(i) for i in generator.permutation(3))
        x, y, z = (bool(flip) for flip in generator.integers(0, 2, 3))
        return cls((a, b, c), (x, y, z))

    def apply(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """The relabelled ``volume`` ``(x, y, z)``."""
        out = volume.transpose(self.order)
        for axis, flip in enumerate(self.flips):
            if flip:
                out = np.flip(out, axis)
                out = np.roll(out, 1, axis) if out.shape[axis] % 2 == 0 else out
        return np.ascontiguousarray(out)

    def apply_grid(self, grid: QGrid) -> QGrid:
        """The q-grid of the relabelled volume: every voxel keeps its q."""
        signs = np.where(self.flips, -1.0, 1.0)
        a, b, c = self.order
        return QGrid(
            grid.centre, grid.step[list(self.order)] * signs[:, None], (grid.shape[a], grid.shape[b], grid.shape[c])
        )
