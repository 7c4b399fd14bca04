"""What is in the crystals of a data set, as the scores want it: in the frame of the centred patterns."""

from collections.abc import Sequence

import numpy as np

from cdi.identifiability import SEEN, equivalent_burgers
from cdi.lattices.lattice import Lattice
from data.sample import Sample
from training.methods import CrystalSamples, known_crystal
from training.metrics import CrystalObject, KnownLine, TrueCrystal
from training.targets import targets_of_samples


def true_crystal(crystal: CrystalSamples) -> TrueCrystal:
    """Truth of a crystal as exactly these exposures show it: with fewer of them less is determined."""
    target = targets_of_samples([crystal])
    lattice = known_crystal(crystal).lattice
    support, phase = target.support[0].amax(0).double().numpy(), target.phase[0].double().numpy()
    return TrueCrystal(
        index=crystal[0].index,
        volumes=CrystalObject(support, phase),
        lines=known_lines(crystal, lattice),
        defect=crystal[0].truth.defect,
        determined=bool(target.determined[0]),
        reflections=np.array([sample.reflection for sample in crystal]),
        G=target.patterns.G[0].double().numpy(),
        voxel=target.patterns.voxel[0].double().numpy(),
        primitive_volume_A3=lattice.cell_volume / len(lattice.translations),
    )


def known_lines(crystal: Sequence[Sample], lattice: Lattice) -> tuple[KnownLine, ...]:
    """The lines with what these reflections together tell of them."""
    reflections = [sample.reflection for sample in crystal]
    lines = []
    for views in zip(*(sample.truth.lines for sample in crystal), strict=True):
        windings = np.array([view.g_dot_b for view in views])
        burgers = views[0].burgers_lattice
        alone = len(equivalent_burgers(burgers, lattice, reflections)) == 1
        lines.append(KnownLine(views[0].points, windings, burgers, determined=alone and abs(windings).max() > SEEN))
    return tuple(lines)
