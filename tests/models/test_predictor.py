"""The predictor: the stable object for scripts, batches, broken weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cdi.grid import QGrid
from cdi.pattern import Exposure
from models.checkpoint import Checkpoint, weights_sha256
from models.config import NetworkConfig
from models.network import DefectNet, space_to_depth
from models.prediction import CLASSES, PredictedLine, Prediction
from models.predictor import Predictor


def exposures(count: int) -> list[Exposure]:
    rng = np.random.default_rng(0)
    grids = [None, QGrid([0, 0, 3.0], 0.004 * np.eye(3) + 0.0005, (16, 24, 16))]
    return [Exposure(rng.poisson(rng.exponential(4.0, (16, 24, 16))), grids[i % 2]) for i in range(count)]


@pytest.fixture
def predictor(checkpoint: Checkpoint) -> Predictor:
    return Predictor.of(checkpoint, "0" * 64, "cpu")


def with_answer(checkpoint: Checkpoint, logits: list[float], line_bias: float) -> Predictor:
    """The tiny network with its class and line density fixed by the last biases."""
    weights = dict(checkpoint.weights)
    for name in ("classifier.4.weight",):
        weights[name] = torch.zeros_like(weights[name])
    weights["classifier.4.bias"] = torch.tensor(logits)
    weights["volume_head.weight"] = torch.zeros_like(weights["volume_head.weight"])
    weights["volume_head.bias"] = torch.tensor([line_bias, 0.0, 1.0, 0.0])
    return Predictor.of(replace(checkpoint, weights=weights), "0" * 64, "cpu")


def test_the_json_has_the_keys_that_scripts_rely_on(checkpoint: Checkpoint) -> None:
    """One object: probability, class, count, undetermined, lines, model, seconds; plain numbers throughout."""
    (prediction,) = with_answer(checkpoint, [0, 5, 0, 0], 3.0).predict(exposures(1))
    printed = json.loads(json.dumps(prediction.to_json(), allow_nan=False))
    assert {"defect_probability", "class", "count", "undetermined", "lines", "model", "seconds"} <= set(printed)
    assert set(printed["model"]) == {"name", "weights_sha256"}
    assert printed["class"] == "edge"
    assert isinstance(printed["undetermined"], bool)
    assert printed["count"] == len(printed["lines"]) == 1
    (line,) = printed["lines"]
    assert {"points_A", "burgers", "confidence"} <= set(line)
    assert np.asarray(line["points_A"]).shape[1] == 3
    assert 0 <= line["confidence"] <= 1
    assert 0 <= printed["defect_probability"] <= 1


def test_no_defect_means_no_lines(checkpoint: Checkpoint) -> None:
    """Where none is the more probable answer, the class is none and a bright line density gives no line."""
    (prediction,) = with_answer(checkpoint, [3, 0, 0, 0], 3.0).predict(exposures(1))
    assert prediction.defect_class == "none"
    assert prediction.count == 0


def test_class_and_defect_probability_never_contradict(checkpoint: Checkpoint) -> None:
    """40 % none against 20 % each of edge, screw and mixed is a defect, though none is the largest."""
    (prediction,) = with_answer(checkpoint, np.log([0.4, 0.15, 0.25, 0.2]).tolist(), 3.0).predict(exposures(1))
    assert prediction.defect_probability == pytest.approx(0.6)
    assert prediction.defect_class == "screw"
    assert prediction.undetermined
    assert prediction.count == 1


def test_the_voxel_maps_lines_to_angstrom(checkpoint: Checkpoint) -> None:
    """With a grid its real-space voxel, without one the identity."""
    unknown, known = with_answer(checkpoint, [0, 5, 0, 0], 3.0).predict(exposures(2))
    np.testing.assert_array_equal(unknown.voxel, np.eye(3))
    assert known.voxel == pytest.approx(exposures(2)[1].grid.voxel)  # type: ignore[union-attr]
    np.testing.assert_allclose(unknown.lines[0].points_A @ known.voxel, known.lines[0].points_A, atol=1e-6)


def test_a_batch_equals_one_by_one(predictor: Predictor) -> None:
    together = predictor.predict(exposures(3))
    for exposure, joint in zip(exposures(3), together, strict=True):
        (alone,) = predictor.predict([exposure])
        np.testing.assert_allclose(alone.class_probabilities, joint.class_probabilities, atol=1e-5)
        np.testing.assert_allclose(alone.line_density, joint.line_density, atol=1e-5)
        np.testing.assert_allclose(alone.support, joint.support, atol=1e-5)
        assert sum(alone.class_probabilities) == pytest.approx(1)


def test_a_file_gives_the_same_answer_as_the_network_in_memory(predictor: Predictor, checkpoint_file: Path) -> None:
    loaded = Predictor.load(checkpoint_file, "cpu")
    (a,), (b,) = loaded.predict(exposures(1)), predictor.predict(exposures(1))
    np.testing.assert_array_equal(a.line_density, b.line_density)
    assert a.model == {"name": "tiny", "weights_sha256": weights_sha256(checkpoint_file)}
    assert loaded.shape == (16, 24, 16)


def test_weights_of_another_network_are_refused(checkpoint: Checkpoint, config: NetworkConfig) -> None:
    wider = replace(checkpoint, network=replace(config, width=16))
    with pytest.raises(ValueError, match="the weights of model 'tiny' must fit its network"):
        Predictor.of(wider, "0" * 64)


def test_broken_weights_are_a_failure_not_an_answer(checkpoint: Checkpoint) -> None:
    checkpoint.weights["position"][:] = np.nan
    with pytest.raises(FloatingPointError, match="gave NaN or infinity"):
        Predictor.of(checkpoint, "0" * 64, "cpu").predict(exposures(1))


def test_outputs_cover_the_central_half(config: NetworkConfig) -> None:
    output = DefectNet(config)(torch.rand(2, 4, 16, 24, 16), torch.rand(2, 10))
    assert output.class_logits.shape == (2, len(CLASSES))
    for volume in (output.line_logits, output.support_logits, output.phasor):
        assert volume.shape == (2, 8, 12, 8)
    assert output.phasor.is_complex()


def test_space_to_depth_loses_nothing() -> None:
    """Each output voxel holds its 2³ block, every value once."""
    volume = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    blocks = space_to_depth(volume)
    assert blocks.shape == (2, 24, 2, 3, 4)
    assert sorted(blocks[1, :8, 1, 2, 3].tolist()) == sorted(volume[1, 0, 2:4, 4:6, 6:8].flatten().tolist())


def test_json_rounds_and_keeps_an_undetermined_burgers_vector() -> None:
    """``burgers`` is null where it is not determined."""
    volume = np.zeros((2, 2, 2), np.float32)
    line = PredictedLine(np.array([[0, 0, 1 / 3], [1, 2, 3]]), None, 0.87654321)
    prediction = Prediction(
        0.9, (0.1, 0.2, 0.3, 0.4), False, (line,), volume, volume, volume, np.eye(3), {"name": "x"}, 1.0
    )
    found = prediction.to_json()
    assert found["lines"] == [{"points_A": [[0.0, 0.0, 0.33], [1.0, 2.0, 3.0]], "burgers": None, "confidence": 0.8765}]
    assert found["class"] == "mixed"
