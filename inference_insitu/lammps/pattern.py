"""From the atoms of each rank to one frame at the simulation's root: grids are summed, atoms stay.

F(Q) = Σ_j f_j exp(+iQ·r_j) is linear in the atoms, so the ranks' amplitudes of their own atoms
add up to that of the whole crystal.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cdi.atoms import Atoms
from cdi.grid import QGrid
from cdi.scattering.amplitude import amplitude
from inference_insitu.config import PatternConfig

Complex = NDArray[np.complex128]
Array = NDArray[np.float64]


class Group(Protocol):
    """The simulation's ranks, as far as the coupling needs them."""

    @property
    def is_root(self) -> bool:
        """Whether this rank receives the sums."""

    def sum_to_root(self, values: Complex) -> Complex | None:
        """Elementwise sum over the ranks, at the root; None elsewhere."""

    def share(self, values: Array) -> Array:
        """The root's ``values``, on every rank."""


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


def peak_shift(intensity: Array) -> Array:
    """Centre of mass ``(3,)`` of the peak, in voxels from the centre voxel.

    Only voxels above a tenth of the maximum count: the tails, cut by the window, would draw the
    centre of mass towards the window's own centre. Zero where there is no finite intensity.
    """
    peak = intensity.max()
    if not (np.isfinite(peak) and peak > 0):
        return np.zeros(3)
    weight = np.where(intensity > 0.1 * peak, intensity, 0.0)
    centre = np.asarray(intensity.shape) // 2
    index = np.indices(intensity.shape).reshape(3, -1)
    return np.asarray(index @ weight.ravel() / weight.sum() - centre, np.float64)


class Coupler:
    """Computes the pattern of the distributed crystal at successive steps.

    Parameters
    ----------
    group : Group
        The simulation's ranks.
    element : str
    reflection_vector : (3,)
        G in Å⁻¹ in the laboratory frame, where the grid starts.
    extent_A : size of the crystal that ``detector.oversampling`` refers to.
    detector : PatternConfig
    """

    def __init__(
        self, group: Group, *, element: str, reflection_vector: Array, extent_A: float, detector: PatternConfig
    ) -> None:
        self._group = group
        self._element = element
        self._detector = detector
        self._grid = QGrid.orthogonal(reflection_vector, [extent_A] * 3, detector.oversampling, detector.shape)

    @property
    def grid(self) -> QGrid:
        """Where the next pattern is sampled."""
        return self._grid

    def intensity(self, positions: Array) -> tuple[Array, QGrid] | None:
        """|F|² in electrons² of all ranks' atoms and its grid, at the root; None elsewhere.

        ``positions`` (n, 3) Å are this rank's own. With ``follow_peak`` the next grid is centred
        where this peak lies: the shift between two coupling steps is a fraction of the window.
        """
        grid = self._grid
        part = partial_amplitude(self._element, positions, grid, energy_keV=self._detector.energy_keV)
        total = self._group.sum_to_root(part)
        intensity = None if total is None else np.asarray(np.abs(total) ** 2, np.float64)
        if self._detector.follow_peak:
            shift = np.zeros(3) if intensity is None else peak_shift(intensity)
            self._grid = QGrid(grid.centre + self._group.share(shift) @ grid.step, grid.step, grid.shape)
        return None if intensity is None else (intensity, grid)
