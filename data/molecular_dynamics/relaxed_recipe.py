"""The recipe of a set of relaxed crystals: a recipe and how its crystals come to rest. Free of torch."""

from dataclasses import dataclass

import numpy as np

from cdi.lattices.materials import material
from data.recipe import Distractors, Range, Recipe

RELAXED_STRUCTURES = ("fcc", "bcc")
"""Cubic, one atom a site, known to DXA and to embedded-atom potentials."""


@dataclass(frozen=True)
class RelaxedRecipe(Recipe):
    """A ``Recipe`` whose crystals are relaxed in an interatomic potential and labelled by what DXA then finds.

    ``class_fractions`` say what is put in, not what is there in the end. Lengths of a drawn crystal are those of
    the table's lattice and are scaled to the potential's, which differs by about a per cent.

    Parameters
    ----------
    potentials : of LAMMPS or paths, one for each of ``elements``.
    clearance_A : least distance in Å of the lines that are put in; a crystal without room for all gets fewer.
    anchored_shell_A : depth in Å of the outer shell that keeps the places which the elastic field gives it.
    free_fraction : of crystals that relax with free surfaces instead.
    snapshot_fraction : of crystals that are taken out of their thermal motion, not at rest.
    temperature_K, time_ps : of that motion.
    force_tolerance_eV_A : largest force left on a free atom at rest, eV/Å.
    max_iterations : of the minimiser; what is left then is taken as it is.
    pair_voxels : partials closer than this, in voxels, over half their length count as the perfect line
        that they are from afar; 0 tells all apart.

    Raises
    ------
    ValueError
        As for ``Recipe``; if potentials and elements disagree, an element is neither fcc nor bcc, there are
        distractors, or a value lies out of its range.
    """

    elements: tuple[str, ...] = ("Cu",)
    diameter_A: Range = (80.0, 130.0)
    potentials: tuple[str, ...] = ("Cu_mishin1",)
    clearance_A: float = 0.0
    anchored_shell_A: float = 10.0
    free_fraction: float = 0.0
    snapshot_fraction: float = 0.0
    temperature_K: float = 300.0
    time_ps: float = 1.0
    force_tolerance_eV_A: float = 0.01
    max_iterations: int = 500
    pair_voxels: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.potentials) != len(self.elements):
            raise ValueError(f"potentials must name one for each of {', '.join(self.elements)}, got {self.potentials}")
        for element in self.elements:
            structure = material(element).structure
            if structure not in RELAXED_STRUCTURES:
                raise ValueError(
                    f"elements must be {' or '.join(RELAXED_STRUCTURES)} to be relaxed, got {element} ({structure})"
                )
        if self.distractors != Distractors():
            raise ValueError(f"distractors must be left out of a relaxed recipe, got {self.distractors}")
        for name in ("free_fraction", "snapshot_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("anchored_shell_A", "temperature_K", "time_ps", "force_tolerance_eV_A", "max_iterations"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("clearance_A", "pair_voxels"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
