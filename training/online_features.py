"""What the answering layers of a network see of patterns: computed once, for the layers below do not learn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cdi.config import read_object
from cdi.pattern import Exposure
from data.dataset import StoredCrystals
from data.drawn_batches import choose
from data.recipe import Recipe
from models.checkpoint import load
from models.pattern_set import PatternSet
from models.prediction import CLASSES, MOST_LINES
from models.predictor import Predictor
from models.preprocess import fit_set, pattern_set
from training.batches import finished
from training.online_frames import FrameWithTruth
from training.targets import Targets, targets_of_samples

AT_ONCE = 8
REPLAY_INDEX = 1 << 40
"""Index of the first crystal that is drawn: far behind those that any training has met."""


@dataclass(frozen=True)
class Seen:
    """``features`` (n, seen) of patterns, their class and count (n,), and what each must not be parted from."""

    features: Tensor
    defect: Tensor
    count: Tensor
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.defect)

    def rows(self, chosen: Sequence[int]) -> "Seen":
        """Those of the rows ``chosen``."""
        index = torch.as_tensor(np.asarray(chosen, np.int64))
        groups = tuple(self.groups[row] for row in chosen)
        return Seen(self.features[index], self.defect[index], self.count[index], groups)


class Features:
    """Of frames and of the replay, by the network of the checkpoint ``model``.

    Later versions of it differ in the layers that answer alone, so that what was computed holds for them too.

    Raises
    ------
    ValueError
        If the checkpoint is of a model that searches.
    """

    def __init__(self, model: str, *, replay: str, frames: int, seed: int) -> None:
        self._predictor = Predictor.load(model, "cpu")
        if self._predictor.network.config.first_stage == "search":
            raise ValueError(f"model must be one whose network answers by itself to learn beside a run, got {model!r}")
        self._replay_path, self._frames, self._seed = replay, frames, seed
        self._recipe = None if replay else _recipe(model)
        self._known: dict[tuple[str, int, int], Tensor] = {}
        self._replayed: Seen | None = None

    def of(self, examples: Sequence[FrameWithTruth], exposed: Callable[[FrameWithTruth], Exposure]) -> Seen:
        """Of ``examples``; what is no longer among them is forgotten."""
        keys = [(one.stream, one.rank, one.step) for one in examples]
        new = [(key, one) for key, one in zip(keys, examples, strict=True) if key not in self._known]
        shape = self._predictor.shape
        for first in range(0, len(new), AT_ONCE):
            some = new[first : first + AT_ONCE]
            patterns = pattern_set([fit_set([exposed(one)], shape) for _, one in some])
            self._known.update(zip((key for key, _ in some), self._seen(patterns), strict=True))
        self._known = {key: self._known[key] for key in keys}
        defect = [CLASSES.index(one.truth["class"]) for one in examples]
        count = [min(int(one.truth["count"]), MOST_LINES) for one in examples]
        groups = tuple(one.group for one in examples)
        features = torch.stack([self._known[key] for key in keys])
        return Seen(features, torch.as_tensor(defect), torch.as_tensor(count), groups)

    def replay(self) -> Seen:
        """Of patterns such as the model was trained on, whose class they show."""
        if self._replayed is None:
            parts = [(self._seen(batch.patterns), batch) for batch in self._batches()]
            kept = torch.cat([batch.determined for _, batch in parts]) > 0
            defect, count = (torch.cat([getattr(b, name) for _, b in parts])[kept] for name in ("defect", "count"))
            features = torch.cat([seen for seen, _ in parts])[kept]
            groups = tuple(f"replay {row}" for row in range(len(features)))
            self._replayed = Seen(features, defect.long(), count.long(), groups)
        return self._replayed

    def _batches(self) -> "list[Targets]":
        if self._recipe is not None:
            recipe = replace(self._recipe, seed=self._seed + 1)
            firsts = range(0, self._frames, AT_ONCE)
            ranges = [range(first, min(first + AT_ONCE, self._frames)) for first in firsts]
            return [finished([choose(recipe, REPLAY_INDEX + index) for index in some], "cpu") for some in ranges]
        crystals = StoredCrystals(self._replay_path)
        order = np.random.default_rng(self._seed).permutation(len(crystals))[: self._frames]
        chosen = [order[first : first + AT_ONCE] for first in range(0, len(order), AT_ONCE)]
        return [targets_of_samples([crystals[int(place)][:1] for place in some]) for some in chosen]

    @torch.inference_mode()
    def _seen(self, patterns: PatternSet) -> Tensor:
        """What the answering layers are given of ``patterns`` (n, seen)."""
        found: list[Tensor] = []

        def keep(_: Any, given: tuple[Tensor, ...]) -> None:
            found.append(given[0].detach().clone())

        handle = self._predictor.network.hidden.register_forward_pre_hook(keep)
        try:
            self._predictor.network(patterns)
        finally:
            handle.remove()
        return found[0]


def _recipe(model: str) -> Recipe:
    """What the checkpoint was trained on, one exposure of each crystal."""
    told = load(model).training.get("config", {}).get("recipe")
    if not isinstance(told, dict):
        raise ValueError(f"replay must name a data set for a checkpoint that does not say its recipe, got {model!r}")
    return replace(read_object(Recipe, told, origin=str(model)), reflection_count=1)
