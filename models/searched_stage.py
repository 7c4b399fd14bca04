"""The first stage that searches: objects of a phase retrieval as the proposal that the reader starts from.

What was searched can be kept in a folder, by the pattern and the settings: seconds a pattern are hours for a test set,
and a run that was stopped goes on from there.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cdi.fourier import centre_crop
from cdi.pattern import Exposure
from cdi.progress import progress_bar
from cdi.retrieval.common_frame import lay_over
from cdi.retrieval.config import SearchConfig
from cdi.retrieval.search import SearchedObject, search
from cdi.whole_file import whole_file
from models.network import DefectNet, Proposal
from models.pattern_set import PatternSet, geometry
from models.preprocess import features

DAMAGED = (ValueError, KeyError, EOFError, BadZipFile)
"""What reading a kept object raises where the file is cut or no such file at all: then it is searched anew."""
NO_LINE = -4.0
"""Logit of the line density that is proposed: a retrieval names no lines."""
BRIGHTEST = 2.0
"""Of the modulus of a proposed phasor, its mean within the crystal being 1."""
KEPT_VERSION = 1


@dataclass(frozen=True)
class Searcher:
    """Searches with ``config`` and keeps what it finds in ``folder``, where one is given."""

    config: SearchConfig
    folder: Path | None = None

    def searched(self, counts: Tensor, measured: Tensor) -> SearchedObject | None:
        """The object behind one pattern ``(x, y, z)``, searched or kept; None where it cannot be phased."""
        photons, seen = counts.cpu().numpy(), measured.cpu().numpy()
        path = None if self.folder is None else self.folder / f"{_key(photons, seen, self.config)}.npz"
        if path is not None:
            with suppress(FileNotFoundError, *DAMAGED):
                return _read(path)
        exposure = Exposure(photons, None, None if seen.all() else seen)
        try:
            found = search(exposure, self.config, device=counts.device)
        except ValueError:
            found = None
        if path is not None:
            _keep(found, path)
        return found


@dataclass(frozen=True)
class SearchedStage:
    """Proposals for ``network`` from what ``searcher`` finds; ``progress`` shows a bar on a terminal.

    The relative twins of a crystal's reflections, which moduli tell badly, are those with which the network sees a line
    most surely: lines of different reflections coincide in the right ones alone.
    """

    network: DefectNet
    searcher: Searcher
    progress: bool = False

    def proposal(self, patterns: PatternSet) -> Proposal:
        """For every exposure; that of the network where a pattern cannot be phased, say with its peak behind a gap."""
        own = self.network.propose(features(patterns.counts.flatten(0, 1)), geometry(patterns).flatten(0, 1))
        reflections = patterns.present.shape[1]
        chosen = []
        with progress_bar(int(patterns.present.sum()), "pattern", "search", shown=self.progress) as bar:
            for crystal in range(len(patterns.present)):
                found: dict[int, SearchedObject] = {}
                for number in patterns.present[crystal].nonzero()[:, 0].tolist():
                    one = self.searcher.searched(patterns.counts[crystal, number], patterns.measured[crystal, number])
                    if one is not None:
                        found[number] = one
                    bar.update()
                places = slice(crystal * reflections, (crystal + 1) * reflections)
                chosen.append(self._surest(patterns.crystal(crystal), own.part(places), found))
        return joined(chosen)

    def _surest(self, patterns: PatternSet, own: Proposal, found: Mapping[int, SearchedObject]) -> Proposal:
        """The proposal of one crystal: objects ``found`` by the number of their reflection, ``own`` for the others."""
        half = (own.line_logits.shape[-3], own.line_logits.shape[-2], own.line_logits.shape[-1])
        twins = {
            number: [
                object_proposal(centre_crop(density, half)[None], centre_crop(inside, half)[None]).to(own.phasor.device)
                for density, inside in both
            ]
            for number, both in zip(found, in_one_frame([*found.values()]), strict=True)
        }
        free = frozenset(number for number, both in twins.items() if len(both) > 1)

        def turned(chosen: frozenset[int]) -> Proposal:
            every = range(len(own.line_logits))
            told = [twins[n][n in chosen] if n in twins else own.part(slice(n, n + 1)) for n in every]
            return joined(told).to(own.phasor.device)

        best: frozenset[int] = frozenset()
        heights: dict[frozenset[int], float] = {}
        while free:
            # Turning the one that the others lie over is turning all others.
            near = [best, *(best ^ {number} for number in sorted(free)), best ^ free]
            new = [chosen for chosen in dict.fromkeys(near) if chosen not in heights]
            if new:
                output = self.network(patterns.repeated(len(new)), proposal=joined([turned(chosen) for chosen in new]))
                heights |= zip(new, output.line_logits.flatten(1).amax(1).tolist(), strict=True)
            surest = max(near, key=lambda chosen: heights[chosen])
            if surest == best:
                break
            best = surest
        return turned(best)


def in_one_frame(objects: Sequence[SearchedObject]) -> list[tuple[tuple[Tensor, Tensor], ...]]:
    """Density and support of each of a crystal's reflections over that which fits its pattern best.

    Of every other one both twins, the likelier first.
    """
    if not objects:
        return []
    best = min(range(len(objects)), key=lambda number: objects[number].error)
    return [
        ((one.density, one.support),) if number == best else lay_over(one.density, one.support, objects[best].density)
        for number, one in enumerate(objects)
    ]


def joined(parts: Sequence[Proposal]) -> Proposal:
    """Proposals one after the other."""
    return Proposal(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Proposal)))


def object_proposal(density: Tensor, inside: Tensor) -> Proposal:
    """What objects ``(n, x, y, z)``, complex, within ``inside`` propose: no line; a crystal where the mean modulus of
    a voxel and its neighbours is that of the crystal, so that the dark core of a line is crystal too; their phase.
    """
    within = inside.to(density.real.dtype)
    voxels = within.sum((-3, -2, -1), keepdim=True).clamp_min(1)
    plateau = (density.abs() * within).sum((-3, -2, -1), keepdim=True) / voxels
    relative = density / plateau.clamp_min(1e-12)
    smooth = F.avg_pool3d((relative.abs() * within)[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    support = (smooth.clamp(0.0, 1.0) * within).clamp(0.02, 0.98)
    modulus = relative.abs()
    phasor = relative * (modulus.clamp_max(BRIGHTEST) / modulus.clamp_min(1e-12))
    return Proposal(torch.full_like(support, NO_LINE), support.logit(), phasor)


def _key(counts: np.ndarray, measured: np.ndarray, config: SearchConfig) -> str:
    told = json.dumps([KEPT_VERSION, counts.shape, asdict(config)])
    digest = hashlib.sha256(told.encode())
    digest.update(np.ascontiguousarray(counts, "<f4").tobytes())
    digest.update(np.packbits(measured).tobytes())
    return digest.hexdigest()[:32]


def _keep(found: SearchedObject | None, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, partial.open("wb") as file:
        if found is None:
            np.savez(file, deviance=np.float64("nan"))
        else:
            np.savez(
                file, density=found.density.cpu().numpy(), support=found.support.cpu().numpy(),
                deviance=np.float64(found.deviance), error=np.float64(found.error),
            )  # fmt: skip


def _read(path: Path) -> SearchedObject | None:
    with np.load(path, allow_pickle=False) as file:
        if np.isnan(file["deviance"]):
            return None
        density, support = torch.from_numpy(file["density"]), torch.from_numpy(file["support"])
        return SearchedObject(density, support, float(file["deviance"]), float(file["error"]))
