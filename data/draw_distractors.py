"""What a drawn crystal holds that is no dislocation: drawn before the class is looked at, alike for every class."""

import numpy as np
import torch
from numpy.typing import NDArray

from cdi.crystal import Crystal
from cdi.defects.defect import Defect
from cdi.defects.flat_punch import FlatPunch
from cdi.defects.surface_strain import SurfaceStrain
from cdi.defects.twin_boundary import TWINS, twin_boundary_on
from cdi.defects.vacancies import VacancyCloud, Void
from cdi.lattices.slip import slip_systems
from cdi.shapes.shape import as_array, as_parameter
from data.random_values import log_uniform, point_in_ball, unit_vector
from data.recipe import Distractors

Array = NDArray[np.float64]
Generator = np.random.Generator

RELAXATION_VOLUME = (-0.4, -0.1)
"""Of a vacancy, in atomic volumes: Ehrhart, Landolt-Börnstein III/25 (1991)."""
CONTACT_RADIUS = (0.1, 0.5)
"""Of a contact over the crystal's radius."""
STEEPEST = 0.15
"""Depth of a contact over its radius beyond which metals that small have yielded."""


def draw_distractors(distractors: Distractors, crystal: Crystal, generator: Generator) -> tuple[Defect, ...]:
    """What is no dislocation; every random number is drawn whether or not it is used."""
    radius = float(crystal.shape.extent(np.eye(3)).min()) / 2
    found: list[Defect] = []
    for fraction, draw in (
        (distractors.twin_fraction, _twin),
        (distractors.vacancy_fraction, _vacancies),
        (distractors.void_fraction, _void),
        (distractors.surface_fraction, _surface_strain),
    ):
        own = np.random.default_rng(generator.integers(2**63))
        if own.random() < fraction:
            found += draw(distractors, crystal, radius, own)
    # Only where it is asked for: recipes without it go on to draw what they drew before there was it.
    if distractors.contact_fraction and generator.random() < distractors.contact_fraction:
        found += _contacts(distractors, crystal, radius, generator)
    return tuple(found)


def _twin(_: Distractors, crystal: Crystal, radius: float, generator: Generator) -> list[Defect]:
    """A boundary that leaves the centre on the parent's side."""
    family = TWINS.get(crystal.lattice.structure)
    if family is None:
        return []
    systems = slip_systems(family, crystal.lattice.cell)
    normal = np.asarray(systems[generator.integers(len(systems))].normal) * generator.choice([-1, 1])
    up = crystal.orientation @ crystal.lattice.plane_normal(normal)
    point = generator.uniform(0.25, 0.7) * radius * up / np.linalg.norm(up)
    a, b, c = (float(x) for x in normal)
    return [twin_boundary_on(crystal.lattice, (a, b, c), point=point, orientation=crystal.orientation)]


def _vacancies(distractors: Distractors, crystal: Crystal, radius: float, generator: Generator) -> list[Defect]:
    return [
        VacancyCloud(
            as_parameter(point_in_ball(0.6 * radius, generator)),
            as_parameter(generator.uniform(0.1, 0.4) * radius),
            as_parameter(generator.uniform(*distractors.vacancy_concentration)),
            as_parameter(generator.uniform(*RELAXATION_VOLUME)),
            crystal.lattice.poisson_ratio,
        )
    ]


def _void(_: Distractors, crystal: Crystal, radius: float, generator: Generator) -> list[Defect]:
    return [
        Void(as_parameter(point_in_ball(0.6 * radius, generator)), as_parameter(generator.uniform(0.1, 0.33) * radius))
    ]


def _surface_strain(distractors: Distractors, crystal: Crystal, radius: float, generator: Generator) -> list[Defect]:
    strain = generator.choice([-1, 1]) * generator.uniform(*distractors.surface_strain)
    return [SurfaceStrain(crystal.shape, as_parameter(strain), as_parameter(generator.uniform(0.03, 0.2) * radius))]


def _contacts(distractors: Distractors, crystal: Crystal, radius: float, generator: Generator) -> list[Defect]:
    """Flat tools pressed onto it: two from opposite sides alike, as between platens, or a third of the time one."""
    towards = unit_vector(generator)
    contact = log_uniform(CONTACT_RADIUS, generator) * radius
    depth = min(generator.uniform(*distractors.contact_depth_A), STEEPEST * contact)
    sides = (1, -1) if generator.random() < 2 / 3 else (1,)
    return [_contact(crystal, side * towards, depth, contact) for side in sides]


def _contact(crystal: Crystal, towards: Array, depth: float, contact: float) -> Defect:
    """The punch where the half-line ``towards`` (3,) leaves the crystal, flat on its surface there."""
    point = torch.as_tensor(crystal.shape.surface_point(towards))
    inward = -as_array(crystal.shape.gradient(point))
    return FlatPunch(
        point, as_parameter(inward), as_parameter(depth), as_parameter(contact), crystal.lattice.poisson_ratio
    )
