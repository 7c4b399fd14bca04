"""Configuration of one coupled run. Free of torch and MPI, so that a launcher can check it.

Lengths in Å, times in ps, energies in eV unless the name says otherwise (LAMMPS' ``metal`` units).
"""

from dataclasses import dataclass, field
from math import isfinite

from cdi.lattices.lattice import Lattice
from cdi.lattices.materials import material
from cdi.pattern import Reflection
from cdi.requirements import require, require_positive
from inference_insitu.coupling_config import FailureConfig, PlacementConfig
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.steering.config import SteeringConfig
from inference_insitu.transit.migration.config import MigrationConfig


@dataclass(frozen=True)
class CrystalConfig:
    """A spherical nanoparticle of one element.

    Parameters
    ----------
    element : chemical symbol; brings the lattice (``cdi.lattices.materials``).
    potential : name among those that come with LAMMPS, or path of an ``eam``, ``eam/alloy`` or ``eam/fs`` file.
    radius_A : radius of the sphere in Å.
    axis : Miller indices of the lattice direction along z, the axis of the load.
    """

    element: str = "Cu"
    potential: str = "Cu_mishin1"
    radius_A: float = 32.0
    axis: Reflection = (1, 1, 1)

    def __post_init__(self) -> None:
        material(self.element)
        require(isfinite(self.radius_A) and 6 <= self.radius_A <= 500, "radius_A", "lie in [6, 500] Å", self.radius_A)
        require(any(self.axis), "axis", "be a direction other than 0 0 0", self.axis)


@dataclass(frozen=True)
class LoadConfig:
    """Compression along z by two plane indenters, each closing at ``closing_speed_A_per_ps``.

    ``stiffness_eV_per_A3`` is K of the repulsion K·d² in eV/Å³ on an atom d Å beyond a plane.
    The thermostat (Langevin, ``damping_ps``) holds ``temperature_K``; ``seed`` feeds it and the
    initial velocities.
    """

    steps: int = 3000
    timestep_ps: float = 0.004
    temperature_K: float = 10.0
    damping_ps: float = 0.5
    closing_speed_A_per_ps: float = 0.8
    stiffness_eV_per_A3: float = 20.0
    seed: int = 1

    def __post_init__(self) -> None:
        require_positive(
            self, "timestep_ps", "temperature_K", "damping_ps", "closing_speed_A_per_ps", "stiffness_eV_per_A3"
        )
        require(1 <= self.steps <= 10**9, "steps", "lie in [1, 1e9]", self.steps)
        require(self.timestep_ps <= 0.01, "timestep_ps", "be at most 0.01 ps", self.timestep_ps)
        require(1 <= self.seed <= 900_000_000, "seed", "lie in [1, 900000000]", self.seed)


@dataclass(frozen=True)
class ScheduleConfig:
    """When a pattern leaves the simulation, and how many may wait.

    Parameters
    ----------
    every : steps between patterns.
    window : first and last step of a denser window, or None.
    window_every : steps between patterns within the window.
    poll_every : steps between looks at what inference has done and asks for.
    queue : patterns in memory, the one that is being answered among them.
    """

    every: int = 100
    window: tuple[int, int] | None = None
    window_every: int = 25
    poll_every: int = 10
    queue: int = 4

    def __post_init__(self) -> None:
        for name in ("every", "window_every", "poll_every"):
            require(getattr(self, name) >= 1, name, "be at least 1", getattr(self, name))
        require(2 <= self.queue <= 4096, "queue", "lie in [2, 4096]", self.queue)
        if self.window is not None:
            first, last = self.window
            require(0 <= first < last, "window", "be two steps with first < last", self.window)

    def couples(self, step: int) -> bool:
        """Whether a pattern is due at ``step``."""
        if self.window is not None and self.window[0] <= step <= self.window[1]:
            return (step - self.window[0]) % self.window_every == 0
        return step % self.every == 0


@dataclass(frozen=True)
class PatternConfig:
    """The Bragg peak that the detector looks at, and how it counts.

    ``oversampling`` refers to the diameter before loading. The grid follows the peak as the
    crystal strains (``follow_peak``), as one re-centres a detector. ``peak_counts`` is what the
    brightest voxel expects; counting noise is Poisson, seeded by (``seed``, step).
    """

    reflection: Reflection = (1, 1, 1)
    shape: tuple[int, int, int] = (32, 32, 32)
    oversampling: float = 3.0
    energy_keV: float = 9.0
    peak_counts: float = 1e5
    follow_peak: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for n in self.shape:
            require(8 <= n <= 256 and n % 2 == 0, "shape", "be even numbers of voxels from 8 to 256", self.shape)
        require(2 <= self.oversampling <= 20, "oversampling", "lie in [2, 20]", self.oversampling)
        require(0.25 <= self.energy_keV <= 100, "energy_keV", "lie in [0.25, 100]", self.energy_keV)
        require_positive(self, "peak_counts")
        require(self.seed >= 0, "seed", "be at least 0", self.seed)


@dataclass(frozen=True)
class InferenceConfig:
    """Who infers: ``model``, a checkpoint's name or path. On how many threads says ``placement.threads``."""

    model: str = "default"

    def __post_init__(self) -> None:
        require(bool(self.model), "model", "be a checkpoint's name or path", self.model)


@dataclass(frozen=True)
class TruthConfig:
    """Dislocation analysis (DXA) of the coupled steps after the run: truth for the reader.

    A step counts as dislocated where the lines found are at least ``minimum_length_A`` long in
    all. ``keep_atoms`` keeps the atoms of those steps as extended XYZ.
    """

    dxa: bool = False
    minimum_length_A: float = 10.0
    keep_atoms: bool = False

    def __post_init__(self) -> None:
        require_positive(self, "minimum_length_A")


@dataclass(frozen=True)
class InsituConfig:
    """Everything that defines a coupled run but where it runs and where it writes.

    ``placement``, ``policy``, ``on_inference_failure``, ``steering`` and ``migration`` are those of every coupling.
    """

    crystal: CrystalConfig = field(default_factory=CrystalConfig)
    load: LoadConfig = field(default_factory=LoadConfig)
    coupling: ScheduleConfig = field(default_factory=ScheduleConfig)
    pattern: PatternConfig = field(default_factory=PatternConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    placement: PlacementConfig = field(default_factory=PlacementConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    on_inference_failure: FailureConfig = field(default_factory=FailureConfig)
    steering: SteeringConfig = field(default_factory=SteeringConfig)
    migration: MigrationConfig = field(default_factory=MigrationConfig)
    truth: TruthConfig = field(default_factory=TruthConfig)

    def __post_init__(self) -> None:
        Lattice.of_material(self.crystal.element).reflection_vector(self.pattern.reflection)
        # The patterns of all ranks are one, which leaves from one rank to one worker.
        require(self.placement.ranks == 1, "placement.ranks", "be 1", self.placement.ranks)
        window = self.coupling.window
        if window is not None:
            require(
                window[0] <= self.load.steps, "coupling.window", f"begin within the {self.load.steps} steps", window
            )
