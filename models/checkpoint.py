"""Checkpoints: weights in the safetensors format plus a plain configuration. Nothing is unpickled.

The header's metadata holds ``format``, ``name``, ``network`` (JSON of ``NetworkConfig``),
``calibration`` (JSON) and ``training`` (JSON, informative).
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cdi.config import read_object
from models.config import NetworkConfig

FORMAT = "crystal-defects-insitu checkpoint 1"
WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "default"


@dataclass(frozen=True)
class Calibration:
    """How raw logits become confidences, fitted on crystals held out of training.

    Parameters
    ----------
    temperature : divides the class logits (Guo et al., ICML 2017).
    decision_confidence : below this confidence in "defect" or "no defect" the answer is "undetermined".
    line_threshold : density above which a voxel belongs to a line.
    """

    temperature: float = 1.0
    decision_confidence: float = 0.75
    line_threshold: float = 0.4

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0.5 <= self.decision_confidence < 1:
            raise ValueError(f"decision_confidence must lie in [0.5, 1), got {self.decision_confidence}")
        if not 0 < self.line_threshold < 1:
            raise ValueError(f"line_threshold must lie in (0, 1), got {self.line_threshold}")


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: ``weights`` by name, how to build it, and how to read its answers."""

    name: str
    network: NetworkConfig
    weights: dict[str, Any]
    calibration: Calibration = field(default_factory=Calibration)
    training: dict[str, Any] = field(default_factory=dict)


def resolve(model: str | Path) -> Path:
    """Path of a checkpoint given by path, or by the name of one that ships with the program.

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message lists the names that ship.
    """
    shipped = {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}
    path = shipped.get(str(model), Path(model))
    if not path.is_file():
        raise FileNotFoundError(
            f"model must be a checkpoint file or one of {', '.join(shipped) or '(none ships)'}, got {str(model)!r}"
        )
    return path


def save(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write ``checkpoint`` whole or not at all."""
    from safetensors.torch import save_file

    metadata = {
        "format": FORMAT,
        "name": checkpoint.name,
        "network": json.dumps(asdict(checkpoint.network)),
        "calibration": json.dumps(asdict(checkpoint.calibration)),
        "training": json.dumps(checkpoint.training),
    }
    partial = Path(f"{path}.tmp")
    save_file({key: value.detach().cpu().contiguous() for key, value in checkpoint.weights.items()}, partial, metadata)
    os.replace(partial, path)


def load(model: str | Path) -> Checkpoint:
    """Read a checkpoint by path or shipped name.

    Raises
    ------
    ValueError
        If the file is not a checkpoint of this program, is truncated, or is of another version.
    """
    from safetensors import SafetensorError, safe_open

    path = resolve(model)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path} must be a safetensors checkpoint, it does not read: {error}") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} must be of format {FORMAT!r}, got {metadata.get('format')!r}; train it again")
    return Checkpoint(
        metadata.get("name", path.stem),
        read_object(NetworkConfig, _mapping(metadata, "network", path), origin=str(path)),
        weights,
        read_object(Calibration, _mapping(metadata, "calibration", path), origin=str(path)),
        _mapping(metadata, "training", path),
    )


def _mapping(metadata: dict[str, str], key: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(metadata[key])
    except (KeyError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} must hold {key!r} as JSON in its header, got: {error!r}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold {key!r} as a JSON object in its header, got a {type(value).__name__}")
    return value


def weights_sha256(model: str | Path) -> str:
    """Hash of the checkpoint's file, as it is named in every prediction."""
    return hashlib.sha256(resolve(model).read_bytes()).hexdigest()
