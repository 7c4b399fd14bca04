"""The Wulff shape: the facets of least surface energy at given volume."""

from collections.abc import Mapping

import numpy as np

from cdi.lattices.energies import Facet
from cdi.lattices.lattice import Lattice
from cdi.lattices.materials import MATERIALS
from cdi.shapes.polyhedron import Polyhedron
from cdi.shapes.shape import Array, as_array, as_rotation
from cdi.shapes.solids import ball_volume


def wulff(
    lattice: Lattice,
    orientation: Array,
    diameter: float,
    energies: Mapping[Facet, float],
    generator: np.random.Generator | None = None,
    spread: float = 0.0,
) -> Polyhedron:
    """The equilibrium shape with the volume of a ball of ``diameter`` Å: distances d(hkl) ∝ γ(hkl).

    Facets are the images of ``energies``' keys under the lattice's point group (Wulff, Z. Kristallogr.
    34, 449 (1901)). Where the point group has no inversion, facets (hkl) and (-h-k-l) are images of
    each other no more, and the shape is centred on its centroid.

    Parameters
    ----------
    orientation : (3, 3)
        Rotation from crystal axes to the laboratory.
    energies
        Surface energy of each facet family by Miller indices, in any one unit.
    generator, spread
        With a generator each facet's distance is multiplied by 1 ± ``spread`` (uniform): growth and
        the support leave real crystals short of equilibrium.

    Raises
    ------
    ValueError
        If no facet is given, an energy is not positive, ``orientation`` is not a rotation, or the facets do
        not enclose a volume.
    """
    if not energies or not all(0 < energy < np.inf for energy in energies.values()):
        raise ValueError(f"energies must be positive, at least one facet, got {dict(energies)}")
    if (0, 0, 0) in energies:
        raise ValueError(f"energies must have facets other than (0, 0, 0), got {dict(energies)}")
    facets = [(image, energy) for facet, energy in energies.items() for image in lattice.equivalent_planes(facet)]
    normals = lattice.plane_normal([image for image, _ in facets]) @ as_array(as_rotation(orientation)).T
    distances = np.array([energy for _, energy in facets])
    if generator is not None:
        distances = distances * generator.uniform(1 - spread, 1 + spread, len(distances))
    return Polyhedron.centred(normals, distances).without_idle_planes().with_volume(ball_volume(diameter))


def surface_energies(lattice: Lattice) -> dict[Facet, float]:
    """J/m² of each facet family of ``lattice``'s material, from the table.

    Raises
    ------
    ValueError
        If the table has no surface energies for this formula in this structure.
    """
    entry = MATERIALS.get(lattice.formula)
    if entry is None or entry.structure != lattice.structure or not entry.surface_energies:
        known = ", ".join(name for name, row in MATERIALS.items() if row.surface_energies)
        raise ValueError(
            f"surface energies must be given for {lattice.structure} {lattice.formula}: the table holds {known}"
        )
    return dict(entry.surface_energies)
