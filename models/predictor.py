"""From exposures to predictions: one loaded network, ready to answer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cdi.pattern import Exposure
from models.checkpoint import DEFAULT_MODEL, Calibration, Checkpoint, load, weights_sha256
from models.lines import trace_lines
from models.network import DefectNet
from models.prediction import Prediction
from models.preprocess import features, fit_to_grid, geometry


@dataclass(frozen=True)
class Predictor:
    """A network in evaluation mode on one device, with its calibration and identity."""

    network: DefectNet
    calibration: Calibration
    model: dict[str, str]
    device: torch.device

    @classmethod
    def load(cls, model: str | Path = DEFAULT_MODEL, device: str | torch.device | None = None) -> "Predictor":
        """Predictor from a checkpoint's path or shipped name; CUDA where there is one, unless told.

        Raises
        ------
        FileNotFoundError, ValueError
            If the checkpoint is not there, does not read, or its weights do not fit its network.
        """
        checkpoint = load(model)
        return cls.of(checkpoint, weights_sha256(model), device)

    @classmethod
    def of(cls, checkpoint: Checkpoint, sha256: str, device: str | torch.device | None = None) -> "Predictor":
        """Predictor from a checkpoint in memory."""
        network = DefectNet(checkpoint.network)
        try:
            network.load_state_dict(checkpoint.weights)
        except RuntimeError as error:
            raise ValueError(f"the weights of model {checkpoint.name!r} must fit its network: {error}") from error
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        identity = {"name": checkpoint.name, "weights_sha256": sha256}
        return cls(network.eval().to(place), checkpoint.calibration, identity, place)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the patterns that the network takes; others are fitted to it."""
        return self.network.config.shape

    def predict(self, exposures: Sequence[Exposure]) -> list[Prediction]:
        """One prediction an exposure, computed as one batch.

        Lines are reported where a defect is more probable than none. With one reflection the
        Burgers vector of a line is not determined (only g·b is) and stays None.
        """
        start = time.perf_counter()
        fitted = [fit_to_grid(exposure, self.shape) for exposure in exposures]
        counts = torch.from_numpy(np.stack([exposure.counts for exposure in fitted])).to(self.device)
        where = torch.from_numpy(np.stack([geometry(exposure.grid) for exposure in fitted])).to(self.device)
        with torch.inference_mode():
            output = self.network(features(counts), where)
            probabilities = (output.class_logits / self.calibration.temperature).softmax(-1).double().cpu().numpy()
            density, support = output.line_logits.sigmoid().cpu().numpy(), output.support_logits.sigmoid().cpu().numpy()
            phase = output.phasor.angle().cpu().numpy()
        if not (np.isfinite(probabilities).all() and np.isfinite(density).all()):
            raise FloatingPointError(
                f"model {self.model['name']!r} gave NaN or infinity; its weights or input are broken"
            )
        predictions = []
        for i, exposure in enumerate(fitted):
            voxel = np.eye(3) if exposure.grid is None else exposure.grid.voxel
            defect = float(1 - probabilities[i, 0])
            lines = trace_lines(density[i], voxel, threshold=self.calibration.line_threshold) if defect > 0.5 else ()
            predictions.append(
                Prediction(
                    defect_probability=defect,
                    class_probabilities=tuple(float(p) for p in probabilities[i]),
                    undetermined=max(defect, 1 - defect) <= self.calibration.decision_confidence,
                    lines=lines,
                    line_density=density[i],
                    support=support[i],
                    phase=phase[i],
                    voxel=voxel,
                    model=self.model,
                    seconds=(time.perf_counter() - start) / len(fitted),
                )
            )
        return predictions
