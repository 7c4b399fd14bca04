"""What trains is a plugin: a class of another package, named as analyses are.

    [project.entry-points."cdi.learners"]
    defects = "training.online:OnlineDefects"

It knows what a truth is, what an answer is worth beside it, and how the model is made better; it knows nothing of logs,
engines and versions. ``Trainer`` says what it must have; it derives from nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference_insitu.inference.plugins import find_plugin
from inference_insitu.transit.learning.examples import Example

ENTRY_POINT_GROUP = "cdi.learners"
FROZEN = "frozen"
"""Stream of the frames of a frozen set."""

Plain = tuple[NDArray[Any], Mapping[str, Any], Mapping[str, Any], str]
"""An array, its attributes, its truth, and what it must not be parted from."""


class Trainer(Protocol):
    """A training plugin; options of the configuration are its arguments."""

    def checked(self, truth: Mapping[str, Any]) -> Mapping[str, Any]:
        """``truth`` as it is kept.

        Raises
        ------
        ValueError
            If it is none.
        """
        ...

    def score(self, values: Mapping[str, Any], truth: Mapping[str, Any]) -> float:
        """What an answer is worth beside the truth; more is better, and 0 is what no answer is worth.

        Raises
        ------
        ValueError
            If the values are of another analysis.
        """
        ...

    def frozen(self, path: Path) -> Sequence[Plain]:
        """The frames of the frozen set at ``path``.

        Raises
        ------
        ValueError, OSError
            If it cannot be read.
        """
        ...

    def trained(
        self, options: Mapping[str, Any], examples: Sequence[Example], output: Path, *, seed: int, threads: int
    ) -> tuple[Mapping[str, Any], Sequence[Path]]:
        """A model made better on ``examples``, from the one that the analysis has with ``options``.

        Returns the options that let the analysis answer with it, and the files that these name: ``output`` with a
        suffix of its own.

        Raises
        ------
        ValueError
            If it cannot be trained on these.
        """
        ...


def build_trainer(plugin: str, options: Mapping[str, Any]) -> Trainer:
    """The training plugin ``plugin`` with ``options``.

    Raises
    ------
    ValueError
        If there is no such entry point, module or object, or it lacks what a trainer has.
    """
    found = find_plugin(plugin, ENTRY_POINT_GROUP)
    built: Trainer = found(**options)
    missing = [name for name in ("checked", "score", "frozen", "trained") if not callable(getattr(built, name, None))]
    if missing:
        raise ValueError(f"plugin must have {', '.join(missing)}, got {plugin!r} without")
    return built


def frozen_examples(trainer: Trainer, path: Path) -> list[Example]:
    """The frozen set as frames of a stream of its own.

    Raises
    ------
    ValueError, OSError
        If it cannot be read, or is empty.
    """
    found = [
        Example(FROZEN, 0, number, np.asarray(array), attributes, trainer.checked(truth), f"{FROZEN}/{group}")
        for number, (array, attributes, truth, group) in enumerate(trainer.frozen(path))
    ]
    if not found:
        raise ValueError(f"the frozen set must hold frames, got none in {path}")
    return found
