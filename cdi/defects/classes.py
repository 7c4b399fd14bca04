"""The classes of what a crystal holds, one list for truth and prediction. Free of torch."""

from collections.abc import Iterable
from typing import Protocol

CHARACTERS = ("none", "edge", "screw", "mixed")
"""Straight perfect dislocations by the character shared by all lines, ``mixed`` when they differ."""

PARTIAL_OR_FAULT, LOOP_OR_NETWORK = "partial-or-fault", "loop-or-network"

CLASSES = (*CHARACTERS, PARTIAL_OR_FAULT, LOOP_OR_NETWORK)
"""All classes of a sample's truth; twins, vacancies and strain alone count as ``none``."""

PURE_WITHIN_DEG = 15.0
"""Degrees from 0 or 90 within which a line counts as a pure screw or edge."""


class Classified(Protocol):
    """What ``defect_class`` asks of a defect."""

    @property
    def defect_class(self) -> str:
        """An entry of ``CLASSES``."""


def defect_class(defects: Iterable[Classified]) -> str:
    """The class of a crystal from its defects.

    A partial or a fault decides before a loop or network, and these before straight perfect lines:
    an exposure that shows the rarer thing is not named after the commoner one beside it.
    """
    found = {defect.defect_class for defect in defects} - {"none"}
    for name in (PARTIAL_OR_FAULT, LOOP_OR_NETWORK):
        if name in found:
            return name
    if len(found) > 1:
        return "mixed"
    return found.pop() if found else "none"


def character(angle_deg: float) -> str:
    """``screw``, ``edge`` or ``mixed`` for the angle in [0, 90] degrees between line and Burgers vector."""
    if angle_deg <= PURE_WITHIN_DEG:
        return "screw"
    return "edge" if angle_deg >= 90 - PURE_WITHIN_DEG else "mixed"
