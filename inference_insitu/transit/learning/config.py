"""How a run's model is learnt on beside it. Free of brokers and of torch."""

from dataclasses import dataclass, field
from typing import Any

from cdi.requirements import require, require_positive, require_within


@dataclass(frozen=True)
class ReservoirConfig:
    """Which frames with truth are kept: a uniform sample of all that came, in files.

    Parameters
    ----------
    frames : kept for training, at most.
    held_out : kept for judging, at most.
    held_out_share : of the crystals that are never trained on.
    block : steps of a rank that stand on one side, where the truth names no ``crystal``.
    most_bytes : on the disk, of both together; a frame larger than its place's share is set aside.
    seed : of the sample.
    """

    frames: int = 512
    held_out: int = 128
    held_out_share: float = 0.25
    block: int = 1
    most_bytes: int = 1 << 30
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("frames", "held_out", "block"):
            require(1 <= getattr(self, name) <= 1 << 20, name, "lie in [1, 1048576]", getattr(self, name))
        require(0 < self.held_out_share < 1, "held_out_share", "lie in (0, 1)", self.held_out_share)
        require(self.most_bytes >= 1 << 20, "most_bytes", "be at least 1 MiB", self.most_bytes)
        require(self.seed >= 0, "seed", "be at least 0", self.seed)

    @property
    def frame_bytes(self) -> int:
        """Largest record that is kept."""
        return self.most_bytes // (self.frames + self.held_out)


@dataclass(frozen=True)
class RuleConfig:
    """When a version takes over, and when it goes again.

    Scores of the same frames by two versions are compared pair by pair; an interval of their mean difference, new −
    old, at ``confidence`` comes from bootstraps of crystals.

    Parameters
    ----------
    better_by : the interval on held-out frames must lie above it.
    worse_by : that on the frozen set must not reach below −``worse_by``.
    least : frames of each set without which nothing is decided.
    regression_by : a version goes again once the interval on held-out frames since it took over lies below
        −``regression_by``.
    regression_frames : that are compared, at most, since it took over.
    """

    better_by: float = 0.0
    worse_by: float = 0.02
    least: int = 24
    regression_by: float = 0.0
    regression_frames: int = 128
    confidence: float = 0.95
    resamples: int = 2000

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1e6, "better_by", "worse_by", "regression_by")
        require(0.5 <= self.confidence < 1, "confidence", "lie in [0.5, 1)", self.confidence)
        require(2 <= self.least <= self.regression_frames, "least", "lie in [2, regression_frames]", self.least)
        require(100 <= self.resamples <= 1 << 20, "resamples", "lie in [100, 1048576]", self.resamples)


@dataclass(frozen=True)
class LearningConfig:
    """What is learnt beside a run.

    Parameters
    ----------
    analysis : whose model.
    plugin : what trains it: an entry point of ``cdi.learners``, or ``module:object``.
    options : of the plugin.
    frozen : path of a data set that is never trained on and on which no version may be worse.
    every : frames with truth between two attempts.
    reservoir, rule : see there.
    nice : how much the process steps back before the simulation's, 0 to 19.
    threads : that it computes with.
    timeout_s : a version that has not taken over by then is given up; so is a run whose log is away for so long.
    """

    analysis: str = "defects"
    plugin: str = "defects"
    options: dict[str, Any] = field(default_factory=dict)
    frozen: str = ""
    every: int = 64
    reservoir: ReservoirConfig = field(default_factory=ReservoirConfig)
    rule: RuleConfig = field(default_factory=RuleConfig)
    nice: int = 19
    threads: int = 1
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        require(bool(self.frozen), "frozen", "be the path of a data set", self.frozen)
        require(1 <= self.every <= 1 << 20, "every", "lie in [1, 1048576]", self.every)
        require(0 <= self.nice <= 19, "nice", "lie in [0, 19]", self.nice)
        require(1 <= self.threads <= 256, "threads", "lie in [1, 256]", self.threads)
        require_positive(self, "timeout_s")
