"""The one twin and the one translation of a crystal, and a global phase for each reflection. Free of torch.

Intensities are blind to the joint group: global phase of each reflection, one translation t and one twin for the whole
crystal. Its element is chosen once, from the complex objects, as the one with the largest total overlap

    S = Σ_r |Σ_n conj(P_r(n)) T_r(n)|,    P the prediction's image, T the truth,

and the prediction is carried into the truth's frame with it: support, phases and lines alike. Correlations at fractions
of a voxel come from matrix Fourier transforms (Guizar-Sicairos, Thurman & Fienup, Opt. Lett. 33, 156, 2008).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift as moved

from training.metrics.volumes import CrystalObject, Line

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

REACH = 2
"""Voxels along each axis up to which a translation is taken out: both are centred, only how may differ."""
FINEST = 1 / 16
"""Voxels to which the translation is found."""
_LEAST_WEIGHT = 1e-3
_AROUND = (0, -1, 1, -2, 2)
"""Steps along each axis, none first: a prediction without any object is left where it is."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """What takes a prediction into the frame of the truth: the twin first, then the shift, then the phases.

    Parameters
    ----------
    twinned : bool
    shift : (3,)
        In voxels.
    phases : (reflections,)
        Added to the prediction's, radians.
    """

    twinned: bool
    shift: Array
    phases: Array

    def volumes(self, predicted: CrystalObject) -> CrystalObject:
        """Support and phases in the truth's frame, linear between voxels where the shift is a fraction."""
        image = predicted.twin() if self.twinned else predicted
        # Outside the support a phase says nothing: it must not leak in between voxels.
        weighted = np.maximum(image.support, _LEAST_WEIGHT) * np.exp(1j * image.phase)
        phase = np.angle([moved(volume, self.shift, order=1) for volume in weighted])
        return CrystalObject(moved(image.support, self.shift, order=1), phase + self.phases[:, None, None, None])

    def line(self, line: Line, voxel: Array) -> Line:
        """A line in the truth's frame; under the twin (b, ξ) at r becomes (−b, ξ) at −r, hence corners in reverse."""
        by = self.shift @ voxel
        if not self.twinned:
            return replace(line, points=line.points + by)
        burgers = None if line.burgers is None else -line.burgers
        return replace(line, points=by - line.points[::-1], windings=-line.windings, burgers=burgers)


def align(predicted: CrystalObject, true: CrystalObject) -> Alignment:
    """The element of the joint group that brings ``predicted`` closest to ``true``.

    Raises
    ------
    ValueError
        If the two differ in shape or number of reflections.
    """
    if predicted.phase.shape != true.phase.shape:
        raise ValueError(f"phase must have the shape of the truth {true.phase.shape}, got {predicted.phase.shape}")
    target = _spectrum(true.density)
    choices = [_best_shift(_spectrum(image.density).conj() * target) for image in (predicted, predicted.twin())]
    twinned = bool(choices[1][0] > choices[0][0] * (1 + 1e-9))
    _, shift, phases = choices[twinned]
    return Alignment(twinned, shift, phases)


def _spectrum(density: Complex) -> Complex:
    """Padded, so that nothing that leaves on one side comes back on the other."""
    shape = [n + REACH + 1 for n in density.shape[1:]]
    return np.asarray(np.fft.fftn(density, shape, axes=(1, 2, 3)))


def _best_shift(cross: Complex) -> tuple[float, Array, Array]:
    """Total overlap, shift (3,) and phases (reflections,) at its largest, by refining a 5³ lattice of shifts."""
    best, step = np.zeros(3), 1.0
    while step >= FINEST:
        offsets = np.clip(best[:, None] + step * np.array(_AROUND), -REACH, REACH)
        overlaps = _overlaps(cross, offsets)
        totals = np.abs(overlaps).sum(0)
        at = np.unravel_index(totals.argmax(), totals.shape)
        best = np.array([offsets[axis, at[axis]] for axis in range(3)])
        step /= 4
    return float(totals[at]), best, np.angle(overlaps[:, *at])


def _overlaps(cross: Complex, offsets: Array) -> Complex:
    """Σ_n conj(P(n − t)) T(n) for every t of the lattice ``offsets`` (3, k): ``(reflections, k, k, k)``."""
    for axis, along in enumerate(offsets):
        waves = np.exp(2j * np.pi * np.outer(along, np.fft.fftfreq(cross.shape[1 + axis])))
        cross = np.moveaxis(np.tensordot(waves, cross, (1, 1 + axis)), 0, 1 + axis)
    return cross
