"""Analyses are plugins: a function of one frame, or a class that answers several at once.

    def roughness(frame, *, scale=1.0):                 # pyproject.toml of the user's own package:
        return {"rms": scale * frame.array.std()}       #   [project.entry-points."cdi.analyses"]
                                                        #   roughness = "my_package:roughness"

A name is looked up among the entry points of the group ``cdi.analyses``; ``module:object`` needs no
installation.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import isclass
from pathlib import Path
from typing import Any

import numpy as np

from inference_insitu.inference.batching import BatchConfig
from inference_insitu.inference.frame import Frame, Variable
from inference_insitu.inference.plugins import find_plugin

ENTRY_POINT_GROUP = "cdi.analyses"

Values = Mapping[str, Any]


class Analysis:
    """Answers frames of one shape and type at a time. Options of the configuration are its arguments."""

    model = ""
    """What answers, for the ledger: a name and a hash, say."""
    wants_device = False
    """Whether frames that lie on a GPU stay there (``Frame.device``), unchecked; any other gets them as arrays."""
    batching = BatchConfig()
    """How frames are put together for it; known before ``warm_up``."""

    def open(self, output: Path, worker: int, incarnation: int) -> None:
        """Told first: the run's folder, and which life of which worker this is, for the names of files of one's own."""

    def warm_up(self, variable: Variable) -> None:
        """Load and run once what later frames of ``variable`` need, before the worker says that it is ready."""

    def answer(self, frames: Sequence[Frame]) -> Sequence[Values]:
        """Plain finite values for each frame, in their order."""
        raise NotImplementedError

    def state(self, stream: str, rank: int) -> bytes:
        """What later answers to frames of ``stream`` on ``rank`` depend on beside those frames; b"" for nothing.

        Whoever answers them from then on elsewhere is given it (``install``). An analysis that has such a state changes
        it only for frames that it answers: one that raises is asked again, frame by frame.
        """
        return b""

    def install(self, stream: str, rank: int, state: bytes) -> None:
        """Go on from ``state``, in place of one's own of ``stream`` and ``rank``; b"" begins anew.

        Raises
        ------
        ValueError
            If it is no state of this analysis.
        """
        if state:
            raise ValueError(f"state must be empty for an analysis that keeps none, got {len(state)} bytes")

    def close(self) -> None:
        """The stream has ended."""


class _OfFrame(Analysis):
    """A function of one frame as an analysis."""

    def __init__(self, function: Callable[[Frame], Values]) -> None:
        self._function = function

    def answer(self, frames: Sequence[Frame]) -> Sequence[Values]:
        return [self._function(frame) for frame in frames]


def build_analysis(plugin: str, options: Mapping[str, Any]) -> Analysis:
    """The analysis ``plugin`` with ``options``."""
    found = find_plugin(plugin, ENTRY_POINT_GROUP)
    if isclass(found):
        built = found(**options)
        if not isinstance(built, Analysis):
            raise ValueError(f"plugin must be a function or derive from Analysis, got the class {plugin!r}")
        return built
    return _OfFrame(partial(found, **options))


def answers_or_errors(analysis: Analysis, name: str, frames: Sequence[Frame]) -> list[Values | BaseException]:
    """An answer or an error for each; a batch that fails is tried frame by frame, to find who broke it."""
    try:
        answers = list(analysis.answer(frames))
        if len(answers) != len(frames):
            raise ValueError(f"{name} must answer {len(frames)} frames, got {len(answers)} answers")
        return [*answers]
    except (Exception, SystemExit) as error:
        if len(frames) == 1:
            return [error]
    return [answer for one in frames for answer in answers_or_errors(analysis, name, [one])]


def plain_values(values: Values) -> dict[str, Any]:
    """``values`` as JSON takes them.

    Raises
    ------
    FloatingPointError
        If one is NaN or infinite.
    TypeError
        If one is no plain value.
    """
    return {str(name): _plain(name, value) for name, value in values.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        raise FloatingPointError(f"the answer's {name!r} is {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"the answer's {name!r} must be a plain value, got a {type(value).__name__}")
