"""Learning beside a run: the layers that answer are fine-tuned on frames whose truth a simulation knows.

What brings a pattern to real space and reads it stays as it is: only ``online_heads.ANSWERING`` learns, from what these
layers see of each frame, which is computed once. So a version costs seconds on one core, and lines are traced as
before. It is trained on the run's frames and as many of the model's own training (replay: Robins 1995, Connect. Sci. 7,
123), and held near the weights that it starts from (L2-SP: Li et al., ICML 2018), lest it forget. Of the epochs the one
of least loss on crystals set apart counts.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cdi.requirements import nearest, require
from data.dataset import StoredCrystals
from models.prediction import CLASSES, MOST_LINES
from training.online_frames import FrameWithTruth, exposure_of
from training.online_heads import HeadConfig

Plain = tuple[NDArray[Any], Mapping[str, Any], Mapping[str, Any], str]
KNOWN = ("class", "count")


class OnlineDefects:
    """Trains the network of the analysis ``defects``. A truth is ``{"class": …, "count": …}``.

    ``class`` is one of ``cdi.defects.classes.CLASSES``, ``count`` the lines that the pattern shows. A defect that every
    line of which the reflection hides (g·b = 0) is no truth for its pattern: do not send it.

    Parameters
    ----------
    option : where the analysis' options name the checkpoint; ``options.model`` within ``windowed``.
    replay : data set of ``cdi generate`` that is trained on beside; '' draws from the recipe of the checkpoint.
    replay_frames : of it.
    seed : of what is drawn.
    head : how the layers learn.
    """

    def __init__(
        self,
        *,
        option: str = "model",
        replay: str = "",
        replay_frames: int = 256,
        seed: int = 0,
        head: Mapping[str, Any] | None = None,
    ) -> None:
        require(1 <= replay_frames <= 1 << 16, "replay_frames", "lie in [1, 65536]", replay_frames)
        self._option, self._replay, self._seed = option.split("."), replay, seed
        self._replay_frames = replay_frames
        try:
            self._head = HeadConfig(**(head or {}))
        except TypeError as error:
            raise ValueError(f"head must be settings of training.online_heads.HeadConfig, got: {error}") from error
        self._frozen: Path | None = None
        self._features: Any = None

    def checked(self, truth: Mapping[str, Any]) -> dict[str, Any]:
        """``truth`` as it is kept.

        Raises
        ------
        ValueError
            If a key is unknown, the class is none, or the count is no number of lines.
        """
        for name in truth:
            require(name in KNOWN, "truth", f"hold {' and '.join(KNOWN)}; {nearest(name, KNOWN)}", name)
        named, count = truth.get("class"), truth.get("count", 0 if truth.get("class") == "none" else 1)
        require(named in CLASSES, "truth.class", f"be one of {', '.join(CLASSES)}", named)
        whole = isinstance(count, int) and not isinstance(count, bool)
        require(whole and 0 <= count < 1 << 16, "truth.count", "be a number of lines", count)
        return {"class": named, "count": min(count, MOST_LINES)}

    def score(self, values: Mapping[str, Any], truth: Mapping[str, Any]) -> float:
        """1 − ½ Σ_c (p_c − y_c)² of the class: 1 for a sure right answer, 0 for a sure wrong one (Brier 1950).

        Raises
        ------
        ValueError
            If the values hold no ``class_probabilities``.
        """
        told = values.get("class_probabilities")
        if not isinstance(told, Mapping) or set(told) != set(CLASSES):
            raise ValueError(f"class_probabilities must name {', '.join(CLASSES)}, got {str(told)[:80]}")
        wrong = sum((float(told[name]) - (name == truth["class"])) ** 2 for name in CLASSES)
        return float(1 - wrong / 2)

    def frozen(self, path: Path) -> list[Plain]:
        """The first exposure of each crystal of the data set at ``path`` whose class it shows.

        Raises
        ------
        ValueError, OSError
            If it cannot be read, or is the one that is trained on.
        """
        if self._replay and Path(self._replay).resolve() == path.resolve():
            raise ValueError(f"the frozen set must not be the one that is trained on (replay), got {path} for both")
        self._frozen = path
        found: list[Plain] = []
        crystals = StoredCrystals(path)
        for position in range(len(crystals)):
            sample = crystals[position][0]
            grid, truth = sample.exposure.grid, sample.truth
            if grid is not None and truth.determined:
                told = {"q_centre": grid.centre.tolist(), "q_step": grid.step.tolist()}
                visible = sum(line.visible for line in truth.lines)
                kept = {"class": truth.defect, "count": visible}
                found.append((sample.exposure.counts, told, kept, f"{sample.index}"))
        return found

    def trained(
        self,
        options: Mapping[str, Any],
        examples: Sequence[FrameWithTruth],
        output: Path,
        *,
        seed: int,
        threads: int,
    ) -> tuple[dict[str, Any], list[Path]]:
        """A checkpoint made better on ``examples``: ``output`` with the suffix ``.safetensors``.

        Raises
        ------
        ValueError, OSError
            If there is nothing to train on, or the checkpoint does not load.
        """
        import torch

        from training.online_heads import fine_tuned

        torch.set_num_threads(threads)
        start = self._named(options)
        require(bool(examples), "examples", "hold frames", 0)
        if self._features is None:
            from training.online_features import Features

            self._features = Features(start, replay=self._replay, frames=self._replay_frames, seed=self._seed)
        within = _inner(options, self._option[:-1])
        exposed: Callable[[FrameWithTruth], Any] = lambda one: exposure_of(one, within)  # noqa: E731
        path = output.with_name(f"{output.name}.safetensors")
        fine_tuned(start, self._features.of(examples, exposed), self._features.replay(), path, self._head, seed=seed)
        return _nested(self._option, str(path)), [path]

    def _named(self, options: Mapping[str, Any]) -> str:
        """The checkpoint that the analysis answers with."""
        name = _inner(options, self._option[:-1]).get(self._option[-1], "default")
        require(isinstance(name, str) and bool(name), ".".join(self._option), "name a checkpoint", name)
        return str(name)


def _inner(options: Mapping[str, Any], keys: Sequence[str]) -> Mapping[str, Any]:
    for key in keys:
        inner = options.get(key, {})
        if not isinstance(inner, Mapping):
            raise ValueError(f"option must lead through mappings, got {key!r}, a {type(inner).__name__}")
        options = inner
    return options


def _nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return dict(value)
