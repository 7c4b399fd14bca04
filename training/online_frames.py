"""A frame of a run with its truth, as the training beside it is given it; nothing here knows of runs."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cdi.detector.counting import photon_counts
from cdi.grid import QGrid
from cdi.pattern import Exposure


class FrameWithTruth(Protocol):
    """What is asked of a frame. ``attributes`` may hold ``q_centre`` (3,) and ``q_step`` (3, 3) in Å⁻¹."""

    @property
    def stream(self) -> str:
        """Its stream."""

    @property
    def rank(self) -> int:
        """Who published it."""

    @property
    def step(self) -> int:
        """When."""

    @property
    def array(self) -> NDArray[Any]:
        """Intensities around a Bragg peak."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What is known of it."""

    @property
    def truth(self) -> Mapping[str, Any]:
        """What it shows."""

    @property
    def group(self) -> str:
        """What it must not be parted from in a split."""


def exposure_of(frame: FrameWithTruth, options: Mapping[str, Any]) -> Exposure:
    """The exposure that the analysis with ``options`` makes of ``frame``: counted where these say so.

    Raises
    ------
    ValueError
        If the frame holds no photons, or its grid does not fit.
    """
    peak_counts, told = options.get("peak_counts"), frame.attributes
    grid = None
    if "q_centre" in told and "q_step" in told:
        centre, step = (np.asarray(told[name], np.float64) for name in ("q_centre", "q_step"))
        grid = QGrid(centre, step, frame.array.shape)
    if peak_counts is None:
        return Exposure(np.array(frame.array, np.float32), grid)
    generator = np.random.default_rng(np.random.SeedSequence([options.get("seed", 0), frame.step, frame.rank]))
    intensity = np.asarray(frame.array, np.float64)
    return Exposure(photon_counts(intensity, peak_counts=peak_counts, generator=generator), grid)
