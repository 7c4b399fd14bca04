"""Checkpoints: bit-exact, and nothing in a hostile file is run or believed."""

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from models.checkpoint import FORMAT, Calibration, Checkpoint, halved, load, resolve, save, weights_sha256
from models.config import NetworkConfig


def test_a_checkpoint_comes_back_bit_for_bit(checkpoint: Checkpoint, checkpoint_file: Path) -> None:
    found = load(checkpoint_file)
    assert (found.name, found.network, found.calibration, found.training) == (
        "tiny",
        checkpoint.network,
        Calibration(),
        {"epochs": 0},
    )
    assert found.weights.keys() == checkpoint.weights.keys()
    for key, value in checkpoint.weights.items():
        assert torch.equal(found.weights[key], value)
        assert found.weights[key].dtype == value.dtype
    assert not list(checkpoint_file.parent.glob("*.tmp"))


def test_a_calibration_and_what_is_familiar_come_back(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Every number of it, and the buffers that novelty is measured with."""
    fitted = Calibration(1.7, 0.6, 0.81, 0.3, 2.5, -0.25, 0.11, 3.2)
    checkpoint.weights["familiar_mean"][:] = torch.arange(128.0)
    save(replace(checkpoint, calibration=fitted), tmp_path / "fitted.safetensors")
    found = load(tmp_path / "fitted.safetensors")
    assert found.calibration == fitted
    assert torch.equal(found.weights["familiar_mean"], torch.arange(128.0))


def test_a_line_is_the_surer_the_brighter() -> None:
    """Platt's sigmoid of the logit: at slope 1 and offset 0 the height itself, finite at 0 and 1."""
    heights = [0.0, 0.2, 0.5, 0.9, 1.0]
    plain = [Calibration().line_confidence(height) for height in heights]
    assert plain[1:4] == pytest.approx(heights[1:4])
    fitted = [Calibration(line_slope=2.0, line_offset=-1.0).line_confidence(height) for height in heights]
    assert fitted == sorted(fitted)
    assert 0 < fitted[0] < fitted[-1] < 1
    assert fitted[3] == pytest.approx(81 * np.exp(-1) / (1 + 81 * np.exp(-1)))


def test_the_hash_is_that_of_the_file(checkpoint: Checkpoint, checkpoint_file: Path, tmp_path: Path) -> None:
    """As ``sha256sum`` prints it; other weights have another."""
    assert weights_sha256(checkpoint_file) == hashlib.sha256(checkpoint_file.read_bytes()).hexdigest()
    checkpoint.weights["design.position"][:] += 1
    save(checkpoint, tmp_path / "other.safetensors")
    assert weights_sha256(tmp_path / "other.safetensors") != weights_sha256(checkpoint_file)


def test_a_missing_checkpoint_says_what_there_is() -> None:
    with pytest.raises(FileNotFoundError, match="model must be a checkpoint file or one of"):
        resolve("no-such-model")


def refused(path: Path) -> str:
    with pytest.raises(ValueError, match=path.name) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_is_refused_and_never_run(tmp_path: Path, how: str) -> None:
    path, fuse = tmp_path / "model.safetensors", tmp_path / "exploded"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(fuse)))
    else:
        torch.save(Bomb(fuse), path)
    assert "safetensors" in refused(path)
    assert not fuse.exists()


@given(fraction=st.floats(0, 0.999))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_file_is_refused(checkpoint_file: Path, tmp_path: Path, fraction: float) -> None:
    whole = checkpoint_file.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[: int(len(whole) * fraction)])
    refused(path)


GOOD = {
    "format": FORMAT,
    "name": "x",
    "network": json.dumps({"width": 8, "token_dim": 16}),
    "calibration": "{}",
    "training": "{}",
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "crystal-defects-insitu checkpoint 1"}, "checkpoint 1'; train it again"),
        ({"format": None}, "must be of format"),
        ({"network": None}, "'network'"),
        ({"network": "{"}, "'network'"),
        ({"network": "[" * 100_000}, "'network'"),
        ({"network": "[1, 2]"}, "JSON object"),
        ({"network": json.dumps({"class_path": "os.system"})}, "unknown key 'class_path'"),
        ({"network": json.dumps({"wdth": 8})}, "did you mean 'width'"),
        ({"network": json.dumps({"shape": [1 << 20] * 3})}, "shape must be multiples of 8 from 16 to 256"),
        ({"network": json.dumps({"layers": "__import__('os')"})}, "layers"),
        ({"calibration": json.dumps({"temperature": 0})}, "temperature must be positive"),
        ({"calibration": "null"}, "JSON object"),
        ({"training": None}, "'training'"),
    ],
)
def test_a_hostile_header_is_refused(tmp_path: Path, change: dict[str, str | None], message: str) -> None:
    """Wrong format, missing parts, unknown keys, absurd sizes."""
    path = tmp_path / "model.safetensors"
    header = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    save_file({"a": torch.zeros(2)}, path, header)
    assert message in refused(path)


def test_the_header_that_the_others_vary_is_good(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(2)}, path, GOOD)
    assert load(path).network == NetworkConfig(width=8, token_dim=16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (16, 20, 16)}, "shape must be multiples of 8"),
        ({"shape": (8, 16, 16)}, "shape must be multiples of 8"),
        ({"design": "transformer"}, "design must be one of tokens, unet, fourier, unrolled, got 'transformer'"),
        ({"width": 12}, "width, token_dim and reader_width must be multiples of 8"),
        ({"token_dim": 4}, "width, token_dim and reader_width must be multiples of 8"),
        ({"reader_width": 20}, "width, token_dim and reader_width must be multiples of 8"),
        ({"heads": 5}, "heads divide token_dim"),
        ({"layers": 0}, "layers and heads must be at least 1"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"iterations": 0}, r"iterations must lie in \[1, 1000\], got 0"),
        ({"passes": 21}, r"passes must lie in \[1, 20\], got 21"),
        ({"modes": 1}, "modes must be at least 2, got 1"),
    ],
)
def test_malformed_networks_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"decision_confidence": 0.4}, "decision_confidence must lie in"),
        ({"line_threshold": 1.0}, "line_threshold must lie in"),
        ({"count_temperature": -1.0}, "count_temperature must be positive, got -1.0"),
        ({"winding_sigma": 0.0}, "winding_sigma must be positive"),
        ({"line_slope": float("inf")}, "line_slope and line_offset must be finite"),
        ({"line_offset": float("nan")}, "line_slope and line_offset must be finite"),
        ({"novelty_limit": -0.1}, "novelty_limit must be finite and not negative"),
        ({"novelty_limit": float("inf")}, "novelty_limit must be finite and not negative"),
    ],
)
def test_malformed_calibrations_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Calibration(**change)


def test_weights_beyond_half_precision_are_left_whole(checkpoint: Checkpoint) -> None:
    name = "line_head.weight"
    large = {**checkpoint.weights, name: checkpoint.weights[name] + 7e4}
    with pytest.raises(ValueError, match=f"finite in half precision, got larger ones in '{name}'"):
        halved(replace(checkpoint, weights=large))
