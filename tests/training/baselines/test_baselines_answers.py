"""Prior, radial profile and classifiers as methods: what they say, what they look at, and that they are kept."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from crystals_to_learn import TINY, crystal, lesson
from jsonargparse import ArgumentParser
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from cdi.config import write_config
from cdi.pattern import Exposure
from training.baselines.answers import fitted_counts
from training.baselines.classifier import OUTPUTS, classifier_loss
from training.baselines.cli import baselines as command
from training.baselines.exposures import LabelledExposures
from training.baselines.learning import Budget, batch_of
from training.baselines.prior import Prior
from training.baselines.radial import RadialProfile, radial_features
from training.baselines.registry import KINDS, load_baselines, train_baselines
from training.baselines.slice_cnn import SliceNet, central_slices, slice_classifier
from training.baselines.stored import load_baseline
from training.baselines.video_resnet import VideoNet, video_classifier

torch.set_num_threads(1)

SHORT = Budget(minutes=None, batches=2, batch_size=4)


@pytest.fixture(scope="module")
def exposures() -> LabelledExposures:
    return lesson()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of all baselines, made by the command from exposures that are there."""
    directory = tmp_path_factory.mktemp("baselines")
    (directory / "exposures").mkdir()
    lesson_file = directory / "exposures" / "block-00000.npz"
    np.savez(lesson_file, **{field.name: getattr(lesson(), field.name) for field in fields(LabelledExposures)})
    write_config(TINY, directory / "recipe.yaml")
    parser = ArgumentParser()
    command.add_arguments(parser)
    command.run(
        parser.parse_args(
            ["--recipe", str(directory / "recipe.yaml"), "--output", str(directory), "--crystals", "24",
             "--minutes", "0.0001", "--workers", "0"]
        )
    )  # fmt: skip
    return directory


def test_the_prior_says_how_often_each_class_and_count_occurs(exposures: LabelledExposures) -> None:
    labels = replace(
        exposures.part(slice(0, 8)),
        defect=np.array([0, 0, 0, 1, 1, 2, 4, 4]),
        determined=np.array([True] * 7 + [False]),
        count=np.array([0, 0, 0, 1, 1, 1, 1, 2]),
    )
    (answer,) = Prior.fit(labels).predict([crystal(TINY, 9, 1)])
    np.testing.assert_allclose(answer.class_probabilities, np.array([3, 2, 1, 0, 1, 0]) / 7)
    assert answer.defect_probability == pytest.approx(4 / 7)
    assert answer.count == 1


def test_the_radial_profile_tells_what_a_regression_on_its_features_tells(exposures: LabelledExposures) -> None:
    """Two routes: the stored coefficients, and scikit-learn's own probabilities."""
    fitted = RadialProfile.fit(exposures)
    x = np.stack([radial_features(counts) for counts in exposures.counts(slice(None))])
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    told = exposures.determined
    regression = LogisticRegression(max_iter=2000).fit(x[told], exposures.defect[told])
    classes, counts = fitted.probabilities(exposures.counts(slice(None)))
    np.testing.assert_allclose(classes[:, regression.classes_], regression.predict_proba(x), atol=1e-6)
    np.testing.assert_allclose(counts.sum(1), 1)


def test_two_outcomes_and_one_are_a_regression_too(exposures: LabelledExposures) -> None:
    bright = exposures.counts(slice(None)).sum((1, 2, 3))
    labels = replace(
        exposures,
        defect=np.where(bright > np.median(bright), 3, 0),
        determined=np.ones(len(bright), bool),
        count=np.full(len(bright), 2),
    )
    classes, counts = RadialProfile.fit(labels).probabilities(exposures.counts(slice(None)))
    assert (classes.argmax(1) == labels.defect).mean() > 0.9
    np.testing.assert_allclose(classes[:, [0, 3]].sum(1), 1)
    np.testing.assert_allclose(counts[:, 2], 1)


def test_radial_features_do_not_see_how_the_axes_lie(exposures: LabelledExposures) -> None:
    counts = exposures.counts(slice(3, 4))[0]
    np.testing.assert_allclose(radial_features(counts), radial_features(counts.transpose(2, 0, 1)), rtol=1e-9)


def test_several_exposures_are_averaged_and_their_order_does_not_matter(exposures: LabelledExposures) -> None:
    method = RadialProfile.fit(exposures)
    both = crystal(replace(TINY, reflection_count=2), 12, 2)
    together, turned, *alone = method.predict([both, both[::-1], both[:1], both[1:]])
    mean = np.mean([answer.class_probabilities for answer in alone], axis=0)
    np.testing.assert_allclose(together.class_probabilities, mean)
    np.testing.assert_allclose(turned.class_probabilities, mean)
    assert not np.allclose(alone[0].class_probabilities, alone[1].class_probabilities)
    assert together.confidence == pytest.approx(max(mean[0], 1 - mean[0]))


def test_what_is_off_the_centre_or_unmeasured_is_seen_as_in_training() -> None:
    """A peak moved by whole voxels, with wild counts in a plane that the mask covers."""
    (sample,) = crystal(TINY, 9, 1)
    peak = np.zeros((16, 16, 16), np.float32)
    peak[5:12, 6:11, 4:13] = np.random.default_rng(2).poisson(80, (7, 5, 9))
    mask = np.ones(peak.shape, bool)
    mask[0] = False
    moved = np.where(mask, np.roll(peak, (2, -1, 0), (0, 1, 2)), 7e5)
    kept, hidden = (
        replace(sample, exposure=Exposure(counts.astype(np.float32), None, seen))
        for counts, seen in ((peak, None), (moved, mask))
    )
    np.testing.assert_array_equal(fitted_counts((hidden,)), fitted_counts((kept,)))


def test_slices_pass_through_the_middle_along_each_axis() -> None:
    counts = torch.rand(2, 8, 10, 12) * 50
    image = central_slices(counts)
    volume = torch.log1p(counts) / torch.log1p(counts.amax((1, 2, 3), keepdim=True))
    assert image.shape == (2, 3, 12, 12)
    torch.testing.assert_close(image[:, 0, 1:11], volume[:, 4])
    torch.testing.assert_close(image[:, 1, 2:10], volume[:, :, 5])
    torch.testing.assert_close(image[:, 2, 2:10, 1:11], volume[:, :, :, 6])
    torch.testing.assert_close(image[:, 0, 6, 6], volume[:, 4, 5, 6])


@pytest.mark.parametrize("network", [SliceNet, VideoNet])
def test_classifiers_answer_for_grids_of_any_sides_and_do_not_see_the_exposure_time(network: type) -> None:
    net = network().eval()
    counts = torch.rand(2, 16, 24, 18) * 1e4
    logits = net(counts)
    assert logits.shape == (2, OUTPUTS)
    assert not torch.allclose(logits[0], logits[1])
    # log(1 + I) over its maximum changes little where every voxel is bright.
    torch.testing.assert_close(net(counts * 1.001), logits, rtol=0.05, atol=0.01)


def test_a_hidden_class_is_not_asked_for(exposures: LabelledExposures) -> None:
    network = VideoNet((8, 8))
    batch = batch_of(exposures, np.arange(6))
    hidden = replace(batch, determined=torch.tensor([False, *batch.determined[1:].tolist()]))
    other = replace(hidden, defect=torch.cat([(hidden.defect[:1] + 1) % 6, hidden.defect[1:]]))
    torch.testing.assert_close(classifier_loss(network, hidden), classifier_loss(network, other))


@pytest.mark.parametrize("classifier", [slice_classifier, video_classifier])
def test_a_classifier_learns_what_is_plain_to_see(classifier: type, exposures: LabelledExposures) -> None:
    """Patterns of one bright voxel or of a broad peak, which any of them tells within seconds."""
    generator = np.random.default_rng(5)
    broad = np.arange(48) % 2 == 1
    root = np.zeros((48, 16, 16, 16), np.float16)
    root[:, 8, 8, 8] = 40
    root[broad, 5:12, 5:12, 5:12] = generator.uniform(10, 40, (int(broad.sum()), 7, 7, 7))
    plain = LabelledExposures(
        root, np.ones(root.shape, bool), np.where(broad, 5, 0), np.ones(48, bool), broad.astype(int)
    )
    budget = Budget(minutes=None, batches=40, batch_size=8, learning_rate=3e-3, held_out=0.25)
    fitted = classifier().fit(plain, budget)
    classes, counts = fitted.probabilities(plain.counts(slice(None)))
    assert (classes.argmax(1) == plain.defect).mean() > 0.9
    assert (counts.argmax(1) == plain.count).mean() > 0.9
    assert fitted.facts["held_out_accuracy"] > 0.8


def test_the_command_trains_every_kind_and_they_answer_as_methods(trained: Path) -> None:
    methods = load_baselines(trained, starts=None)
    assert [method.facts["crystals"] > 0 for method in methods] == [True] * len(KINDS)
    assert len({method.name for method in methods}) == len(KINDS)
    crystals = [crystal(TINY, 20, 1), crystal(replace(TINY, reflection_count=2), 21, 2)]
    for method in methods:
        answers = method.predict(crystals)
        assert [answer.class_probabilities.sum() for answer in answers] == pytest.approx([1, 1])
        again = next(other for other in load_baselines(trained, starts=None) if other.name == method.name)
        np.testing.assert_array_equal(
            again.predict(crystals)[1].class_probabilities, answers[1].class_probabilities
        )  # fmt: skip


def test_no_method_reads_the_answer(trained: Path) -> None:
    """The truth of class, lines and volumes is replaced; what is said is the same."""
    (sample,) = crystal(TINY, 22, 1)
    truth = replace(sample.truth, defect="loop-or-network", lines=(), fault_step=0.3,
                    support=sample.truth.support * 0, phase=sample.truth.phase + 1)  # fmt: skip
    for method in load_baselines(trained, starts=1):
        one, other = method.predict([(sample,), (replace(sample, truth=truth),)])
        np.testing.assert_array_equal(one.class_probabilities, other.class_probabilities)
        assert one.count == other.count
        assert (one.lines is None) == (other.lines is None)
        if one.lines is not None:
            assert len(one.lines) == len(other.lines)


def test_what_is_trained_is_not_trained_again(trained: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in trained.glob("*.safetensors")}
    train_baselines(TINY, trained, crystals=24, budget=SHORT, only=["prior", "slice-cnn"])
    assert {path.name: path.stat().st_mtime_ns for path in trained.glob("*.safetensors")} == before


def test_phase_retrieval_joins_with_as_many_starts_as_wanted(trained: Path) -> None:
    retrieval = load_baselines(trained, starts=7)[-1]
    assert retrieval.name == "phase retrieval, 7 starts"
    assert retrieval.facts["starts"] == 7
    prior = load_baselines(trained, starts=None)[0]
    np.testing.assert_array_equal(retrieval.frequencies, prior.classes)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only must be among prior, radial"):
        train_baselines(TINY, tmp_path, crystals=4, budget=SHORT, only=["forest"])


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must hold trained baselines"):
        load_baselines(tmp_path)


def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    save_file({"a": torch.ones(2)}, path, {"format": "another"})
    with pytest.raises(ValueError, match="must be of format"):
        load_baseline(path)
    path.write_bytes(b"\x08\x00\x00")
    with pytest.raises(ValueError, match="it does not read"):
        load_baseline(path)
