"""Books of the frames: every one published is inferred or dropped for a stated reason."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

INFERRED = "inferred"
DROP_REASONS = {
    "superseded": "a newer frame took its place while the network was busy",
    "failed": "the network or its preprocessing raised an error",
    "nonfinite": "the pattern or the prediction held NaN or infinity",
    "unsaved": "the result could not be written",
    "undelivered": "the run ended before the network could take it",
    "unanswered": "the network took it and did not answer before the end's timeout",
}
"""Why a frame may be dropped."""


@dataclass
class Books:
    """Counts and latencies of one run, kept by the simulation's root alone."""

    published: int = 0
    inferred: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    fate: dict[int, str] = field(default_factory=dict)
    latency_s: list[float] = field(default_factory=list)

    def publish(self) -> None:
        """A frame left the simulation."""
        self.published += 1

    def settle(self, step: int, outcome: str, latency_s: float | None = None) -> None:
        """The frame of ``step`` met its ``outcome``, after ``latency_s`` where it was inferred.

        Raises
        ------
        ValueError
            If the outcome is unknown or the frame has met one before.
        """
        if outcome != INFERRED and outcome not in DROP_REASONS:
            raise ValueError(f"outcome must be one of {', '.join([INFERRED, *DROP_REASONS])}, got {outcome!r}")
        if step in self.fate:
            raise ValueError(f"the frame of step {step} must have one outcome, got {self.fate[step]!r} and {outcome!r}")
        self.fate[step] = outcome
        if outcome == INFERRED:
            self.inferred += 1
        else:
            self.dropped[outcome] += 1
        if latency_s is not None:
            self.latency_s.append(latency_s)

    @property
    def open(self) -> int:
        """Frames whose outcome is not known yet; 0 when the books balance."""
        return self.published - self.inferred - self.dropped.total()

    def summary(self) -> dict[str, Any]:
        """``published``, ``inferred``, ``dropped`` by reason and the percentiles of the latency."""
        return {
            "published": self.published,
            "inferred": self.inferred,
            "dropped": dict(self.dropped),
            "latency_s": percentiles(self.latency_s, (50, 95, 99, 100)),
        }


def percentiles(values: list[float], which: tuple[int, ...]) -> dict[str, float | None]:
    """Percentiles by name, ``p50`` … and ``max`` for 100; None where there are no values."""
    names = ["max" if p == 100 else f"p{p}" for p in which]
    found = np.percentile(values, which).tolist() if values else [None] * len(which)
    return {name: None if value is None else round(value, 6) for name, value in zip(names, found, strict=True)}
