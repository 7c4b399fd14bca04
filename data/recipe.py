"""The recipe of a synthetic data set: what distribution its crystals are drawn from.

Free of torch. Every class draws shape, size, orientation, strain and photons from the same
distribution, so that none of them carries the label.
"""

from dataclasses import dataclass, field

from cdi.defects.classes import CLASSES, PARTIAL_OR_FAULT
from cdi.detector.ranges import DetectorRanges
from cdi.lattices.materials import material
from cdi.lattices.slip import SLIP_FAMILIES

CRYSTAL_SHAPES = ("sphere", "ellipsoid", "rod", "cube", "truncated-octahedron", "wulff", "polyhedron")
"""Names of ``cdi.shapes.named``, which this module cannot import: it is free of torch."""
SPLITTING = ("fcc", "diamond")
"""Structures whose perfect dislocations split into Shockley partials."""
MOST_REFLECTIONS = 12
Range = tuple[float, float]


@dataclass(frozen=True)
class Distractors:
    """What is no dislocation, drawn in every class alike, so that a network can be wrong about it.

    Parameters
    ----------
    twin_fraction : of crystals with a twin boundary that cuts off a minor part (fcc, bcc, diamond).
    vacancy_fraction, vacancy_concentration : of crystals with a cloud of vacancies; fraction of sites empty
        at its centre.
    void_fraction : of crystals with a void of a tenth to a third of the radius.
    surface_fraction, surface_strain : of crystals whose surface layer contracts or expands; by how much.
    contact_fraction, contact_depth_A : of crystals that are pressed by flat tools, two from opposite sides or one; how
        deep in Å.

    Raises
    ------
    ValueError
        For a fraction outside [0, 1], or a range that is inverted or leaves (0, 1] (depths: 100 Å).
    """

    twin_fraction: float = 0.0
    vacancy_fraction: float = 0.0
    vacancy_concentration: Range = (0.05, 0.5)
    void_fraction: float = 0.0
    surface_fraction: float = 0.0
    surface_strain: Range = (1e-3, 1e-2)
    contact_fraction: float = 0.0
    contact_depth_A: Range = (0.3, 4.0)

    def __post_init__(self) -> None:
        for name in ("twin_fraction", "vacancy_fraction", "void_fraction", "surface_fraction", "contact_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"distractors.{name} must lie in [0, 1], got {getattr(self, name)}")
        for name, most in (("vacancy_concentration", 1), ("surface_strain", 1), ("contact_depth_A", 100)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise ValueError(
                    f"distractors.{name} must be a range low ≤ high within (0, {most}], got ({low}, {high})"
                )


@dataclass(frozen=True)
class Recipe:
    """Distribution of samples; sample ``index`` is a function of (recipe, seed, index) alone.

    Parameters
    ----------
    name : label written into every file.
    samples : number of crystals; each gives ``reflection_count`` exposures.
    seed : root of all randomness.
    first_index : index of the first sample; disjoint index ranges are disjoint crystals.
    samples_per_file : crystals a file (the unit of work of one process, and of resuming).
    shape : voxels of the pattern (x, y, z).
    elements : materials of the table (Cu, NaCl, …), drawn uniformly; each brings its lattice and elastic constants.
    reflections : Miller indices drawn uniformly among those that the lattice allows.
    reflection_count : exposures of each crystal, each in a reflection of its own. Those after the first are drawn
        uniformly among all symmetric variants of ``reflections``: the second is not collinear with the first,
        the third not coplanar with both, none repeats an earlier one or its negative.
    crystal_shapes : drawn uniformly among ``CRYSTAL_SHAPES``.
    diameter_A : range of the diameter in Å of the ball of equal volume, drawn log-uniformly.
    oversampling : range of the oversampling along each axis, after rotation; at least 2.
    shear_deg : largest departure of the grid's axes from orthogonal, in degrees.
    class_fractions : fractions of ``cdi.defects.classes.CLASSES`` in their order, the last ones 0 where left
        out; normalised to 1.
    max_lines : most straight dislocations in one crystal.
    slip_families : names of ``cdi.lattices.slip.SLIP_FAMILIES`` that straight lines glide on; empty: all.
    anisotropic_fraction : of crystals whose straight lines strain it by its own elastic constants (Stroh)
        and not by their isotropic average.
    hidden_fraction : fraction of dislocated crystals all of whose lines have g·b = 0 in the first reflection.
    emitted_fraction : of crystals of the class partial-or-fault that hold Shockley half-loops which the surface has let
        go from one place, up to ``max_lines``, as a pressed crystal yields.
    strain_rad : range of the rms phase in radians of a smooth strain in the first reflection, in every class.
    peak_counts : range of the photons in the brightest voxel, drawn log-uniformly.
    distractors : what is no dislocation, in every class.
    detector : what beam and detector add; by default nothing but counting noise.

    Raises
    ------
    ValueError
        For an empty or inverted range, an unknown element, shape or slip family, a class that an element
        cannot hold, or oversampling below 2.
    """

    name: str
    samples: int
    seed: int = 0
    first_index: int = 0
    samples_per_file: int = 64
    shape: tuple[int, int, int] = (32, 32, 32)
    elements: tuple[str, ...] = ("Al", "Ni", "Cu", "Ag", "Pt", "Au", "Fe", "W")
    reflections: tuple[tuple[int, int, int], ...] = ((1, 1, 1), (2, 0, 0), (2, 2, 0), (1, 1, 0), (2, 1, 1))
    reflection_count: int = 1
    crystal_shapes: tuple[str, ...] = ("sphere", "truncated-octahedron", "polyhedron")
    diameter_A: Range = (60.0, 3000.0)
    oversampling: Range = (2.2, 4.4)
    shear_deg: float = 10.0
    class_fractions: tuple[float, ...] = (0.4, 0.2, 0.2, 0.2)
    max_lines: int = 3
    slip_families: tuple[str, ...] = ()
    anisotropic_fraction: float = 0.0
    emitted_fraction: float = 0.0
    hidden_fraction: float = 0.05
    strain_rad: Range = (0.0, 2.0)
    peak_counts: Range = (3e2, 1e6)
    distractors: Distractors = field(default_factory=Distractors)
    detector: DetectorRanges = field(default_factory=DetectorRanges)

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("samples_per_file", 1), ("max_lines", 1), ("seed", 0), ("first_index", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name, bottom in (("diameter_A", 10.0), ("oversampling", 2.0), ("strain_rad", 0.0), ("peak_counts", 1.0)):
            low, high = getattr(self, name)
            if not bottom <= low <= high:
                raise ValueError(f"{name} must be a range low ≤ high from {bottom} up, got ({low}, {high})")
        if not 1 <= self.reflection_count <= MOST_REFLECTIONS:
            raise ValueError(f"reflection_count must lie in [1, {MOST_REFLECTIONS}], got {self.reflection_count}")
        if min(self.shape) < 16 or max(self.shape) > 256 or any(n % 2 for n in self.shape):
            raise ValueError(f"shape must be even numbers of voxels from 16 to 256, got {self.shape}")
        if not self.elements or not self.reflections or not self.crystal_shapes:
            raise ValueError("elements, reflections and crystal_shapes must each hold at least one entry")
        for element in self.elements:
            material(element)
        for shape in self.crystal_shapes:
            if shape not in CRYSTAL_SHAPES:
                raise ValueError(f"crystal_shapes must be among {', '.join(CRYSTAL_SHAPES)}, got {shape!r}")
        fractions = self.class_fractions
        if not 1 <= len(fractions) <= len(CLASSES) or min(fractions) < 0 or sum(fractions) <= 0:
            raise ValueError(f"class_fractions must be numbers ≥ 0 for {', '.join(CLASSES)}, got {fractions}")
        if not 0 <= self.hidden_fraction < 1:
            raise ValueError(f"hidden_fraction must lie in [0, 1), got {self.hidden_fraction}")
        for name in ("anisotropic_fraction", "emitted_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.shear_deg <= 30:
            raise ValueError(f"shear_deg must lie in [0, 30], got {self.shear_deg}")
        self._check_structures()

    def _check_structures(self) -> None:
        """A class must not tell the element, so every element must hold every class."""
        structures = {element: material(element).structure for element in self.elements}
        if self.fraction_of(PARTIAL_OR_FAULT) > 0:
            for element, structure in structures.items():
                if structure not in SPLITTING:
                    raise ValueError(
                        f"elements must be {' or '.join(SPLITTING)} to hold the class {PARTIAL_OR_FAULT}, "
                        f"got {element} ({structure})"
                    )
        for element, structure in structures.items():
            known = [family.name for family in SLIP_FAMILIES[structure]]
            for family in self.slip_families:
                if family not in known:
                    raise ValueError(
                        f"slip_families must be among {', '.join(known)} for {element} ({structure}), got {family!r}"
                    )

    def fraction_of(self, defect: str) -> float:
        """Share of the class ``defect`` among the samples."""
        position = CLASSES.index(defect)
        return (
            self.class_fractions[position] / sum(self.class_fractions) if position < len(self.class_fractions) else 0.0
        )
