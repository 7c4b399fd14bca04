"""A drawn batch learnt from several times, some batches later each time and with its voxel axes newly labelled.

A GPU learns faster than processors draw. Which of a grid's axes comes first and which way it runs is a label: the
crystal, its atoms and their frame stay, counts and volumes move to other indices (the 48 operations of the cube). To a
network these are other patterns, and nothing about them is an approximation.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from models.network import Proposal
from models.pattern_set import PatternSet
from training.batches import Raw
from training.targets import Targets

LATER = 24
"""Drawn batches between two uses of one: neighbouring steps learn from different crystals."""


class Replayed:
    """The batches of ``source``, each ``uses`` times in all, ``LATER`` drawn ones apart; the rest at the end.

    Each is ``prepared`` once, with its number, before its first use. The order is a function of the source's alone, so
    that an epoch repeats.
    """

    def __init__(
        self, source: "DataLoader[Raw]", uses: int, prepared: Callable[[Raw, int], Raw] = lambda raw, number: raw
    ) -> None:
        if uses < 1:
            raise ValueError(f"uses must be at least 1, got {uses}")
        self.source, self.uses, self.prepared = source, uses, prepared

    @property
    def sampler(self) -> "Sampler[int]":
        """What the trainer tells the epoch."""
        return cast("Sampler[int]", self.source.sampler)

    def __len__(self) -> int:
        return len(self.source) * self.uses

    def __iter__(self) -> Iterator[Raw]:
        kept: deque[Raw] = deque()
        for number, drawn_batch in zip(self.sampler, self.source, strict=True):
            raw = self.prepared(_own(drawn_batch) if self.uses > 1 else drawn_batch, number)
            if self.uses > 1:
                kept.append(raw)
            yield raw
            yield from (kept[-1 - again * LATER] for again in range(1, self.uses) if len(kept) > again * LATER)
            if len(kept) > (self.uses - 1) * LATER:
                kept.popleft()
        drawn = len(self.source)
        for late in range(drawn, drawn + (self.uses - 1) * LATER):
            due = (late - again * LATER for again in range(1, self.uses))
            yield from (kept[number - drawn] for number in due if 0 <= number < drawn)


def relabelled(batch: Targets, order: Sequence[int], signs: Sequence[int]) -> Targets:
    """``batch`` on the same voxels with other labels: new axis i runs along ``signs[i]`` times the old ``order[i]``.

    Raises
    ------
    ValueError
        If the new axes change the grid's shape.
    """
    patterns = batch.patterns
    shape = patterns.counts.shape[-3:]
    if tuple(shape[axis] for axis in order) != tuple(shape):
        raise ValueError(f"order must keep the grid's shape {tuple(shape)}, got {tuple(order)}")

    def moved(volume: Tensor) -> Tensor:
        first = volume.dim() - 3
        turned = volume.permute(*range(first), *(first + axis for axis in order))
        axes = [first + axis for axis, sign in enumerate(signs) if sign < 0]
        # Index N // 2 stays the origin.
        even = [axis for axis in axes if turned.shape[axis] % 2 == 0]
        return torch.roll(turned.flip(axes), [1] * len(even), even) if even else turned.flip(axes)

    rows = torch.as_tensor(list(order), device=patterns.voxel.device)
    along = torch.as_tensor(list(signs), device=patterns.voxel.device)
    told = PatternSet(
        moved(patterns.counts), moved(patterns.measured), patterns.present, patterns.G,
        patterns.voxel[:, rows] * along[:, None],
    )  # fmt: skip
    hand = int(torch.linalg.det(torch.eye(3)[list(order)] * torch.tensor(list(signs))[:, None]).round())
    turns = (hand * along).to(batch.winding)[:, None, None, None]
    proposal = batch.proposal
    if proposal is not None:
        proposal = Proposal(*(moved(getattr(proposal, field.name)) for field in fields(proposal)))
    return replace(
        batch, patterns=told, line=moved(batch.line), winding=moved(batch.winding)[:, :, rows] * turns,
        support=moved(batch.support), phase=moved(batch.phase), proposal=proposal,
    )  # fmt: skip


def newly_labelled(batch: Targets) -> Targets:
    """``batch`` with labels drawn from torch's global stream."""
    shape = batch.patterns.counts.shape[-3:]
    order = torch.randperm(3).tolist() if len(set(shape)) == 1 else [0, 1, 2]
    signs = [1 - 2 * bit for bit in torch.randint(2, (3,)).tolist()]
    return relabelled(batch, order, signs)


def _own(raw: Raw) -> Raw:
    """The same in memory of its own: what a worker hands over holds an open file for every tensor."""
    if not isinstance(raw, Targets):
        return raw
    patterns = PatternSet(*(getattr(raw.patterns, field.name).clone() for field in fields(raw.patterns)))
    return replace(
        raw, patterns=patterns, defect=raw.defect.clone(), determined=raw.determined.clone(), count=raw.count.clone(),
        line=raw.line.clone(), winding=raw.winding.clone(), support=raw.support.clone(), phase=raw.phase.clone(),
    )  # fmt: skip
