"""The recipe of a synthetic data set: what distribution its crystals are drawn from.

Free of torch. Every class draws shape, size, orientation, strain and photons from the same
distribution, so that none of them carries the label.
"""

from dataclasses import dataclass

from cdi.lattices.materials import material

CRYSTAL_SHAPES = ("sphere", "truncated-octahedron", "polyhedron")
Range = tuple[float, float]


@dataclass(frozen=True)
class Recipe:
    """Distribution of samples; sample ``index`` is a function of (recipe, seed, index) alone.

    Parameters
    ----------
    name : label written into every file.
    samples : number of crystals.
    seed : root of all randomness.
    first_index : index of the first sample; disjoint index ranges are disjoint crystals.
    samples_per_file : samples a file (the unit of work of one process, and of resuming).
    shape : voxels of the pattern (x, y, z).
    elements : drawn uniformly; each brings lattice, lattice constant and Poisson ratio.
    reflections : Miller indices drawn uniformly among those that the lattice allows.
    crystal_shapes : drawn uniformly among ``CRYSTAL_SHAPES``.
    diameter_A : range of the crystal's diameter in Å, drawn log-uniformly.
    oversampling : range of the oversampling along each axis, after rotation; at least 2.
    shear_deg : largest departure of the grid's axes from orthogonal, in degrees.
    class_fractions : fractions of none, edge, screw, mixed; normalised to 1.
    max_lines : most dislocations in one crystal.
    hidden_fraction : fraction of dislocated crystals all of whose lines have g·b = 0.
    strain_rad : range of the rms phase in radians of a smooth strain, in every class.
    peak_counts : range of the photons in the brightest voxel, drawn log-uniformly.

    Raises
    ------
    ValueError
        For an empty or inverted range, an unknown element or shape, or oversampling below 2.
    """

    name: str
    samples: int
    seed: int = 0
    first_index: int = 0
    samples_per_file: int = 64
    shape: tuple[int, int, int] = (32, 32, 32)
    elements: tuple[str, ...] = ("Al", "Ni", "Cu", "Ag", "Pt", "Au", "Fe", "W")
    reflections: tuple[tuple[int, int, int], ...] = ((1, 1, 1), (2, 0, 0), (2, 2, 0), (1, 1, 0), (2, 1, 1))
    crystal_shapes: tuple[str, ...] = CRYSTAL_SHAPES
    diameter_A: Range = (60.0, 3000.0)
    oversampling: Range = (2.2, 4.4)
    shear_deg: float = 10.0
    class_fractions: tuple[float, float, float, float] = (0.4, 0.2, 0.2, 0.2)
    max_lines: int = 3
    hidden_fraction: float = 0.05
    strain_rad: Range = (0.0, 2.0)
    peak_counts: Range = (3e2, 1e6)

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("samples_per_file", 1), ("max_lines", 1), ("seed", 0), ("first_index", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name, bottom in (("diameter_A", 10.0), ("oversampling", 2.0), ("strain_rad", 0.0), ("peak_counts", 1.0)):
            low, high = getattr(self, name)
            if not bottom <= low <= high:
                raise ValueError(f"{name} must be a range low ≤ high from {bottom} up, got ({low}, {high})")
        if min(self.shape) < 16 or max(self.shape) > 256 or any(n % 2 for n in self.shape):
            raise ValueError(f"shape must be even numbers of voxels from 16 to 256, got {self.shape}")
        if not self.elements or not self.reflections or not self.crystal_shapes:
            raise ValueError("elements, reflections and crystal_shapes must each hold at least one entry")
        for element in self.elements:
            material(element)
        for shape in self.crystal_shapes:
            if shape not in CRYSTAL_SHAPES:
                raise ValueError(f"crystal_shapes must be among {', '.join(CRYSTAL_SHAPES)}, got {shape!r}")
        if len(self.class_fractions) != 4 or min(self.class_fractions) < 0 or sum(self.class_fractions) <= 0:
            raise ValueError(
                f"class_fractions must be four numbers ≥ 0 (none, edge, screw, mixed), got {self.class_fractions}"
            )
        if not 0 <= self.hidden_fraction < 1:
            raise ValueError(f"hidden_fraction must lie in [0, 1), got {self.hidden_fraction}")
        if not 0 <= self.shear_deg <= 30:
            raise ValueError(f"shear_deg must lie in [0, 30], got {self.shear_deg}")
