"""The network as an analysis: noise that is fixed, clear refusals, plain values, files of its own."""

import json
from dataclasses import replace

import fake_predictions as fakes
import numpy as np
import pytest
import torch
from small_network import write_untrained

from inference_insitu.inference.analysis import build_analysis, plain_values
from inference_insitu.inference.defects import Defects, example, grid_of, is_finite, values_of
from inference_insitu.inference.frame import Frame, Variable
from inference_insitu.inference.results import read_results

SHAPE = (32, 32, 32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_untrained(tmp_path_factory.mktemp("model")))


class Recorder:
    """A network that keeps what it is shown and answers ``prediction``."""

    def __init__(self, prediction=None):
        self.shown = []
        self.prediction = prediction or fakes.prediction()
        self.model = {"name": "a, b", "weights_sha256": "0" * 64}
        self.device = torch.device("cpu")

    def predict(self, exposures):
        self.shown += exposures
        return [self.prediction] * len(exposures)


def answering(monkeypatch, network, **options):
    monkeypatch.setattr("models.predictor.Predictor.load", lambda *given: network)
    return Defects(**options)


def test_counting_noise_depends_on_seed_step_and_rank_alone(monkeypatch):
    """Dropping frames before it does not change what the network sees of a frame."""
    network = Recorder()
    subject = answering(monkeypatch, network, peak_counts=100.0, seed=3)
    frames = [fakes.frame(5), fakes.frame(6), replace(fakes.frame(5), rank=1)]
    subject.answer(frames)
    subject.answer([fakes.frame(5)])
    first, other_step, other_rank, again = (exposure.counts for exposure in network.shown)
    assert (first == again).all()
    assert (first != other_step).any()
    assert (first != other_rank).any()
    assert first.dtype == np.float32


def test_frames_are_counts_already_unless_told_otherwise(monkeypatch):
    network = Recorder()
    answering(monkeypatch, network).answer([fakes.frame(5)])
    assert (network.shown[0].counts == fakes.pattern(5)).all()
    assert (network.shown[0].grid.step == fakes.grid().step).all()


def test_the_exposure_is_no_view_of_the_ring(monkeypatch):
    network, frame = Recorder(), fakes.frame(5)
    answering(monkeypatch, network).answer([frame])
    assert not np.shares_memory(network.shown[0].counts, frame.array)


def test_a_frame_that_does_not_say_where_it_was_sampled_has_no_grid():
    assert grid_of(Frame("pattern", 0, 1, fakes.pattern(1))) is None


def test_blocks_of_a_coarser_frame_lie_at_the_middle_of_their_voxels():
    """Voxel m of factor 2 is the mean of voxels 2m and 2m + 1 of the whole grid."""
    whole, coarse = grid_of(fakes.frame(1)), grid_of(replace(fakes.frame(1), array=np.ones((6, 5, 4), np.float32)))
    middle = np.array([3, 2, 2])  # the centre voxel of the coarse grid is made of 6 and 7, 4 and 5, 4 and 5
    first = whole.centre + (2 * middle - np.array(whole.shape) // 2) @ whole.step
    second = whole.centre + (2 * middle + 1 - np.array(whole.shape) // 2) @ whole.step
    assert coarse.centre == pytest.approx((first + second) / 2)
    assert coarse.step == pytest.approx(2 * whole.step)


def test_a_network_answers_plain_values_and_keeps_the_rest_in_a_file_of_its_own(model, tmp_path):
    subject = build_analysis("inference_insitu.inference.defects:Defects", {"model": model, "peak_counts": 1e4})
    subject.open(tmp_path, 2, 1)
    subject.warm_up(Variable("float32", SHAPE))
    assert not list(tmp_path.iterdir())
    counts = example(SHAPE).counts
    attributes = {"q_centre": [0.0, 0.0, 3.0], "q_step": np.diag([0.1, 0.1, 0.1]).tolist(), "time_ps": 0.5}
    answers = subject.answer([Frame("pattern", 0, step, counts, attributes) for step in (3, 4)])
    subject.close()
    for answer in answers:
        assert json.loads(json.dumps(plain_values(answer), allow_nan=False)) == answer
        assert answer["confidence"] == pytest.approx(
            max(answer["defect_probability"], 1 - answer["defect_probability"]), abs=1e-4
        )
    assert subject.model.startswith("untrained sha256:")
    assert [path.name for path in tmp_path.iterdir()] == ["results-2.1.h5"]
    stored = read_results(tmp_path)
    assert [result.step for result in stored] == [3, 4]
    assert stored[0].defect_probability == pytest.approx(answers[0]["defect_probability"], abs=1e-4)


@pytest.mark.parametrize(("shape", "why"), [((4, 4), "a pattern must have 3 axes"), ((2, 2, 2), "")])
def test_a_shape_that_the_network_does_not_take_is_named_before_the_first_frame(model, shape, why):
    subject = Defects(model=model)
    if not why:
        subject._predictor = Refusing()
    with pytest.raises(ValueError, match=r"must accept patterns of shape \(.*\), got: " + why):
        subject.warm_up(Variable("float32", shape))


class Refusing:
    def predict(self, exposures):
        raise RuntimeError("kernel size exceeds input")


def test_a_network_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="model must be a checkpoint file or one of"):
        Defects(model=str(tmp_path / "nowhere")).warm_up(Variable("float32", SHAPE))


def test_an_answer_that_is_not_finite_is_none(monkeypatch, tmp_path):
    """Nothing of it is kept."""
    whole = fakes.prediction()
    assert is_finite(whole)
    broken = replace(whole, lines=(replace(whole.lines[0], windings=(float("nan"),)),))
    assert not is_finite(broken)
    assert not is_finite(replace(whole, count_probabilities=(float("inf"),) * 7))
    subject = answering(monkeypatch, Recorder(broken))
    subject.open(tmp_path, 0, 0)
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        subject.answer([fakes.frame(1)])
    assert not list(tmp_path.iterdir())


def test_results_that_cannot_be_kept_are_an_error_of_the_disk(monkeypatch, tmp_path):
    subject = answering(monkeypatch, Recorder())
    subject.open(tmp_path / "nowhere", 0, 0)
    with pytest.raises(OSError, match="nowhere"):
        subject.answer([fakes.frame(1)])


def test_a_reader_of_stderr_that_left_costs_no_frame(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Closed())
    assert len(answering(monkeypatch, Recorder(), last_step=100).answer([fakes.frame(1)])) == 1


def test_a_doubt_is_told_in_plain_words():
    values = values_of(fakes.prediction(0.75, 2, "novel"))
    assert (values["class"], values["count"], values["confidence"]) == ("edge", 2, 0.75)
    assert (values["undetermined"], values["undetermined_because"]) == (True, "novel")
    assert len(values["lines"]) == 2
