"""The run as a coupling: one variable, its reductions, who answers it, and what the simulation lets itself be told."""

from pathlib import Path

from inference_insitu.coupling_config import AnalysisConfig, CouplingConfig, StreamConfig
from inference_insitu.inference.batching import BatchConfig
from inference_insitu.inference.frame import Variable
from inference_insitu.lammps.config import InsituConfig
from inference_insitu.reduction.operator_config import OperatorConfig
from inference_insitu.steering.commands import Commands, CommandSpec
from inference_insitu.steering.replay import read_applied
from inference_insitu.steering.rules import Rules

STREAM = "pattern"
ANALYSIS = "defects"

# The amplitude is linear in the atoms: the ranks' amplitudes add, their intensities would not.
_REDUCTION = (
    OperatorConfig(kind="sum_to_root"),
    OperatorConfig(kind="abs2"),
    OperatorConfig(kind="cast", dtype="float32"),
)
_FASTEST = 10
"""Closing speed that may be asked for, in multiples of the configured one."""


def coupling_config(config: InsituConfig) -> CouplingConfig:
    """The coupling that ``config`` describes."""
    # What waits is answered together, nobody waits for company, and a batch leaves room for newer patterns.
    batch = BatchConfig(size=max(1, config.coupling.queue // 2), delay_s=0.0)
    options = {
        "model": config.inference.model,
        "peak_counts": config.pattern.peak_counts,
        "seed": config.pattern.seed,
        "threads": config.placement.threads,
        "last_step": config.load.steps,
    }
    return CouplingConfig(
        streams={
            STREAM: StreamConfig(ANALYSIS, config.policy, steps=config.coupling.queue, operators=_REDUCTION),
        },
        analyses={ANALYSIS: AnalysisConfig("defects", options, batch)},
        placement=config.placement,
        on_inference_failure=config.on_inference_failure,
        steering=config.steering,
        migration=config.migration,
    )


def variables(config: InsituConfig) -> dict[str, Variable]:
    """What a rank publishes: the amplitude of its own atoms."""
    return {STREAM: Variable("complex128", config.pattern.shape)}


def commands(config: InsituConfig) -> tuple[CommandSpec, ...]:
    """What may be asked of the simulation; a negative ``rate`` opens the planes."""
    fastest = _FASTEST * config.load.closing_speed_A_per_ps
    return (
        CommandSpec("snapshot"),
        CommandSpec("interval", 1, config.load.steps, "steps", integer=True),
        CommandSpec("rate", -fastest, fastest, "A/ps"),
        CommandSpec("stop"),
    )


def check_steering(config: InsituConfig) -> None:
    """Raise unless rules, bounds and a log to be replayed fit ``commands``.

    Raises
    ------
    ValueError, OSError
        One line that says what does not fit, or that the log cannot be read.
    """
    known = Commands(commands(config), config.steering.bounds)
    Rules(config.steering.rules, known)
    if config.steering.replay is not None:
        read_applied(Path(config.steering.replay).read_bytes(), config.steering.replay, known)


def least_ranks(config: InsituConfig) -> int:
    """Ranks that a run needs on one node: one to simulate, and those given up."""
    return 1 + ranks_given_up(config)


def ranks_given_up(config: InsituConfig) -> int:
    """Ranks that do not simulate, on one node."""
    return config.placement.ranks if config.placement.kind in ("cores", "nodes") else 0
