"""Settings of a phase retrieval, as read from YAML by ``cdi.config``. Free of torch."""

from dataclasses import dataclass, field
from math import isfinite

from cdi.requirements import require
from cdi.retrieval.schedule import Stage, parse_schedule

PRECISIONS = ("single", "double")
KERNELS = ("none", "richardson-lucy", "gaussian")
JOINS = ("mean", "union")
MOST_ROUNDS = 100


@dataclass(frozen=True)
class ShrinkWrap:
    """How the support follows the object (Marchesini et al., Phys. Rev. B 68, 140101, 2003).

    Parameters
    ----------
    interval : iterations between two supports; 0 keeps the first.
    threshold : of the blurred modulus, relative to its greatest value.
    sigma_start, sigma_end : width of the Gaussian in voxels, falling geometrically from first to last.
    autocorrelation : level, relative to the greatest, above which the autocorrelation counts for the first support;
        low, because that of a strained crystal fades long before its ends.
    first_scale : size of the first support over that of the autocorrelation. 1 is the source's; ½ fits a convex
        crystal with an inversion centre; between them lies room to err.

    Raises
    ------
    ValueError
        If a value lies out of its range.
    """

    interval: int = 20
    threshold: float = 0.2
    sigma_start: float = 2.0
    sigma_end: float = 1.0
    autocorrelation: float = 0.01
    first_scale: float = 0.7

    def __post_init__(self) -> None:
        require(self.interval >= 0, "interval", "be 0 or more", self.interval)
        for name in ("threshold", "autocorrelation"):
            value = getattr(self, name)
            require(0 < value < 1, name, "lie between 0 and 1", value)
        for name in ("sigma_start", "sigma_end"):
            value = getattr(self, name)
            require(0 < value < 100, name, "lie between 0 and 100 voxels", value)
        require(0.5 <= self.first_scale <= 1, "first_scale", "lie in [0.5, 1]", self.first_scale)


@dataclass(frozen=True)
class CoherenceFit:
    """Whether and how the blur of partial coherence is fitted (Clark et al., Nat. Commun. 3, 993, 2012).

    Parameters
    ----------
    kernel : ``none``, ``richardson-lucy`` (any positive symmetric kernel) or ``gaussian`` (the Gaussian of its
        second moments).
    interval : iterations between two fits.
    updates : Richardson–Lucy updates a fit.
    first_iteration : iterations before the first fit: an object still unlike the crystal would be taken for blur.
    sigma : width of the first kernel in voxels of the pattern.
    reach : half-width in voxels of the kernel, beyond which it is zero.

    Raises
    ------
    ValueError
        If a value lies out of its range.
    """

    kernel: str = "none"
    interval: int = 10
    updates: int = 5
    first_iteration: int = 60
    sigma: float = 0.5
    reach: int = 4

    def __post_init__(self) -> None:
        require(self.kernel in KERNELS, "kernel", f"be one of {', '.join(KERNELS)}", self.kernel)
        for name in ("interval", "updates", "reach"):
            require(getattr(self, name) >= 1, name, "be 1 or more", getattr(self, name))
        require(self.first_iteration >= 0, "first_iteration", "be 0 or more", self.first_iteration)
        require(isfinite(self.sigma) and self.sigma > 0, "sigma", "be positive", self.sigma)


@dataclass(frozen=True)
class RetrievalConfig:
    """One phase retrieval: what to iterate, from how many random starts, and what to keep.

    Parameters
    ----------
    schedule : algorithms and iterations; see ``cdi.retrieval.schedule.parse_schedule``.
    hio_beta, raar_beta : feedback β of those algorithms.
    starts : random starts of every pattern.
    best : runs of least free likelihood that are aligned and averaged.
    free_fraction : share of the measured voxels held out, by which runs are chosen (Favre-Nicolin, Leake &
        Chushkin, Sci. Rep. 10, 2664, 2020).
    shrink_wrap, coherence : of the support and of the blur.
    shared_support : the patterns are reflections of one crystal on grids with the same voxels.
    join : how their supports become one: of the ``mean`` of their moduli, or the ``union``.
    precision : ``single`` or ``double``.

    Raises
    ------
    ValueError
        If a value lies out of its range or the schedule does not read.
    """

    schedule: str = "4x(HIO 80, ER 20), 2x(RAAR 80, ER 20)"
    hio_beta: float = 0.9
    raar_beta: float = 0.85
    starts: int = 20
    best: int = 5
    free_fraction: float = 0.02
    shrink_wrap: ShrinkWrap = field(default_factory=ShrinkWrap)
    coherence: CoherenceFit = field(default_factory=CoherenceFit)
    shared_support: bool = False
    join: str = "mean"
    precision: str = "single"

    def __post_init__(self) -> None:
        parse_schedule(self.schedule)
        for name in ("hio_beta", "raar_beta"):
            value = getattr(self, name)
            require(0 < value <= 1, name, "lie in (0, 1]", value)
        require(1 <= self.starts <= 10_000, "starts", "lie in [1, 10000]", self.starts)
        require(1 <= self.best <= self.starts, "best", f"lie between 1 and starts ({self.starts})", self.best)
        require(0 < self.free_fraction <= 0.2, "free_fraction", "lie in (0, 0.2]", self.free_fraction)
        require(self.join in JOINS, "join", f"be one of {', '.join(JOINS)}", self.join)
        require(self.precision in PRECISIONS, "precision", f"be one of {', '.join(PRECISIONS)}", self.precision)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The schedule, in order."""
        return parse_schedule(self.schedule)

    @property
    def iterations(self) -> int:
        """Of one start."""
        return sum(stage.iterations for stage in self.stages)

    def beta(self, algorithm: str) -> float:
        """Feedback of ``algorithm``; 0 where it has none."""
        return {"HIO": self.hio_beta, "RAAR": self.raar_beta}.get(algorithm, 0.0)


@dataclass(frozen=True)
class SearchConfig:
    """A retrieval that goes on until one object is sure: many short runs, the best of which are made whole.

    Parameters
    ----------
    starts : random starts.
    schedule : of each, without blur.
    kept : starts that go on.
    finish : schedule of these, with a Gaussian blur of partial coherence fitted from the first on.
    rounds : such searches in all; each but the first has other starts, within the support of the best object so far.
    settled : deviance per held-out voxel up to which an object needs no further round: photon noise alone leaves 1.
    seed : of the starts and of the held-out voxels by which runs are chosen.

    Raises
    ------
    ValueError
        If a number is out of range or a schedule does not read.
    """

    starts: int = 16
    schedule: str = "2x(HIO 80, ER 20), 2x(RAAR 80, ER 20)"
    kept: int = 3
    finish: str = "RAAR 80, ER 20"
    rounds: int = 2
    settled: float = 1.25
    seed: int = 0

    def __post_init__(self) -> None:
        require(1 <= self.starts <= 10_000, "starts", "lie in [1, 10000]", self.starts)
        require(1 <= self.kept <= self.starts, "kept", f"lie between 1 and starts ({self.starts})", self.kept)
        for schedule in (self.schedule, self.finish):
            parse_schedule(schedule)
        require(1 <= self.rounds <= MOST_ROUNDS, "rounds", f"lie in [1, {MOST_ROUNDS}]", self.rounds)
        require(self.settled >= 0, "settled", "be 0 or more", self.settled)
        require(self.seed >= 0, "seed", "be 0 or more", self.seed)
