"""From exposures to predictions: one loaded network, ready to answer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.defects.classes import PARTIAL_OR_FAULT
from cdi.pattern import Exposure
from models.burgers import burgers_posterior
from models.checkpoint import DEFAULT_MODEL, Calibration, Checkpoint, load, weights_sha256
from models.close_pairs import pairs_apart
from models.glide_characters import with_characters
from models.graphed import GraphedNetwork
from models.known_crystal import KnownCrystal
from models.line_selection import told_lines
from models.lines import TracedLine, traced_lines
from models.network import DefectNet, NetworkOutput, Proposal
from models.object_lines import object_lines, vortices_of
from models.pattern_set import PatternSet
from models.prediction import CLASSES, BurgersCandidate, PredictedLine, Prediction
from models.preprocess import fit_set, pattern_set
from models.searched_stage import SearchedStage, Searcher

Array = NDArray[np.float64]
Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Predictor:
    """A network in evaluation mode on one device, with its calibration and identity."""

    network: DefectNet
    calibration: Calibration
    model: dict[str, str]
    device: torch.device
    searcher: Searcher | None = None
    """Of a first stage that searches; None: the network makes its own proposals."""
    progress: bool = False
    """Whether such a search shows a bar on a terminal."""
    graphed: GraphedNetwork | None = None
    """The network as it answers on a GPU; None: as it stands."""

    @classmethod
    def load(
        cls, model: str | Path = DEFAULT_MODEL, device: str | torch.device | None = None, objects: Path | None = None
    ) -> "Predictor":
        """Predictor from a checkpoint's path or shipped name; CUDA where there is one, unless told.

        ``objects`` is the folder in which a model that searches keeps what it finds.

        Raises
        ------
        FileNotFoundError, ValueError
            If the checkpoint is not there, does not read, or its weights do not fit its network.
        """
        return cls.of(load(model), weights_sha256(model), device, objects)

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        sha256: str,
        device: str | torch.device | None = None,
        objects: Path | None = None,
    ) -> "Predictor":
        """Predictor from a checkpoint in memory; otherwise as ``load``."""
        network = DefectNet(checkpoint.network)
        try:
            network.load_state_dict(checkpoint.weights)
        except RuntimeError as error:
            raise ValueError(f"the weights of model {checkpoint.name!r} must fit its network: {error}") from error
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        identity = {"name": checkpoint.name, "weights_sha256": sha256}
        network.eval().to(place)
        searches = checkpoint.network.first_stage == "search"
        searcher = Searcher(checkpoint.network.search, objects) if searches else None
        graphed = GraphedNetwork(network) if place.type == "cuda" else None
        return cls(network, checkpoint.calibration, identity, place, searcher, graphed=graphed)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the patterns that the network takes; others are fitted to it."""
        return self.network.config.shape

    def predict(self, exposures: Sequence[Exposure]) -> list[Prediction]:
        """One prediction an exposure, each of a crystal of its own; see ``predict_crystals``."""
        return self.predict_crystals([[exposure] for exposure in exposures])

    def predict_crystals(
        self, sets: Sequence[Sequence[Exposure]], known: Sequence[KnownCrystal | None] | None = None
    ) -> list[Prediction]:
        """One prediction a crystal from its reflections, computed as one batch.

        Lines are reported where a defect is more probable than none; their Burgers vectors where the crystal is
        ``known`` and its reflections tell.

        Raises
        ------
        ValueError
            If reflections of one crystal do not share their q steps, or ``known`` disagrees with the sets.
        FloatingPointError
            If the network's answer is not finite.
        """
        start = time.perf_counter()
        lattices = [None] * len(sets) if known is None else list(known)
        for exposures, crystal in zip(sets, lattices, strict=True):
            if crystal is not None and len(crystal.reflections) != len(exposures):
                raise ValueError(
                    f"reflections must be one an exposure, got {len(crystal.reflections)} for {len(exposures)}"
                )
        fitted = [fit_set(exposures, self.shape) for exposures in sets]
        with torch.inference_mode():
            patterns = pattern_set(fitted).to(self.device)
            proposal = self._proposal(patterns)
            if proposal is None:
                output = (self.graphed or self.network)(patterns)
            else:
                output = self.network(patterns, proposal=proposal)
            novelty = self.network.novelty(output.hidden).cpu().numpy()
            answers = _answers(output, self.calibration)
            objects = [None] * len(sets) if output.objects is None else [*output.objects.cpu().numpy()]
        if not all(np.isfinite(part).all() for part in answers):
            raise FloatingPointError(
                f"model {self.model['name']!r} gave NaN or infinity; its weights or input are broken"
            )
        rows = zip(*answers, objects, novelty, fitted, lattices, strict=True)
        predictions = [self._prediction(*row) for row in rows]
        seconds = (time.perf_counter() - start) / len(sets)
        return [Prediction(**{**vars(prediction), "seconds": seconds}) for prediction in predictions]

    def _proposal(self, patterns: PatternSet) -> Proposal | None:
        """Of a first stage that searches; the network makes its own within its answer."""
        if self.searcher is None:
            return None
        return SearchedStage(self.network, self.searcher, self.progress).proposal(patterns)

    def _prediction(
        self, classes: Array, counts: Array, density: Volume, support: Volume, phase: Volume, winding: Volume,
        objects: NDArray[np.complex64] | None, novelty: float, exposures: Sequence[Exposure],
        crystal: KnownCrystal | None,
    ) -> Prediction:  # fmt: skip
        number = len(exposures)
        grids = [exposure.grid for exposure in exposures]
        voxel = np.eye(3) if grids[0] is None else grids[0].voxel
        defect = float(1 - classes[0])
        threshold = self.calibration.line_threshold
        # The pattern shows circulation about the voxel axes, which on left-handed ones is that about −ξ.
        flux = winding[:number] * np.sign(np.linalg.det(voxel))
        traced = traced_lines(density, flux, voxel, threshold=threshold) if defect > 0.5 else ()
        if objects is not None and defect > 0.5:
            traced = object_lines(traced, density, vortices_of(objects[:number], voxel), voxel)
            traced = pairs_apart(traced, crystal) if traced and crystal is not None else traced
        traced = told_lines(traced, counts, self.calibration)
        # A dislocation that shows has a line about which the object's phase winds; a fault may have none.
        named = CLASSES[1 + int(np.argmax(classes[1:]))]
        contradicts = objects is not None and defect > 0.5 and not traced and named != PARTIAL_OR_FAULT
        G = np.array([np.zeros(3) if grid is None else grid.centre for grid in grids])
        orientation = None if crystal is None else crystal.oriented(G)
        lines = tuple(self._line(line, crystal, orientation) for line in traced)
        # Lines of vortices lie near enough to tell a character, those of the network alone hardly do.
        if objects is not None and crystal is not None:
            classes = with_characters(classes, lines, crystal, G)
        return Prediction(
            defect_probability=defect,
            class_probabilities=tuple(float(p) for p in classes),
            count_probabilities=tuple(float(p) for p in counts),
            undetermined=self._undetermined(defect, novelty) or ("unsure" if contradicts else ""),
            lines=lines,
            line_density=density,
            support=support[:number].max(0),
            phase=phase[:number],
            voxel=voxel,
            model=self.model,
            seconds=0.0,
        )

    def _undetermined(self, defect: float, novelty: float) -> str:
        if 0 < self.calibration.novelty_limit < novelty:
            return "novel"
        return "unsure" if max(defect, 1 - defect) <= self.calibration.decision_confidence else ""

    def _line(self, line: TracedLine, crystal: KnownCrystal | None, orientation: Array | None) -> PredictedLine:
        confidence = self.calibration.line_confidence(line.confidence)
        windings = tuple(float(w) for w in line.windings)
        if crystal is None:
            return PredictedLine(line.points_A, None, confidence, windings)
        found = burgers_posterior(line.windings, self.calibration.winding_sigma, crystal.lattice, crystal.reflections)
        candidates = tuple(
            BurgersCandidate((float(a), float(b), float(c)), float(p))
            for (a, b, c), p in zip(found.candidates, found.probabilities, strict=True)
        )
        burgers = None
        if found.determined and orientation is not None:
            x, y, z = (float(v) for v in orientation @ (found.candidates[0] @ crystal.lattice.cell))
            burgers = (x, y, z)
        return PredictedLine(line.points_A, burgers, confidence, windings, candidates)


def _answers(output: NetworkOutput, calibration: Calibration) -> tuple[Array, Array, Volume, Volume, Volume, Volume]:
    """Class and count probabilities, line density, support, phase and winding of a batch, on the CPU."""
    return (
        (output.class_logits / calibration.temperature).softmax(-1).double().cpu().numpy(),
        (output.count_logits / calibration.count_temperature).softmax(-1).double().cpu().numpy(),
        output.line_logits.sigmoid().cpu().numpy(),
        output.support_logits.sigmoid().cpu().numpy(),
        _phasors(output).angle().cpu().numpy(),
        output.winding.cpu().numpy(),
    )


def _phasors(output: NetworkOutput) -> Tensor:
    """exp(iφ) times something positive: the network's, and where it was shown a searched object the mean of both.

    The network errs less where the object is wrong, the object where it is right.
    """
    if output.objects is None:
        return output.phasor
    shown = output.objects
    offset = (output.phasor.conj() * shown).sum((-3, -2, -1), keepdim=True)
    turned = output.phasor * torch.polar(torch.ones_like(offset.abs()), offset.angle())
    return turned + shown / shown.abs().clamp_min(1e-6)
