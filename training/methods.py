"""What every method that is evaluated has in common: crystals in, answers out. Free of torch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from cdi.lattices.lattice import Lattice
from data.sample import Sample
from models.known_crystal import KnownCrystal
from training.metrics import PredictedCrystal

CrystalSamples = tuple[Sample, ...]
"""All exposures of one crystal, in one order for every method."""


class Method(Protocol):
    """A network, a baseline, a phase retrieval: whatever answers for crystals.

    It reads exposures, Miller indices and ``known_crystal``; never the rest of ``Sample.truth``.
    """

    @property
    def name(self) -> str:
        """Its row in tables."""

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        """One answer a crystal, in order.

        Volumes lie on the central half of the exposures' grid, origin at ``N // 2``, for patterns moved by whole voxels
        until their centre of mass is there too; lines in Å in that frame; one phase and one winding an exposure.
        """


def known_crystal(crystal: CrystalSamples) -> KnownCrystal:
    """What is known beforehand: the lattice and the Miller indices. How it lies follows from the grids."""
    truth = crystal[0].truth
    lattice = replace(Lattice.of_material(truth.formula), cell=truth.cell)
    return KnownCrystal(lattice, tuple(sample.reflection for sample in crystal))
