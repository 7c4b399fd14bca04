"""What the baselines learn from: labelled exposures of the network's own recipe, drawn once, kept and shared.

They are the first crystals of the stream that the network learns from. Simulating is most of the work, so a baseline
sees each of them many times, where the network sees each crystal once; turned and flipped, they are 48 times as many.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from cdi.config import to_dict, write_config
from cdi.defects.classes import CLASSES
from data.drawn_batches import choose
from data.recipe import Recipe
from data.sampling import detected
from models.prediction import MOST_LINES
from training.targets import CrystalTruth, centred

BLOCK = 64
"""Crystals of a file: what is lost at most when drawing stops."""
RECIPE_FILE = "recipe.yaml"


@dataclass(frozen=True, eq=False)
class LabelledExposures:
    """One exposure each of n crystals.

    Parameters
    ----------
    root : (n, x, y, z) float16
        √counts of the pattern moved by whole voxels until its centre of mass is at ``N // 2``; 0 where not measured.
    measured : (n, x, y, z) bool
    defect : (n,) int64
        Index into ``CLASSES``.
    determined : (n,) bool
        Whether the exposure can tell the class.
    count : (n,) int64
        Lines that it sees, up to ``MOST_LINES``.

    Raises
    ------
    ValueError
        If the numbers of exposures disagree or there is none.
    """

    root: NDArray[np.float16]
    measured: NDArray[np.bool_]
    defect: NDArray[np.int64]
    determined: NDArray[np.bool_]
    count: NDArray[np.int64]

    def __post_init__(self) -> None:
        numbers = {len(getattr(self, field.name)) for field in fields(self)}
        if len(numbers) != 1 or numbers == {0}:
            raise ValueError(f"exposures must be equally many in every field and at least one, got {sorted(numbers)}")

    def __len__(self) -> int:
        return len(self.root)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of a pattern."""
        x, y, z = self.root.shape[1:]
        return x, y, z

    def counts(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Photons ``(k, x, y, z)`` of the exposures ``rows``."""
        return np.square(self.root[rows].astype(np.float32))

    def part(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "LabelledExposures":
        """The exposures ``rows`` alone."""
        return LabelledExposures(*(getattr(self, field.name)[rows] for field in fields(self)))

    def held_out(self, share: float) -> tuple["LabelledExposures", "LabelledExposures"]:
        """The first ones to learn from, and the last ``share`` of them, at least one, to judge by."""
        behind = len(self) - max(1, round(share * len(self)))
        return self.part(slice(None, behind)), self.part(slice(behind, None))


def drawn_exposures(recipe: Recipe, directory: Path, number: int, *, workers: int = 0) -> LabelledExposures:
    """The first ``number`` crystals of ``recipe``, one exposure each; blocks that ``directory`` holds are kept.

    Raises
    ------
    ValueError
        If the recipe has fewer crystals, or ``directory`` holds those of another recipe.
    """
    if not 1 <= number <= recipe.samples:
        raise ValueError(f"number must lie in [1, {recipe.samples}], the recipe's samples, got {number}")
    single = replace(recipe, reflection_count=1)
    _claim(directory, single)
    blocks = _Blocks(single, directory, -(-number // BLOCK))
    drawing = DataLoader(blocks, None, num_workers=workers, worker_init_fn=_one_thread)
    for _ in tqdm(drawing, desc="drawing", unit="block", mininterval=1.0, disable=None):
        pass
    return stored_exposures(directory, number)


def stored_exposures(directory: Path, number: int) -> LabelledExposures:
    """The first ``number`` exposures, or as many as ``directory`` holds.

    Raises
    ------
    ValueError
        If it holds none.
    """
    paths = sorted(directory.glob("block-?????.npz"))[: -(-number // BLOCK)]
    if not paths:
        raise ValueError(f"{directory} must hold drawn exposures (block-*.npz), it holds none")
    parts = []
    for path in paths:
        with np.load(path, allow_pickle=False) as block:
            parts.append([block[field.name] for field in fields(LabelledExposures)])
    return LabelledExposures(*(np.concatenate(columns)[:number] for columns in zip(*parts, strict=True)))


def drawn_block(recipe: Recipe, indices: Sequence[int]) -> LabelledExposures:
    """One exposure each of the crystals with these absolute indices."""
    chosen = [choose(recipe, index) for index in indices]
    seen = [detected(choice.draw, choice.generators)[0] for choice in chosen]
    counts, mask = (torch.stack(volumes)[:, None] for volumes in zip(*seen, strict=True))
    moved, measured, _ = centred(counts * mask, mask)
    truths = [CrystalTruth.of_draw(choice.draw) for choice in chosen]
    return LabelledExposures(
        moved[:, 0].sqrt().half().numpy(),
        measured[:, 0].numpy(),
        np.array([CLASSES.index(truth.defect) for truth in truths]),
        np.array([truth.determined for truth in truths]),
        np.array([min(len(truth.visible), MOST_LINES) for truth in truths]),
    )


class _Blocks(Dataset[int]):
    """Block number → drawn into its file, unless it is there."""

    def __init__(self, recipe: Recipe, directory: Path, number: int) -> None:
        self.recipe, self.directory, self.number = recipe, directory, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, number: int) -> int:
        if number >= self.number:
            raise IndexError(number)
        path = self.directory / f"block-{number:05d}.npz"
        if not path.exists():
            first = self.recipe.first_index + number * BLOCK
            last = min(first + BLOCK, self.recipe.first_index + self.recipe.samples)
            block = drawn_block(self.recipe, range(first, last))
            partial = path.with_suffix(".partial.npz")
            np.savez_compressed(partial, **{field.name: getattr(block, field.name) for field in fields(block)})
            partial.replace(path)
        return number


def _claim(directory: Path, recipe: Recipe) -> None:
    import yaml

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / RECIPE_FILE
    if not path.exists():
        write_config(recipe, path)
    elif _distribution(yaml.safe_load(path.read_text())) != _distribution(to_dict(recipe)):
        raise ValueError(f"{directory} must be empty or hold exposures of this recipe; its {RECIPE_FILE} differs")


def _distribution(recipe: dict[str, Any]) -> dict[str, Any]:
    """What decides crystal by crystal: not how many there may be."""
    return {key: value for key, value in recipe.items() if key != "samples"}


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
