"""The first stage that searches: objects of a phase retrieval as the proposal that the reader starts from.

What the reader makes of a crystal's objects is nearer to the truth than an object that the search got wrong: it has
seen crystals, and all reflections at once. From there retrieval goes on, twice if need be, and of each pattern's
objects the one counts that says most of the voxels held out.

What was searched can be kept in a folder, by the pattern and the settings: seconds a pattern are hours for a test set,
and a run that was stopped goes on from there.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cdi.fourier import centre_crop, centre_pad
from cdi.pattern import Exposure
from cdi.progress import progress_bar
from cdi.retrieval.common_frame import one_frame
from cdi.retrieval.config import SearchConfig
from cdi.retrieval.search import SearchedObject, resumed, search
from cdi.whole_file import whole_file
from models.network import DefectNet, NetworkOutput, Proposal, Sight
from models.pattern_set import PatternSet
from models.preprocess import features

DAMAGED = (ValueError, KeyError, EOFError, BadZipFile)
"""What reading a kept object raises where the file is cut or no such file at all: then it is searched anew."""
NO_LINE = -4.0
"""Logit of the line density that is proposed: a retrieval names no lines."""
BRIGHTEST = 2.0
"""Of the modulus of a proposed phasor, its mean within the crystal being 1."""
INSIDE = 0.5
"""Of the network's support, within which a pattern is searched whose own autocorrelation does not tell one."""
READ_ON = ("RAAR 80, ER 20", "ER 60")
"""Schedules from where the reader sees an object: error reduction stays near, the other leaves it and comes back."""
READ_INSIDE = 0.2
"""Of the reader's support, within which they start."""
READINGS = 2
"""How often at most: an object that is nearer to the truth helps to read the others of its crystal."""
KEPT_VERSION = 2


@dataclass(frozen=True)
class Searcher:
    """Searches with ``config`` and keeps what it finds in ``folder``, where one is given."""

    config: SearchConfig
    folder: Path | None = None

    def searched(self, counts: Tensor, measured: Tensor, support: Tensor | None = None) -> SearchedObject | None:
        """The object behind one pattern ``(x, y, z)``, searched or kept; None where it cannot be phased.

        ``support`` (x, y, z) bool is where it lies, if that is known beforehand.
        """
        within = None if support is None else support.cpu()
        path = None
        if self.folder is not None:
            key = _key(counts.cpu().numpy(), measured.cpu().numpy(), within, self.config)
            path = self.folder / f"{key}.npz"
            with suppress(FileNotFoundError, *DAMAGED):
                return _read(path)
        try:
            found = search(_exposure(counts, measured), self.config, support=within, device=counts.device)
        except ValueError:
            found = None
        if path is not None:
            _keep(found, path)
        return found

    def read_on(self, counts: Tensor, measured: Tensor, density: Tensor) -> list[SearchedObject]:
        """What becomes of ``density`` (x, y, z) by each of ``READ_ON``; none where it is too large to be phased."""
        exposure, objects = _exposure(counts, measured), []
        for schedule in READ_ON:
            with suppress(ValueError):
                objects.append(resumed(exposure, density, schedule, self.config.seed, device=counts.device))
        return objects


Found = dict[int, SearchedObject]
"""Objects of one crystal by the number of their reflection."""


@dataclass(frozen=True)
class SearchedStage:
    """Proposals for ``network`` from what ``searcher`` finds; ``progress`` shows a bar on a terminal."""

    network: DefectNet
    searcher: Searcher
    progress: bool = False

    @torch.no_grad()
    def proposal(self, patterns: PatternSet) -> Proposal:
        """For every exposure; that of the network where a pattern cannot be phased.

        A pattern whose autocorrelation tells no support, say with its peak behind a gap, is phased within the
        network's.
        """
        sight = Sight.of(patterns)
        own = self.network.propose(features(patterns.counts.flatten(0, 1)), sight.where.flatten(0, 1))
        found = self._searched(patterns, own)
        for _ in range(READINGS):
            output = self.network(patterns, proposal=self._told(patterns, own, found), sight=sight)
            found, before = self._read_on(patterns, found, output), found
            if found == before:  # nor would it be read otherwise the next time
                break
        return self._told(patterns, own, found)

    def _searched(self, patterns: PatternSet, own: Proposal) -> list[Found]:
        """What a search finds of each crystal, ``own`` telling where an autocorrelation does not."""
        reflections = patterns.present.shape[1]
        found: list[Found] = [{} for _ in patterns.present]
        with progress_bar(int(patterns.present.sum()), "pattern", "search", shown=self.progress) as bar:
            for crystal, number in patterns.present.nonzero().tolist():
                pattern = patterns.counts[crystal, number], patterns.measured[crystal, number]
                one = self.searcher.searched(*pattern)
                if one is None:
                    inside = own.support_logits[crystal * reflections + number].sigmoid() > INSIDE
                    one = self.searcher.searched(*pattern, centre_pad(inside, _sides(pattern[0])))
                if one is not None:
                    found[crystal][number] = one
                bar.update()
        return found

    def _read_on(self, patterns: PatternSet, found: Sequence[Found], output: NetworkOutput) -> list[Found]:
        """The best of each pattern's object ``found`` and those that come of what the network makes of it."""
        better = [dict(one) for one in found]
        support = output.support_logits.sigmoid()
        read = torch.polar(support * (support > READ_INSIDE), output.phasor.angle())
        with progress_bar(int(patterns.present.sum()), "pattern", "read on", shown=self.progress) as bar:
            for crystal, number in patterns.present.nonzero().tolist():
                pattern = patterns.counts[crystal, number], patterns.measured[crystal, number]
                objects = self.searcher.read_on(*pattern, centre_pad(read[crystal, number], _sides(pattern[0])))
                if number in found[crystal]:
                    objects = [found[crystal][number], *objects]
                if objects:
                    better[crystal][number] = min(objects, key=lambda one: one.deviance)
                bar.update()
        return better

    def _told(self, patterns: PatternSet, own: Proposal, found: Sequence[Found]) -> Proposal:
        """The proposal from what was ``found`` of each crystal."""
        reflections = patterns.present.shape[1]
        places = [slice(crystal * reflections, (crystal + 1) * reflections) for crystal in range(len(found))]
        crystals = zip(places, found, patterns.G, strict=True)
        return joined([self._of_crystal(own.part(place), objects, G) for place, objects, G in crystals])

    @staticmethod
    def _of_crystal(own: Proposal, found: Found, G: Tensor) -> Proposal:
        """The proposal of one crystal: objects ``found`` by the number of their reflection, ``own`` for the others."""
        half = _sides(own.line_logits)
        placed = dict(zip(found, in_one_frame([*found.values()], G[[*found]]), strict=True))
        device = own.phasor.device
        told = [
            object_proposal(*(centre_crop(volume, half)[None] for volume in placed[number])).to(device)
            if number in placed
            else own.part(slice(number, number + 1))
            for number in range(len(own.line_logits))
        ]
        return joined(told)


def in_one_frame(objects: Sequence[SearchedObject], G: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Density and support of each of a crystal's reflections, over that which fits its pattern best.

    ``G`` (reflections, 3) are the scattering vectors, zeros where they are unknown.
    """
    if not objects:
        return []
    best = min(range(len(objects)), key=lambda number: objects[number].error)
    return one_frame([(one.density, one.support) for one in objects], G, best)


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


def _exposure(counts: Tensor, measured: Tensor) -> Exposure:
    seen = measured.cpu().numpy()
    return Exposure(counts.cpu().numpy(), None, None if seen.all() else seen)


def _sides(volume: Tensor) -> tuple[int, int, int]:
    return volume.shape[-3], volume.shape[-2], volume.shape[-1]


def _key(counts: np.ndarray, measured: np.ndarray, support: Tensor | None, config: SearchConfig) -> str:
    told = json.dumps([KEPT_VERSION, counts.shape, asdict(config)])
    digest = hashlib.sha256(told.encode())
    digest.update(np.ascontiguousarray(counts, "<f4").tobytes())
    for mask in (measured,) if support is None else (measured, support.numpy()):
        digest.update(np.packbits(mask).tobytes())
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
