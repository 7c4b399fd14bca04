"""The gallery of docs/defects.md: one crystal of each kind of defect, its phase and its pattern.

    python scripts/draw_gallery.py [--output docs/pictures/defects] [--only edge twin …]

Copper, a truncated octahedron of 600 Å, reflection (1 1 1) with G along z unless the kind asks for
another; the Bragg object on 64³ voxels. Each picture: the lines in the crystal, the phase in the
plane that shows them, the pattern in the same plane.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from cdi.crystal import Crystal
from cdi.defects.defect import Defect
from cdi.defects.dislocation_network import junction_on
from cdi.defects.dissociated_dislocation import dissociated_on
from cdi.defects.flat_punch import FlatPunch
from cdi.defects.loop_shapes import curved_line, loop_on
from cdi.defects.media import medium_of
from cdi.defects.stacking_fault import stacking_fault_on
from cdi.defects.straight_dislocation import dislocation_on
from cdi.defects.surface_strain import SurfaceStrain
from cdi.defects.twin_boundary import twin_boundary_on
from cdi.defects.vacancies import VacancyCloud, Void
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SlipSystem
from cdi.pattern import Reflection
from cdi.picture import (
    draw_intensity_slice,
    draw_lines,
    draw_phase_slice,
    new_figure,
    save_figure,
)
from cdi.scattering.bragg_object import bragg_object
from cdi.scattering.object_amplitude import object_amplitudes
from cdi.shapes.polyhedron import truncated_octahedron
from cdi.shapes.shape import as_parameter

COPPER = Lattice.of_material("Cu")
DIAMETER = 600.0
Z = np.array([1.0, 1.0, 1.0]) / np.sqrt(3)
X = np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
ORIENTATION = np.stack([X, np.cross(Z, X), Z])
SHAPE = truncated_octahedron(DIAMETER, ORIENTATION, ratio=1.15)
POINT = np.array([7.0, 11.0, 5.0])
"""Off the middle, and off the lattice sites."""


@dataclass(frozen=True)
class Exhibit:
    """``defects`` of a crystal, what the picture says of it, and the reflection and plane that show it."""

    title: str
    defects: Callable[[], tuple[Defect, ...]]
    reflection: Reflection = (1, 1, 1)
    plane: tuple[int, int] = (0, 2)


def system(burgers: tuple[float, float, float], normal: tuple[int, int, int]) -> SlipSystem:
    """A slip system written by hand, refused unless copper has it."""
    return next(s for s in COPPER.slip_systems() if np.allclose(s.burgers, burgers) and np.allclose(s.normal, normal))


INCLINED = system((0.5, 0.5, 0.0), (1, -1, 1))
FRANK = (1 / 3, -1 / 3, 1 / 3)


def straight(character_deg: float, elasticity: str = "isotropic") -> tuple[Defect, ...]:
    medium = medium_of(COPPER, ORIENTATION, elasticity)
    return (
        dislocation_on(
            COPPER, INCLINED, character_deg=character_deg, point=POINT, orientation=ORIENTATION, medium=medium
        ),
    )


def dissociated() -> tuple[Defect, ...]:
    return (dissociated_on(COPPER, INCLINED, character_deg=60, point=POINT, orientation=ORIENTATION, width=80.0),)


def bowed() -> tuple[Defect, ...]:
    line = dislocation_on(COPPER, INCLINED, character_deg=60, point=POINT, orientation=ORIENTATION)
    along, up = line.direction.numpy(), line.normal.numpy()
    t = np.linspace(-1, 1, 49)[:, None]
    points = POINT + DIAMETER * t * along + 150 * np.exp(-((4 * t) ** 2)) * np.cross(up, along)
    return (curved_line(points, line.burgers, up, poisson_ratio=COPPER.poisson_ratio, far=100 * DIAMETER),)


def loop(burgers: tuple[float, float, float], normal: tuple[int, int, int]) -> tuple[Defect, ...]:
    return (
        loop_on(COPPER, SlipSystem(burgers, normal), centre=POINT, radius=150.0, orientation=ORIENTATION, sides=32),
    )


def junction() -> tuple[Defect, ...]:
    pairs = [
        (first, second)
        for first in COPPER.slip_systems()
        for second in COPPER.slip_systems()
        if first.normal < second.normal and np.dot(first.burgers, second.burgers) < -0.1 and sum(first.burgers) > 0.5
    ]
    return (junction_on(COPPER, pairs[0], centre=POINT, length=200.0, reach=100 * DIAMETER, orientation=ORIENTATION),)


def fault() -> tuple[Defect, ...]:
    return (stacking_fault_on(COPPER, (1, -1, 1), point=POINT, orientation=ORIENTATION),)


def twin() -> tuple[Defect, ...]:
    up = ORIENTATION @ np.array([1.0, -1.0, 1.0]) / np.sqrt(3)
    return (twin_boundary_on(COPPER, (1, -1, 1), point=90 * up, orientation=ORIENTATION),)


def vacancies() -> tuple[Defect, ...]:
    values = (POINT, 90.0, 0.3, -0.3)
    return (VacancyCloud(*(as_parameter(value) for value in values), COPPER.poisson_ratio),)


def void() -> tuple[Defect, ...]:
    return (Void(as_parameter(POINT), as_parameter(80.0)),)


def pressed() -> tuple[Defect, ...]:
    top = as_parameter([0, 0, float(SHAPE.extent(np.eye(3))[2]) / 2])
    ends = ((top, -top), (-top, top))
    return tuple(
        FlatPunch(end, inward, as_parameter(4.0), as_parameter(120.0), COPPER.poisson_ratio) for end, inward in ends
    )


def surface() -> tuple[Defect, ...]:
    return (SurfaceStrain(SHAPE, as_parameter(-0.01), as_parameter(60.0)),)


GALLERY = {
    "perfect": Exhibit("no defect", tuple),
    "edge": Exhibit("edge, ½[110](1-11), isotropic medium", lambda: straight(90)),
    "edge-anisotropic": Exhibit("the same edge, copper's own elastic constants", lambda: straight(90, "anisotropic")),
    "screw": Exhibit("screw, ½[110]", lambda: straight(0)),
    "mixed": Exhibit("60° dislocation, ½[110](1-11)", lambda: straight(60)),
    "dissociated": Exhibit("60° dislocation split into Shockley partials 80 Å apart", dissociated),
    "loop": Exhibit("perfect glide loop, ½[110](1-11), radius 150 Å", lambda: loop(INCLINED.burgers, (1, -1, 1))),
    "frank-loop": Exhibit("Frank vacancy loop, ⅓[1-11], radius 150 Å", lambda: loop(FRANK, (1, -1, 1))),
    "curved": Exhibit("a line bowed out in its slip plane", bowed),
    "junction": Exhibit("two lines that react along the planes' common direction", junction, plane=(0, 1)),
    "stacking-fault": Exhibit("intrinsic stacking fault on (1-11)", fault),
    "twin": Exhibit("twin boundary on (1-11): the twinned part leaves the reflection", twin),
    "vacancies": Exhibit("cloud of vacancies, 30 % at its centre, width 90 Å", vacancies),
    "void": Exhibit("void of radius 80 Å", void),
    "surface-strain": Exhibit("surface layer of 60 Å pressed inwards by 1 %", surface),
    "pressed": Exhibit("pressed 4 Å deep by flat tools of 120 Å radius from both sides", pressed),
}  # fmt: skip


def draw(name: str, path: Path) -> None:
    """Write the picture of one exhibit."""
    exhibit = GALLERY[name]
    crystal = Crystal(COPPER, SHAPE, ORIENTATION, exhibit.defects())
    G = crystal.reflection_vector(exhibit.reflection)
    grid = QGrid.orthogonal(G, SHAPE.extent(np.eye(3)), 2.5, (64, 64, 64))
    fine = QGrid.orthogonal(G, SHAPE.extent(np.eye(3)), 2.5, (192, 192, 192))
    seen = bragg_object([crystal], [fine], [exhibit.reflection])
    intensity = object_amplitudes(crystal, [(exhibit.reflection, grid)])[0].abs().square().numpy()
    figure = new_figure(11, 3.7)
    left, middle, right = figure.subplots(1, 3)
    lines = [line.points for line in crystal.lines()]
    draw_lines(left, lines, exhibit.plane, outline=SHAPE.vertices)
    image = draw_phase_slice(middle, seen.phase[0].numpy(), seen.support[0].numpy(), exhibit.plane, voxel=fine.voxel)
    figure.colorbar(image, ax=middle, label="phase G·u (rad)", shrink=0.8)
    image = draw_intensity_slice(right, intensity, exhibit.plane, grid=grid, decades=6)
    figure.colorbar(image, ax=right, label="intensity (electrons²)", shrink=0.8)
    left.set_title("lines in the crystal", fontsize=9)
    middle.set_title("phase, central slice", fontsize=9)
    right.set_title("pattern, central slice", fontsize=9)
    figure.suptitle(f"{exhibit.title}   ({' '.join(map(str, exhibit.reflection))})", fontsize=10)
    save_figure(figure, path, dpi=85)


def main(output: str = "docs/pictures/defects", only: list[str] | None = None) -> None:
    torch.set_num_threads(1)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    for name in only or GALLERY:
        draw(name, folder / f"{name}.png")
        print(folder / f"{name}.png")


if __name__ == "__main__":
    auto_cli(main)
