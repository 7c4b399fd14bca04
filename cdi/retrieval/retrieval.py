"""What a phase retrieval returns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdi.grid import QGrid
from cdi.retrieval.averaging import RadialCurve


@dataclass(frozen=True)
class Retrieval:
    """Densities of patterns (or of reflections of one crystal), origin at ``N // 2``, and how sure they are.

    Parameters
    ----------
    density : (patterns, x, y, z) complex128
        The principal mode of the best runs: F(m) = Σ density(n) exp(+2πi m·n/N), |F|² in photons. Its phase is +G·u
        up to a constant, and up to a ramp where the middle of the pattern is not the Bragg peak.
    support : (patterns, x, y, z) bool
        Of the best run.
    runs : (kept, patterns, x, y, z) complex128
        The best runs, aligned with the first and best.
    mode_weight : (patterns,)
        Share of the runs' power in ``density``: 1 where all agree.
    overlap : (patterns, kept)
        |⟨a, b⟩| / ‖a‖‖b‖ of each kept run with the best one.
    kept : (patterns, kept)
        Their starts, best first.
    free_deviance : (patterns, starts)
        Poisson deviance per held-out voxel: the runs are chosen by it.
    error : (patterns, starts)
        Σ(√I − |F|)² / ΣI over the voxels that were fitted.
    iterations : (starts,)
        Done by each start: fewer than scheduled where it was stopped.
    transfer : RadialCurve
        Phase-retrieval transfer function of the kept runs.
    halves : RadialCurve
        Fourier shell correlation of the means of every other of them; of one run with itself where one is kept.
    kernel : (patterns, x, y, z) float64 or None
        Blur of partial coherence in the best run, origin at ``N // 2``.
    grids : the patterns' grids; None where the geometry is unknown.
    """

    density: NDArray[np.complex128]
    support: NDArray[np.bool_]
    runs: NDArray[np.complex128]
    mode_weight: NDArray[np.float64]
    overlap: NDArray[np.float64]
    kept: NDArray[np.int64]
    free_deviance: NDArray[np.float64]
    error: NDArray[np.float64]
    iterations: NDArray[np.int64]
    transfer: RadialCurve
    halves: RadialCurve
    kernel: NDArray[np.float64] | None
    grids: tuple[QGrid | None, ...]
