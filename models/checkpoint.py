"""Checkpoints: weights in the safetensors format plus a plain configuration. Nothing is unpickled.

The header's metadata holds ``format``, ``name``, ``network`` (JSON of ``NetworkConfig``),
``calibration`` (JSON) and ``training`` (JSON, informative).
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from math import exp, inf, isfinite, log
from pathlib import Path
from typing import Any

from cdi.config import read_object
from cdi.whole_file import whole_file
from models.config import NetworkConfig

FORMAT = "crystal-defects-insitu checkpoint 2"
WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "default"


@dataclass(frozen=True)
class Calibration:
    """How raw outputs become confidences, fitted on crystals held out of training.

    Parameters
    ----------
    temperature, count_temperature : divide the logits of class and count (Guo et al., ICML 2017).
    decision_confidence : below this confidence in "defect" or "no defect" the answer is "undetermined".
    line_threshold : density above which a voxel belongs to a line.
    line_slope, line_offset : the probability that a line of mean density c is true is σ(slope · logit c + offset)
        (Platt, 1999).
    winding_sigma : standard error of a measured winding g·b.
    novelty_limit : distance from the familiar beyond which a pattern is unlike any seen; 0: never.

    Raises
    ------
    ValueError
        If a number lies out of its range.
    """

    temperature: float = 1.0
    count_temperature: float = 1.0
    decision_confidence: float = 0.75
    line_threshold: float = 0.4
    line_slope: float = 1.0
    line_offset: float = 0.0
    winding_sigma: float = 0.3
    novelty_limit: float = 0.0

    def __post_init__(self) -> None:
        for name in ("temperature", "count_temperature", "winding_sigma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0.5 <= self.decision_confidence < 1:
            raise ValueError(f"decision_confidence must lie in [0.5, 1), got {self.decision_confidence}")
        if not 0 < self.line_threshold < 1:
            raise ValueError(f"line_threshold must lie in (0, 1), got {self.line_threshold}")
        if not (isfinite(self.line_slope) and isfinite(self.line_offset)):
            raise ValueError(f"line_slope and line_offset must be finite, got {self.line_slope}, {self.line_offset}")
        if not 0 <= self.novelty_limit < inf:
            raise ValueError(f"novelty_limit must be finite and not negative, got {self.novelty_limit}")

    def line_confidence(self, height: float) -> float:
        """Probability that a line whose density has the mean ``height`` is true."""
        clipped = min(max(height, 1e-4), 1 - 1e-4)
        return 1 / (1 + exp(-(self.line_slope * log(clipped / (1 - clipped)) + self.line_offset)))


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: ``weights`` by name, how to build it, and how to read its answers."""

    name: str
    network: NetworkConfig
    weights: dict[str, Any]
    calibration: Calibration = field(default_factory=Calibration)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def training_config(self) -> dict[str, Any]:
        """The configuration that trained it.

        Raises
        ------
        ValueError
            If the checkpoint does not carry it.
        """
        if "config" not in self.training:
            raise ValueError(f"model {self.name!r} must carry its training configuration; train it with `cdi train`")
        config: dict[str, Any] = self.training["config"]
        return config


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """``checkpoint`` with its matrices and kernels in half precision, of half the size; what is familiar stays whole.

    A network that loads it computes in single precision, with weights rounded to 2⁻¹¹ of themselves.

    Raises
    ------
    ValueError
        If a weight is not finite in half precision, which ends at 65,504.
    """
    weights = {
        name: weight if weight.dim() < 2 or name.startswith("familiar") else weight.half()
        for name, weight in checkpoint.weights.items()
    }
    for name, weight in weights.items():
        if not bool(weight.isfinite().all()):
            raise ValueError(f"weights must be finite in half precision, got larger ones in {name!r}; leave them whole")
    return replace(checkpoint, weights=weights)


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
    weights = {key: value.detach().cpu().contiguous() for key, value in checkpoint.weights.items()}
    with whole_file(path) as partial:
        save_file(weights, partial, metadata)


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
