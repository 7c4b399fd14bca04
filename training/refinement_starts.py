"""Where a refinement starts from: a network's proposal, a phase retrieval, or a file of either."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from cdi.fourier import centre_pad
from cdi.pattern import Exposure
from cdi.refinement.crystal_model import ModelLine
from cdi.refinement.hypotheses import Windings
from cdi.refinement.start import StartObject, model_line
from cdi.retrieval.config import RetrievalConfig, SearchConfig
from cdi.retrieval.framing import framed
from cdi.retrieval.phase_retrieval import retrieve
from cdi.retrieval.search import finished, room_around
from data.retrieval_file import RETRIEVAL_FORMAT
from models.burgers import burgers_candidates
from models.known_crystal import KnownCrystal
from models.prediction import Prediction
from models.preprocess import fit_set
from training.prediction_files import VOLUMES_FORMAT

Array = NDArray[np.float64]

SUPPORT_LEVEL = 0.5
"""Of a network's support."""
KEPT_RUNS = 3
"""Of a retrieval, that are fitted."""
SAME_VOXEL = 1e-3
"""Relative difference up to which a file's voxels are the pattern's."""


def retrieval_starts(
    exposures: Sequence[Exposure],
    starts: int,
    seed: int,
    free_fraction: float,
    kept: int = KEPT_RUNS,
    *,
    device: torch.device | str = "cpu",
    report: Callable[[int, int], None] = lambda count, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[StartObject]:
    """The best runs of a retrieval that has not seen the voxels which a refinement of this seed holds out.

    ``report`` is told iterations of a run that were done, and how many there are in all; ``stop`` as for ``retrieve``.
    """
    config = RetrievalConfig(
        starts=starts, best=min(kept, starts), shared_support=len(exposures) > 1, free_fraction=free_fraction
    )
    total = len(exposures) * config.starts * config.iterations
    found = retrieve(
        exposures, config, generator=_held_out(seed), device=device,
        report=lambda count: report(count, total), stop=stop,
    )  # fmt: skip
    support = torch.as_tensor(found.support).any(0)
    return [
        StartObject(f"retrieval, run {number + 1}", torch.as_tensor(run), support)
        for number, run in enumerate(found.runs)
    ]


def network_starts(
    prediction: Prediction,
    exposures: Sequence[Exposure],
    seed: int,
    free_fraction: float,
    *,
    device: torch.device | str = "cpu",
) -> list[StartObject]:
    """The proposal with the lines it names, and what a retrieval makes of it (``network_retrieval``)."""
    shape = exposures[0].counts.shape
    lines = tuple(_named_line(line.points_A, line.windings, prediction.voxel) for line in prediction.lines)
    proposal = _proposal(np.asarray(prediction.support), np.asarray(prediction.phase), shape, "network", lines)
    return [proposal, *network_retrieval(proposal, exposures, seed, free_fraction, device=device)]


def network_retrieval(
    proposal: StartObject,
    exposures: Sequence[Exposure],
    seed: int,
    free_fraction: float,
    *,
    device: torch.device | str = "cpu",
) -> list[StartObject]:
    """The object that a retrieval makes of a network's ``proposal``; none where its support does not allow it.

    Once from its object, which a good network has nearly right, and once from one random start within its support,
    which a poor one has right before the phase: that of the least deviance of the held-out voxels. It may lie elsewhere
    than the proposal, or be its twin: lines that the network names stay with the proposal, from which ``refine`` lays
    them over whatever start is best.
    """
    settings, several = SearchConfig(), len(exposures) > 1
    random = RetrievalConfig(settings.schedule, starts=1, best=1, shared_support=several, free_fraction=free_fraction)
    begun, found = [proposal.density], []
    with suppress(ValueError):  # a support that is empty or too large
        within = room_around(proposal.support)
        found.append(retrieve(exposures, random, generator=_held_out(seed), device=device, support=within))
        begun.append(torch.as_tensor(found[0].density))
    for density in begun:
        with suppress(ValueError):
            found.append(
                finished(
                    exposures, density, settings.finish, generator=_held_out(seed), free_fraction=free_fraction,
                    device=device,
                )
            )  # fmt: skip
    if not found:
        return []
    best = min(found, key=lambda one: float(one.free_deviance.min(1).mean()))
    support = torch.as_tensor(best.support).any(0)
    return [StartObject("network, then retrieval", torch.as_tensor(best.density), support)]


def _held_out(seed: int) -> torch.Generator:
    """By which a refinement of this seed holds the same voxels out."""
    return torch.Generator().manual_seed(seed)


def file_start(path: str | Path, exposures: Sequence[Exposure]) -> tuple[tuple[Exposure, ...], list[StartObject]]:
    """The exposures as the file's object has them, and that object: of ``cdi retrieve`` or ``cdi predict --volumes``.

    Raises
    ------
    ValueError
        If the file is neither, or its object is not of these patterns' voxels or reflections.
    """
    if not Path(path).is_file() or not h5py.is_hdf5(path):
        raise ValueError(
            f"--from must be network, retrieval, or a file of cdi retrieve or cdi predict --volumes, got {path}"
        )
    with h5py.File(path, "r") as file:
        kind = str(file.attrs.get("format", ""))
        if kind == RETRIEVAL_FORMAT:
            density, support = file["density"][:], file["support"][:].astype(bool)
            voxel = file["voxel"][0] if "voxel" in file else None
            fitted = tuple(framed(exposure, density.shape[1:]) for exposure in exposures)
            start = StartObject(Path(path).name, torch.as_tensor(density), torch.as_tensor(support).any(0))
        elif kind == VOLUMES_FORMAT:
            half, phase = file["support"][:], file["phase"][:]
            voxel = file["voxel"][:] if "voxel" in file else None
            shape = (2 * half.shape[0], 2 * half.shape[1], 2 * half.shape[2])
            fitted = fit_set(exposures, shape)
            start = _proposal(half, phase, shape, Path(path).name, ())
        else:
            raise ValueError(f"--from must be a file of cdi retrieve or cdi predict --volumes, got format {kind!r}")
    if len(start.density) != len(fitted):
        raise ValueError(f"{path} must hold one object a pattern ({len(fitted)}), got {len(start.density)}")
    grid = fitted[0].grid
    if grid is not None and voxel is not None and np.abs(grid.voxel - voxel).max() > SAME_VOXEL * np.abs(voxel).max():
        raise ValueError(
            f"{path} must have the voxels of the patterns, got {np.round(voxel, 3).tolist()} and "
            f"{grid.voxel.round(3).tolist()} Å: binned or cropped otherwise"
        )
    return fitted, [start]


def lattice_windings(known: KnownCrystal | None) -> tuple[Windings, ...]:
    """Windings that perfect Burgers vectors of the lattice have in the reflections, each set once."""
    return tuple(sorted({windings for windings, _ in _windings(known)}))


def burgers_of(windings: Windings, known: KnownCrystal | None) -> list[tuple[float, float, float]]:
    """Perfect Burgers vectors, in fractions of the cell, that wind so: one hypothesis."""
    return [vector for found, vector in _windings(known) if found == tuple(windings)]


def _windings(known: KnownCrystal | None) -> list[tuple[Windings, tuple[float, float, float]]]:
    if known is None:
        return []
    vectors, _ = burgers_candidates(known.lattice, ("perfect",))
    turns = np.rint(vectors @ np.asarray(known.reflections, np.float64).T).astype(int)
    return [
        (tuple(int(m) for m in row), (float(a), float(b), float(c)))
        for row, (a, b, c) in zip(turns, vectors, strict=True)
    ]


def _named_line(points: Array, windings: Sequence[float], voxel: Array) -> ModelLine:
    corners = np.asarray(points, np.float64) @ np.linalg.inv(voxel)
    # On left-handed voxel axes the sense of a winding is the other one.
    turns = [round(w) for w in windings]
    if not any(turns):
        turns = [int(np.sign(w)) if abs(w) == max(map(abs, windings)) else 0 for w in windings]
    return model_line(corners if np.linalg.det(voxel) > 0 else corners[::-1], turns)


def _proposal(
    support: NDArray[np.floating], phase: NDArray[np.floating], shape: Sequence[int], name: str,
    lines: tuple[ModelLine, ...],
) -> StartObject:  # fmt: skip
    x, y, z = shape
    modulus = torch.as_tensor(np.asarray(support, np.float64))
    density = torch.polar(modulus.expand(phase.shape).contiguous(), torch.as_tensor(np.asarray(phase, np.float64)))
    inside = centre_pad((modulus > SUPPORT_LEVEL).double(), (x, y, z)) > 0
    start = StartObject(name, centre_pad(density, (x, y, z)), inside, lines)
    return replace(start, density=start.density * inside)
