"""Planning a rocking curve: the angles of a reflection, the oversampling of a crystal. Free of torch.

A scan serves as the template: its diffractometer, rocking circle, fixed circles, energy, distance and
detector. Nothing here knows the travel of a motor or a table in the arm's way.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.geometry.diffractometer import DIRECTIONS, turned
from cdi.geometry.rocking_scan import RockingScan

Array = NDArray[np.float64]


def bragg_positions(scan: RockingScan, G: ArrayLike) -> tuple[dict[str, float], dict[str, float]]:
    """Both settings of all circles, in degrees, at which G (3,) in Å⁻¹ diffracts along the arm.

    G is given in the frame of the sample: laboratory axes with every sample circle at its zero. The
    rocking circle is solved for ``|k_i + R G| = k`` with the other sample circles as in ``scan``; the
    two innermost arm circles follow k_f = k_i + R G. First the setting nearer to the scan's own.

    Raises
    ------
    ValueError
        If G is not three finite numbers, is 0, exceeds 2k, or never meets the Ewald sphere.
    """
    vector = _checked_reflection(scan, G)
    q = scan.sample_rotation @ vector
    turns = scan.turns_onto_sphere(q)
    if np.isnan(turns).any():
        fixed = ", ".join(f"{c.name} {scan.angles_deg[c.name]:g}°" for c in scan.diffractometer.sample)
        raise ValueError(
            f"G must meet the Ewald sphere as {scan.rocking} turns, it does not from {fixed}; turn another circle"
        )
    first, second = (_setting(scan, q, turn) for turn in sorted(turns, key=abs))
    return first, second


def rocking_scan_for(G: ArrayLike, scan: RockingScan) -> RockingScan:
    """``scan`` centred on the reflection G (3,) in Å⁻¹ of the sample's frame: first of ``bragg_positions``.

    At its middle frame G falls on the arm's axis: ``q(N // 2, *axis_pixel) = sample_rotation @ G``.

    Raises
    ------
    ValueError
        As for ``bragg_positions``.
    """
    return replace(scan, angles_deg=bragg_positions(scan, G)[0])


def oversampling(scan: RockingScan, extent: ArrayLike) -> Array:
    """Oversampling ``(3,)`` along frames, rows and columns of a crystal of ``extent`` in Å.

    ``2π / (|s_i| L_i)``: s_i is the step of q along axis i of the grid, L_i the crystal's length along
    it. A scalar extent is a diameter (the sphere that holds the crystal), three are a box along x, y, z
    of the laboratory at the middle frame. |F|² is resolved from 2 on (Sayre, Acta Cryst. 5, 843, 1952).

    Raises
    ------
    ValueError
        If an extent is not positive.
    """
    return np.asarray(2 * np.pi / _spans(scan.grid().step, extent))


def with_oversampling(scan: RockingScan, extent: ArrayLike, wanted: float) -> RockingScan:
    """``scan`` with the rocking step and the distance at which ``extent`` is oversampled ``wanted`` times.

    Exactly ``wanted`` along the frames and along the coarser of rows and columns; the step keeps its sign.
    The distance is found by iteration, as the middle of the frame may lie beside the arm's axis.

    Raises
    ------
    ValueError
        If ``wanted`` is below 2, an extent is not positive, or no distance does it.
    """
    if not (np.isfinite(wanted) and wanted >= 2):
        raise ValueError(f"wanted must be an oversampling of at least 2, got {wanted}")
    while abs((ratio := oversampling(scan, extent))[1:].min() / wanted - 1) > 1e-13:
        if _slant(scan) < 0.01:
            raise ValueError(f"wanted must be within reach of a detector so far from its axis, got {wanted}")
        scan = replace(scan, distance_m=float(scan.distance_m * wanted / ratio[1:].min()))
    return replace(scan, step_deg=float(scan.step_deg * ratio[0] / wanted))


def _checked_reflection(scan: RockingScan, G: ArrayLike) -> Array:
    vector = np.asarray(G, np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all() or not vector.any():
        raise ValueError(f"G must be three finite numbers in Å⁻¹, not all 0, got {G!r}")
    length, longest = np.linalg.norm(vector), 2 * scan.wavenumber
    if length > longest:
        raise ValueError(
            f"G must be at most 2k = {longest:.4g} Å⁻¹ long at {scan.energy_keV:g} keV, got {length:.4g} Å⁻¹"
        )
    return vector


def _setting(scan: RockingScan, q: Array, turn: float) -> dict[str, float]:
    angles = {**scan.angles_deg, scan.rocking: scan.angles_deg[scan.rocking] + float(np.degrees(turn))}
    beam = DIRECTIONS[scan.diffractometer.beam]
    scattered = scan.wavenumber * beam + turned(q, scan.rocking_axis, turn)
    return {**angles, **scan.diffractometer.arm_angles(scattered, angles)}


def _slant(scan: RockingScan) -> float:
    """Cosine between the arm and the ray to the middle of the frame."""
    middle = scan.exit_direction(scan.shape[1] // 2, scan.shape[2] // 2)
    return float(middle @ scan.exit_direction(*scan.arm_pixel))


def _spans(step: Array, extent: ArrayLike) -> Array:
    """``|s_i| L_i`` ``(3,)`` in radians: phase across the crystal per voxel of each axis."""
    lengths = np.asarray(extent, np.float64)
    if lengths.shape not in ((), (3,)) or not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"extent must be one or three positive lengths in Å, got {extent!r}")
    if lengths.ndim == 0:
        return np.asarray(np.linalg.norm(step, axis=1) * lengths)
    return np.asarray(np.abs(step) @ lengths)
