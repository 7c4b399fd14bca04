"""From the configuration and the declared variables to the ring of one rank: slots, policies, reductions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from inference_insitu.coupling_config import CouplingConfig, StreamConfig
from inference_insitu.inference.frame import Variable
from inference_insitu.reduction.group import Alone
from inference_insitu.reduction.operator_config import OperatorConfig
from inference_insitu.reduction.pipeline import Pipeline, pipeline
from inference_insitu.ring.layout import DTYPES, MOST_DIMENSIONS, MOST_STAGED, PAGE, Kind, Layout, SlotGroup
from inference_insitu.ring.policies import MOST_SPILLED, PolicyConfig
from inference_insitu.ring.stream import StreamPlan

STAGED_BYTES = 16 << 20
"""Of frames that wait in memory to be moved to the file, for each stream; two frames where they are larger."""


@dataclass(frozen=True)
class Coarser:
    """The coarser form of a whole ``frame``; what is smaller than declared, or of another type, has none."""

    pipeline: Pipeline
    frame: Variable

    def __call__(self, array: NDArray[Any]) -> NDArray[Any] | None:
        """Blocks of ``array`` added up, or None."""
        whole = array.shape == self.frame.shape and array.dtype == self.frame.dtype
        return self.pipeline(array, Alone()) if whole else None


@dataclass(frozen=True)
class RingPlan:
    """What one rank's ring is made of; no ``layout`` where every stream's content goes into other ranks' frames."""

    layout: Layout | None
    streams: dict[str, StreamPlan]
    reductions: dict[str, Pipeline]


def ring_plan(
    config: CouplingConfig, variables: Mapping[str, Variable], *, is_root: bool, spill_file: Path
) -> RingPlan:
    """The ring of a rank that declares ``variables``; ``is_root`` is the simulation's first rank.

    Raises
    ------
    ValueError
        If a stream's variable is not declared, or an operator or the policy does not fit it.
    """
    config.check_variables(variables)
    groups: list[SlotGroup] = []
    plans: dict[str, StreamPlan] = {}
    reductions: dict[str, Pipeline] = {}
    frames: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, stream in config.streams.items():
        declared = variables[name]
        reduction = _pipeline(name, stream.operators, declared)
        if stream.operators:
            reductions[name] = reduction
        if reduction.collective and not is_root:
            continue
        frame = Variable(str(reduction.dtype), reduction.shape)
        if reduction.dtype not in DTYPES or len(frame.shape) > MOST_DIMENSIONS:
            raise ValueError(
                f"streams.{name} must be of at most {MOST_DIMENSIONS} axes and one of the types "
                f"{', '.join(dtype.name for dtype in DTYPES)}, got {frame}"
            )
        coarser = _coarser(name, stream.policy, frame)
        plans[name] = StreamPlan(stream.policy, None if coarser is None else Coarser(coarser, frame))
        frames[name] = (frame.dtype, frame.shape)
        groups += _groups(name, stream, frame, coarser, moved=config.placement.kind in ("cores", "process"))
    if not groups:
        return RingPlan(None, plans, reductions)
    spills = any(group.kind is Kind.SPILL for group in groups)
    return RingPlan(Layout(tuple(groups), str(spill_file) if spills else "", frames), plans, reductions)


def ranks_with_rings(config: CouplingConfig, simulation_ranks: int) -> range:
    """The simulation ranks that have a ring: all, or the first alone where every stream is summed to it."""
    summed = all(any(one.build().collective for one in stream.operators) for stream in config.streams.values())
    return range(1 if summed else simulation_ranks)


def _groups(
    name: str, stream: StreamConfig, frame: Variable, coarser: Pipeline | None, *, moved: bool
) -> list[SlotGroup]:
    """Slots of a stream; ``moved``: the worker reads this very ring, and moves what spills to the file itself."""
    capacity = max(frame.bytes, 1)
    count = max(1, min(stream.steps, stream.max_bytes // capacity))
    groups = [SlotGroup(name, Kind.MEMORY, count, capacity)]
    if coarser is not None:
        groups.append(SlotGroup(name, Kind.COARSE, count, Variable(str(coarser.dtype), coarser.shape).bytes))
    if stream.policy.when_full == "spill":
        pages = -(-capacity // PAGE) * PAGE
        spilled = min(max(1, stream.policy.spill_bytes // pages), MOST_SPILLED)
        room = min(max(STAGED_BYTES, 2 * capacity), stream.max_bytes - count * capacity)
        staged = max(0, min(room // capacity, spilled, MOST_STAGED)) if moved else 0
        groups.append(SlotGroup(name, Kind.SPILL, spilled, capacity, staged))
    return groups


def _pipeline(name: str, operators: tuple[OperatorConfig, ...], variable: Variable) -> Pipeline:
    try:
        return pipeline(operators, variable.shape, variable.dtype)
    except ValueError as error:
        raise ValueError(f"streams.{name}.operators: {error}") from error


def _coarser(name: str, policy: PolicyConfig, frame: Variable) -> Pipeline | None:
    if policy.when_full != "degrade":
        return None
    try:
        return pipeline((OperatorConfig(kind="bin", factor=policy.factor),), frame.shape, frame.dtype)
    except ValueError as error:
        raise ValueError(f"streams.{name}.policy (degrade): {error}") from error
