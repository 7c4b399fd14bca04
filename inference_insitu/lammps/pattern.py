"""From the atoms of each rank to one pattern: amplitudes are summed, atoms stay.

F(Q) = Σ_j f_j exp(+iQ·r_j) is linear in the atoms, so the ranks' amplitudes of their own atoms
add up to that of the whole crystal.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.atoms import Atoms
from cdi.grid import QGrid
from cdi.scattering.amplitude import amplitude
from inference_insitu.lammps.config import PatternConfig

Complex = NDArray[np.complex128]
Array = NDArray[np.float64]


def partial_amplitude(element: str, positions: Array, grid: QGrid, *, energy_keV: float) -> Complex:
    """Amplitude ``grid.shape`` in electrons of this rank's atoms ``(n, 3)`` Å; n may be 0.

    Positions that are not finite make it NaN throughout: the frame is then dropped as such,
    where an exception on one rank would leave the others waiting in the sum.
    """
    if len(positions) == 0:
        return np.zeros(grid.shape, np.complex128)
    if not np.isfinite(positions).all():
        return np.full(grid.shape, np.nan, np.complex128)
    return amplitude(Atoms.of_element(element, positions), grid, energy_keV=energy_keV)


def peak_shift(intensity: NDArray[Any]) -> Array:
    """Centre of mass ``(3,)`` of the peak, in voxels from the centre voxel.

    Only voxels above a tenth of the maximum count: the tails, cut by the window, would draw the
    centre of mass towards the window's own centre. Zero where there is no finite intensity.
    """
    peak = intensity.max()
    if not (np.isfinite(peak) and peak > 0):
        return np.zeros(3)
    weight = np.where(intensity > 0.1 * peak, intensity, 0.0).astype(np.float64)
    centre = np.asarray(intensity.shape) // 2
    index = np.indices(intensity.shape).reshape(3, -1)
    return np.asarray(index @ weight.ravel() / weight.sum() - centre, np.float64)


class Detector:
    """Where the patterns of successive steps are sampled; the same on all ranks.

    Parameters
    ----------
    element : of all atoms.
    reflection_vector : (3,)
        G in Å⁻¹ in the laboratory frame, where the grid starts.
    extent_A : size of the crystal that ``config.oversampling`` refers to.
    config : PatternConfig
    """

    def __init__(self, *, element: str, reflection_vector: Array, extent_A: float, config: PatternConfig) -> None:
        self._element, self._config = element, config
        self.grid = QGrid.orthogonal(reflection_vector, [extent_A] * 3, config.oversampling, config.shape)
        """Where the next pattern is sampled."""

    def partial(self, positions: Array) -> Complex:
        """Amplitude of this rank's own atoms ``(n, 3)`` Å on the grid."""
        return partial_amplitude(self._element, positions, self.grid, energy_keV=self._config.energy_keV)

    def attributes(self) -> dict[str, Any]:
        """What must be known of a pattern on the grid."""
        return {
            "reflection": list(self._config.reflection),
            "shape": list(self.grid.shape),
            "q_centre": self.grid.centre.tolist(),
            "q_step": self.grid.step.tolist(),
        }

    def follow(self, intensity: NDArray[Any] | None, share: Callable[[Array], Array]) -> None:
        """Centre the next grid where the peak of ``intensity`` lies; collective, and nothing without ``follow_peak``.

        The root alone has the intensity; ``share`` gives its argument on the root to every rank. The shift between
        two patterns is a fraction of the window.
        """
        if not self._config.follow_peak:
            return
        shift = share(np.zeros(3) if intensity is None else peak_shift(intensity))
        self.grid = QGrid(self.grid.centre + shift @ self.grid.step, self.grid.step, self.grid.shape)
