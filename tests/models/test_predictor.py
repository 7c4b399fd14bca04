"""The predictor: the stable object for scripts, sets and batches, Burgers vectors, broken weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from objects_by_hand import HALF, TURN, VOXEL, WHOLE, Array, indices, tube
from torch import Tensor

from cdi.grid import QGrid, real_space_step
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure, Reflection
from models import predictor as predictor_module
from models.checkpoint import Calibration, Checkpoint, weights_sha256
from models.config import NetworkConfig
from models.known_crystal import KnownCrystal
from models.network import HIDDEN, DefectNet, NetworkOutput
from models.prediction import CLASSES, BurgersCandidate, PredictedLine, Prediction
from models.predictor import Predictor

GOLD = Lattice.of_material("Au")
SPANNING: tuple[Reflection, ...] = ((1, 1, 1), (1, -1, 1), (2, 0, 0))
BURGERS = np.array([0.5, -0.5, 0])
POINT, ALONG = np.array([0.4, -0.8, 0.3]), np.array([0.3, 1.0, -0.2])
STEP = real_space_step(VOXEL, WHOLE)
EDGE = [0.0, 5, 0, 0, 0, 0]


def exposures(count: int) -> list[Exposure]:
    rng = np.random.default_rng(0)
    grids = [None, QGrid([0, 0, 3.0], 0.004 * np.eye(3) + 0.0005, WHOLE)]
    return [Exposure(rng.poisson(rng.exponential(4.0, WHOLE)), grids[i % 2]) for i in range(count)]


@pytest.fixture
def predictor(checkpoint: Checkpoint) -> Predictor:
    return Predictor.of(checkpoint, "0" * 64, "cpu")


class Forced(DefectNet):
    """Says the same whatever it is shown: class logits, and a line with the windings of ``turns``."""

    def __init__(
        self, config: NetworkConfig, logits: list[float], turns: Array, along: Array = ALONG, searched: bool = False
    ) -> None:
        super().__init__(config)
        self.logits, self.turns, self.searched = torch.tensor(logits), turns, searched
        self.counts = torch.zeros(7)
        tangent = along / np.linalg.norm(along)
        self.density = torch.as_tensor(tube(HALF, POINT, tangent), dtype=torch.float32)
        self.flux = torch.as_tensor(tangent, dtype=torch.float32)[:, None, None, None] * self.density

    def forward(self, patterns: object, passes: object = None, proposal: object = None) -> NetworkOutput:
        batch, reflections = patterns.present.shape  # type: ignore[attr-defined]

        def same(volume: Tensor, *lead: int) -> Tensor:
            return volume.expand(*lead, *volume.shape)

        turns = torch.as_tensor(self.turns, dtype=torch.float32)[:, None, None, None, None] * self.flux
        turns = torch.cat([turns, turns.new_zeros(reflections - len(turns), *turns.shape[1:])])
        phasor = same(torch.polar(torch.ones(HALF), self.density), batch, reflections)
        return NetworkOutput(
            same(self.logits, batch), same(self.counts, batch), same(torch.logit(self.density, 1e-6), batch),
            same(10 * self.density - 5, batch, reflections), phasor, same(turns, batch),
            torch.ones(batch, HIDDEN), None, objects=phasor if self.searched else None,
        )  # fmt: skip


def forced(
    config: NetworkConfig, logits: list[float], turns: Array | None = None, calibration: Calibration | None = None
) -> Predictor:
    turns = np.ones(1) if turns is None else turns
    identity = {"name": "forced", "weights_sha256": "0" * 64}
    return Predictor(Forced(config, logits, turns), calibration or Calibration(), identity, torch.device("cpu"))


def gold(reflections: tuple[Reflection, ...]) -> tuple[list[Exposure], Array]:
    """Exposures of the turned crystal on common voxels, and G."""
    G = GOLD.plane_normal(reflections) @ TURN.T
    peak = np.rint(1e4 * np.exp(-(indices(WHOLE) ** 2).sum(-1) / 6))
    return [Exposure(peak, QGrid(g, STEP, WHOLE)) for g in G], G


def test_the_json_has_the_keys_that_scripts_rely_on(config: NetworkConfig) -> None:
    """One object of plain numbers throughout."""
    exposed, _ = gold(SPANNING)
    known = KnownCrystal(GOLD, SPANNING)
    (prediction,) = forced(config, EDGE, np.asarray(SPANNING) @ BURGERS).predict_crystals([exposed], [known])
    printed = json.loads(json.dumps(prediction.to_json(), allow_nan=False))
    assert set(printed) == {
        "defect_probability", "class", "class_probabilities", "count", "count_probabilities", "undetermined",
        "undetermined_because", "lines", "model", "seconds",
    }  # fmt: skip
    assert set(printed["model"]) == {"name", "weights_sha256"}
    assert printed["class"] == "edge"
    assert printed["undetermined"] is False
    assert printed["undetermined_because"] is None
    assert printed["count"] == len(printed["lines"]) == 1
    assert sum(printed["count_probabilities"]) == pytest.approx(1, abs=1e-3)
    (line,) = printed["lines"]
    assert set(line) == {"points_A", "burgers", "confidence", "windings", "candidates"}
    assert np.asarray(line["points_A"]).shape[1] == 3
    assert 0 <= line["confidence"] <= 1
    assert len(line["windings"]) == 3
    assert set(line["candidates"][0]) == {"fractions", "probability"}
    assert 0 <= printed["defect_probability"] <= 1


def test_no_defect_means_no_lines(config: NetworkConfig) -> None:
    """Where none is the more probable answer, the class is none and a bright line density gives no line."""
    (prediction,) = forced(config, [3.0, 0, 0, 0, 0, 0]).predict(exposures(1))
    assert prediction.defect_class == "none"
    assert prediction.count == 0


def test_a_line_that_is_likelier_not_there_is_not_told(config: NetworkConfig) -> None:
    """By its density, or by the count; the class is the network's all the same."""
    exposed, _ = gold(SPANNING[:1])

    def told(offset: float, counted: int) -> int:
        predictor = forced(config, EDGE, calibration=Calibration(line_slope=0.0, line_offset=offset))
        assert isinstance(predictor.network, Forced)
        predictor.network.counts = 8 * torch.eye(7)[counted]
        (prediction,) = predictor.predict_crystals([exposed])
        assert prediction.to_json()["class"] == "edge"
        return len(prediction.lines)

    assert told(1.0, 1) == 1
    assert told(1.0, 0) == 0
    assert told(-6.0, 1) == 0


def test_class_and_defect_probability_never_contradict(config: NetworkConfig) -> None:
    """40 % none against 60 % shared by five classes is a defect, though none is the largest."""
    shares = np.log([0.4, 0.1, 0.2, 0.1, 0.15, 0.05]).tolist()
    (prediction,) = forced(config, shares).predict(exposures(1))
    assert prediction.defect_probability == pytest.approx(0.6)
    assert prediction.defect_class == "screw"
    assert prediction.undetermined == "unsure"
    assert prediction.count == 1


def test_temperatures_cool_class_and_count(config: NetworkConfig) -> None:
    """Logits over the temperature (Guo et al. 2017)."""
    cool = Calibration(temperature=2.0)
    (prediction,) = forced(config, EDGE, calibration=cool).predict(exposures(1))
    assert prediction.class_probabilities[1] == pytest.approx(np.exp(2.5) / (np.exp(2.5) + 5))


def test_a_pattern_far_from_the_familiar_is_novel(config: NetworkConfig) -> None:
    """Beyond the limit, and however sure the class; a limit of 0 asks nothing."""
    for limit, says in ((0.0, ""), (0.9, "novel"), (1.1, "")):
        told = forced(config, EDGE, calibration=Calibration(novelty_limit=limit))
        told.network.familiar_precision.copy_(torch.eye(HIDDEN))
        (prediction,) = told.predict(exposures(1))
        assert prediction.undetermined == says
    (prediction,) = told.predict(exposures(1))
    assert prediction.to_json()["undetermined_because"] is None


def test_the_voxel_maps_lines_to_angstrom(config: NetworkConfig) -> None:
    """With a grid its real-space voxel, without one the identity."""
    unknown, known = forced(config, EDGE).predict(exposures(2))
    np.testing.assert_array_equal(unknown.voxel, np.eye(3))
    assert known.voxel == pytest.approx(exposures(2)[1].grid.voxel)  # type: ignore[union-attr]
    np.testing.assert_allclose(unknown.lines[0].points_A @ known.voxel, known.lines[0].points_A, atol=1e-6)
    away = np.cross(unknown.lines[0].points_A - POINT, ALONG / np.linalg.norm(ALONG))
    assert np.linalg.norm(away, axis=1).max() < 0.5


@pytest.mark.parametrize("hand", [1, -1])
@pytest.mark.parametrize("oriented", [True, False])
def test_windings_of_a_known_crystal_give_its_burgers_vector(config: NetworkConfig, hand: int, oriented: bool) -> None:
    """b in Å in the laboratory for the sense of the points, found from three reflections.

    ``hand`` −1: the voxels are left-handed, about which the same phase circulates the other way.
    """
    voxel = VOXEL * np.array([1, 1, hand])[:, None]
    G = GOLD.plane_normal(SPANNING) @ TURN.T
    peak = np.rint(1e4 * np.exp(-(indices(WHOLE) ** 2).sum(-1) / 6))
    exposed = [Exposure(peak, QGrid(g, real_space_step(voxel, WHOLE), WHOLE)) for g in G]
    known = KnownCrystal(GOLD, SPANNING, TURN if oriented else None)
    turns = hand * np.asarray(SPANNING) @ BURGERS
    (prediction,) = forced(config, EDGE, turns).predict_crystals([exposed], [known])
    (line,) = prediction.lines
    sense = np.sign((line.points_A[-1] - line.points_A[0]) @ (ALONG @ voxel))
    assert line.burgers is not None
    np.testing.assert_allclose(line.burgers, sense * TURN @ GOLD.direction(BURGERS), atol=1e-6)
    np.testing.assert_allclose(line.candidates[0].fractions, sense * BURGERS, atol=1e-9)
    np.testing.assert_allclose(line.windings, sense * np.asarray(SPANNING) @ BURGERS, atol=0.15)
    assert line.candidates[0].probability > 0.9
    assert sum(candidate.probability for candidate in line.candidates) == pytest.approx(1)


@pytest.mark.parametrize(("course", "name"), [([1, -1, 0], "screw"), ([1, 0, -1], "mixed"), ([1, 1, -2], "edge")])
def test_lines_of_searched_objects_tell_the_character(
    config: NetworkConfig, monkeypatch: pytest.MonkeyPatch, course: list[int], name: str
) -> None:
    """Of a known crystal, by their course in (111), which holds the Burgers vector; the network's own lines do not."""
    monkeypatch.setattr(predictor_module, "object_lines", lambda lines, *_: lines)
    along = TURN @ np.array(course) @ np.linalg.inv(VOXEL)
    exposed, _ = gold(SPANNING)
    turns, undecided = np.asarray(SPANNING) @ BURGERS, [0.0, 5, 5, 5, 3, 0]

    def classes(searched: bool, known: KnownCrystal | None) -> Array:
        network = Forced(config, undecided, turns, along, searched)
        told = Predictor(network, Calibration(), {"name": "forced", "weights_sha256": "0" * 64}, torch.device("cpu"))
        return np.array(told.predict_crystals([exposed], [known])[0].class_probabilities)

    alone, known = torch.tensor(undecided).softmax(0).numpy(), KnownCrystal(GOLD, SPANNING)
    np.testing.assert_allclose(classes(False, known), alone, atol=1e-6)
    np.testing.assert_allclose(classes(True, None), alone, atol=1e-6)
    found = classes(True, known)
    assert CLASSES[int(found.argmax())] == name
    np.testing.assert_allclose(found[[0, 4, 5]], alone[[0, 4, 5]], atol=1e-6)


def test_a_vortex_of_two_dislocations_is_two_lines(config: NetworkConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where objects were searched and the crystal is known: no vector of it winds twice as this one does."""
    monkeypatch.setattr(predictor_module, "object_lines", lambda lines, *_: lines)
    exposed, _ = gold(SPANNING)
    turns, identity = 2 * np.asarray(SPANNING) @ BURGERS, {"name": "forced", "weights_sha256": "0" * 64}

    def lines(searched: bool, known: KnownCrystal | None) -> tuple[PredictedLine, ...]:
        network = Forced(config, EDGE, turns, ALONG, searched)
        told = Predictor(network, Calibration(), identity, torch.device("cpu"))
        return told.predict_crystals([exposed], [known])[0].lines

    assert [len(lines(True, None)), len(lines(False, KnownCrystal(GOLD, SPANNING)))] == [1, 1]
    pair = lines(True, KnownCrystal(GOLD, SPANNING))
    assert len(pair) == 2
    for line in pair:
        np.testing.assert_allclose(np.abs(line.candidates[0].fractions), np.abs(BURGERS), atol=1e-9)
        np.testing.assert_allclose(np.abs(line.windings), np.abs(turns) / 2, atol=0.15)


def test_what_reflections_leave_open_has_no_burgers_vector(config: NetworkConfig) -> None:
    """One reflection sees g·b alone: several candidates, none the answer; an unknown lattice gives none."""
    exposed, _ = gold(SPANNING[:1])
    told = forced(config, EDGE, np.ones(1))
    known, unknown = told.predict_crystals([exposed, exposed], [KnownCrystal(GOLD, SPANNING[:1], TURN), None])
    assert known.lines[0].burgers is None
    first, second = known.lines[0].candidates[:2]
    assert first.probability == pytest.approx(second.probability)
    assert unknown.lines[0].burgers is None
    assert unknown.lines[0].candidates == ()
    assert unknown.lines[0].windings == known.lines[0].windings


def test_a_known_crystal_must_name_every_exposure(config: NetworkConfig) -> None:
    exposed, _ = gold(SPANNING[:2])
    with pytest.raises(ValueError, match="reflections must be one an exposure, got 3 for 2"):
        forced(config, EDGE).predict_crystals([exposed], [KnownCrystal(GOLD, SPANNING)])


def test_a_batch_equals_one_by_one(predictor: Predictor) -> None:
    together = predictor.predict(exposures(3))
    for exposure, joint in zip(exposures(3), together, strict=True):
        (alone,) = predictor.predict([exposure])
        np.testing.assert_allclose(alone.class_probabilities, joint.class_probabilities, atol=1e-3)
        np.testing.assert_allclose(alone.count_probabilities, joint.count_probabilities, atol=1e-3)
        np.testing.assert_allclose(alone.line_density, joint.line_density, atol=1e-3)
        np.testing.assert_allclose(alone.support, joint.support, atol=1e-3)
        assert sum(alone.class_probabilities) == pytest.approx(1)


def test_crystals_of_different_numbers_of_reflections_share_a_batch(predictor: Predictor) -> None:
    """Each as if alone; phases and windings are those of its own reflections."""
    three, _ = gold(SPANNING)
    sets = [three, exposures(2)[1:], three[1:]]
    for exposed, joint in zip(sets, predictor.predict_crystals(sets), strict=True):
        (alone,) = predictor.predict_crystals([exposed])
        np.testing.assert_allclose(alone.class_probabilities, joint.class_probabilities, atol=1e-3)
        np.testing.assert_allclose(alone.line_density, joint.line_density, atol=1e-3)
        assert alone.phase.shape == joint.phase.shape == (len(exposed), *HALF)
        assert joint.support.shape == joint.line_density.shape == HALF
        np.testing.assert_allclose(np.exp(1j * alone.phase), np.exp(1j * joint.phase), atol=2e-2)


def test_a_file_gives_the_same_answer_as_the_network_in_memory(predictor: Predictor, checkpoint_file: Path) -> None:
    loaded = Predictor.load(checkpoint_file, "cpu")
    (a,), (b,) = loaded.predict(exposures(1)), predictor.predict(exposures(1))
    np.testing.assert_array_equal(a.line_density, b.line_density)
    assert a.model == {"name": "tiny", "weights_sha256": weights_sha256(checkpoint_file)}
    assert loaded.shape == WHOLE


def test_weights_of_another_network_are_refused(checkpoint: Checkpoint, config: NetworkConfig) -> None:
    wider = replace(checkpoint, network=replace(config, width=16))
    with pytest.raises(ValueError, match="the weights of model 'tiny' must fit its network"):
        Predictor.of(wider, "0" * 64)


@pytest.mark.parametrize("part", ["design.position", "winding_head.around.weight", "counter.1.weight"])
def test_broken_weights_are_a_failure_not_an_answer(checkpoint: Checkpoint, part: str) -> None:
    """NaN anywhere in the answer, windings and counts included."""
    checkpoint.weights[part][:] = np.nan
    with pytest.raises(FloatingPointError, match="gave NaN or infinity"):
        Predictor.of(checkpoint, "0" * 64, "cpu").predict(exposures(1))


def test_json_rounds_and_keeps_an_undetermined_burgers_vector() -> None:
    """``burgers`` is null where it is not determined; six candidates at most are named."""
    volume = np.zeros((2, 2, 2), np.float32)
    candidates = tuple(BurgersCandidate((0.5, -0.5, k / 3), 0.125) for k in range(8))
    line = PredictedLine(np.array([[0, 0, 1 / 3], [1, 2, 3]]), None, 0.87654321, (0.99999,), candidates)
    prediction = Prediction(
        0.9, (0.1, 0.1, 0.1, 0.4, 0.2, 0.1), (0.5, 0.5, 0, 0, 0, 0, 0), "", (line,), volume, volume, volume[None],
        np.eye(3), {"name": "x"}, 1.0,
    )  # fmt: skip
    (found,) = prediction.to_json()["lines"]
    assert {key: found[key] for key in ("points_A", "burgers", "confidence", "windings")} == {
        "points_A": [[0.0, 0.0, 0.33], [1.0, 2.0, 3.0]], "burgers": None, "confidence": 0.8765, "windings": [1.0],
    }  # fmt: skip
    assert len(found["candidates"]) == 6
    assert found["candidates"][1] == {"fractions": [0.5, -0.5, 0.3333], "probability": 0.125}
    assert prediction.defect_class == "mixed"
