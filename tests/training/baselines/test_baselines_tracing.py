"""Objects, by phase network or retrieval, to lines: joined over reflections, named, and told in one frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from crystals_to_learn import SPANNING, TINY, crystal, lesson
from torch import Tensor

from cdi.ambiguity import inverted, twin
from cdi.defects.classes import CLASSES
from cdi.fourier import amplitude_from_object, centre_crop
from cdi.pattern import Exposure
from cdi.retrieval.config import SearchConfig
from cdi.retrieval.search import SearchedObject
from data.sample import Sample
from models.searched_stage import Searcher
from training.baselines.learning import Budget, batch_of
from training.baselines.phase_network import PhaseNet, PhaseNetwork, modulus_misfit
from training.baselines.retrieval_tracing import RetrievalTracing
from training.baselines.search_tracing import SearchTracing
from training.baselines.traced_lines import gathered, nothing_found, support_above, traced_crystal
from training.metrics import CrystalObject, line_distances

torch.set_num_threads(1)

FREQUENCIES = np.array([0.4, 0.1, 0.2, 0.1, 0.15, 0.05])
VOXEL = np.array([[9.0, 0, 0], [1.5, 10.0, 0], [-0.7, 1.2, 11.0]])


def dislocated(reflections: int, defect: str = "") -> tuple[Sample, ...]:
    """A crystal with one pure dislocation, of the class ``defect`` if given, that its first reflection sees."""
    return next(
        samples
        for index in range(40)
        if (samples := crystal(SPANNING, index, 4)[:reflections])[0].truth.lines[0].visible
        and samples[0].truth.defect.startswith(defect)
    )


def true_object(samples: tuple[Sample, ...]) -> tuple[Tensor, Tensor]:
    support = torch.as_tensor(np.stack([sample.truth.support for sample in samples]))
    phase = torch.as_tensor(np.stack([sample.truth.phase for sample in samples]))
    return torch.polar(support.double(), phase.double()), support > 0.5


@pytest.mark.parametrize("defect", ["edge", "screw"])
def test_the_true_object_gives_its_line_windings_burgers_vector_and_class(defect: str) -> None:
    """With four reflections, nothing left open: in the truth's own frame and sense."""
    samples = dislocated(4, defect)
    answer = traced_crystal(*true_object(samples), samples, FREQUENCIES)
    truth = samples[0].truth.lines[0]
    to_voxels = np.linalg.inv(samples[0].exposure.grid.voxel)
    (line,) = answer.lines
    assert line_distances([line.points @ to_voxels], [truth.points @ to_voxels])[0, 0] < 1
    along = np.sign((line.points[-1] - line.points[0]) @ (truth.points[-1] - truth.points[0]))
    np.testing.assert_allclose(line.windings * along, [sample.truth.lines[0].g_dot_b for sample in samples])
    np.testing.assert_allclose(line.burgers * along, truth.burgers_lattice, atol=1e-9)
    assert answer.class_probabilities[CLASSES.index(defect)] == 1
    assert answer.defect_probability == 1
    assert np.isnan(answer.confidence)


def test_one_reflection_tells_a_line_and_leaves_its_class_to_frequencies() -> None:
    samples = dislocated(1)
    answer = traced_crystal(*true_object(samples), samples, FREQUENCIES)
    assert len(answer.lines) == 1
    np.testing.assert_allclose(answer.class_probabilities[1:], FREQUENCIES[1:] / FREQUENCIES[1:].sum())
    assert answer.class_probabilities[0] == 0


def test_the_twin_gives_the_line_on_the_other_side_with_the_opposite_winding() -> None:
    samples = dislocated(2)
    density, support = true_object(samples)
    (line,) = traced_crystal(density, support, samples, FREQUENCIES).lines
    (other,) = traced_crystal(twin(density), inverted(support), samples, FREQUENCIES).lines
    sense = np.sign((line.points[-1] - line.points[0]) @ (other.points[-1] - other.points[0]))
    assert line_distances([-line.points], [other.points])[0, 0] < 0.2 * np.linalg.norm(VOXEL)
    np.testing.assert_allclose(other.windings * sense, -line.windings)


def test_an_object_without_vortex_is_called_none() -> None:
    samples = dislocated(2)
    density, support = true_object(samples)
    answer = traced_crystal(density.abs() + 0j, support, samples, FREQUENCIES)
    assert answer.lines == ()
    assert answer.class_probabilities[0] == 1
    assert answer.defect_probability == 0


def test_reflections_are_brought_over_the_first_whatever_twin_and_place_each_has() -> None:
    density, _ = true_object(dislocated(3))
    lopsided = density * (torch.arange(32) > 12)
    scattered = torch.stack([lopsided[0], torch.roll(twin(lopsided[1]), (2, -1, 3), (0, 1, 2)), lopsided[2].roll(1, 2)])
    torch.testing.assert_close(gathered(scattered), lopsided)


def test_a_closed_line_is_a_loop() -> None:
    """A ring of winding, from two half turns of phase about a circle, is named after its class."""
    samples = dislocated(1)
    axes = [torch.arange(n, dtype=torch.float64) - n // 2 for n in (32, 32, 32)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    radius = (x.square() + y.square()).sqrt()
    turns = torch.atan2(z, radius - 3.2)
    support = ((x.square() + y.square() + z.square()) < 7.5**2)[None]
    density = torch.polar(torch.ones_like(turns), turns)[None] * support
    answer = traced_crystal(density, support, samples, FREQUENCIES)
    assert len(answer.lines) == 1
    assert answer.class_probabilities[5] == 1


def test_support_holds_what_is_brighter_than_the_level() -> None:
    density = torch.tensor([0.1, -0.3j, 1.0 + 0j, 0.0]).reshape(1, 4, 1, 1)
    assert support_above(density, 0.2).flatten().tolist() == [False, True, True, False]
    assert not support_above(density * 0, 0.2).any()


def test_the_loss_of_a_phase_network_is_0_for_the_object_its_twin_and_any_scale_and_phase() -> None:
    """Behind a gap as well. And not for another object."""
    density, _ = true_object(dislocated(1))
    counts = amplitude_from_object(density).abs().square().float()
    measured = torch.ones_like(counts, dtype=torch.bool)
    measured[:, 14:16] = False
    batch = replace(batch_of(lesson(), np.arange(1)), counts=counts * measured, measured=measured)
    for same in (density, twin(density), density * 3j):
        answer = centre_crop(same, (16, 16, 16)).to(torch.complex64)
        assert float(modulus_misfit(lambda _, answer=answer: answer, batch)) < 0.02  # type: ignore[arg-type,misc]
    other = centre_crop(density.abs() + 0j, (16, 16, 16)).to(torch.complex64)
    assert float(modulus_misfit(lambda _: other, batch)) > 0.1  # type: ignore[arg-type]


def test_what_is_not_measured_does_not_enter_the_loss() -> None:
    batch = batch_of(lesson(), np.arange(3))
    network = PhaseNet((8, 8, 8)).eval()
    gap = torch.ones_like(batch.measured)
    gap[:, 6:9, 3] = False
    one = replace(batch, measured=gap)
    fixed = network(batch.counts)
    two = replace(one, counts=torch.where(gap, batch.counts, batch.counts * 5 + 7))
    a, b = (modulus_misfit(lambda _: fixed, each) for each in (one, two))  # type: ignore[arg-type]
    torch.testing.assert_close(a, b)


def test_a_phase_network_learns_from_patterns_alone() -> None:
    """Its labels are replaced: the weights are the same, and its loss falls."""
    exposures, budget = lesson(), Budget(minutes=None, batches=5, batch_size=8, learning_rate=3e-3)
    fitted = PhaseNetwork.fit(exposures, budget, FREQUENCIES)
    wrong = replace(exposures, defect=exposures.defect[::-1].copy(), count=exposures.count[::-1].copy())
    other = PhaseNetwork.fit(wrong, budget, FREQUENCIES)
    for one, two in zip(fitted.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(one, two)
    curve = [value for _, value in fitted.facts["held_out_loss"]]
    assert curve[-1] < curve[0]


def test_a_phase_network_answers_in_the_frame_of_the_patterns() -> None:
    samples = dislocated(2)
    answer = PhaseNetwork(PhaseNet(), FREQUENCIES).predict([samples])[0]
    assert answer.volumes.phase.shape == (2, 16, 16, 16)
    assert answer.class_probabilities.sum() == pytest.approx(1)


def test_phase_retrieval_finds_the_line_of_a_clean_crystal() -> None:
    """End to end: the line within 2 voxels, the support, and what it says of the class, twin allowed for."""
    samples = dislocated(1)
    method = RetrievalTracing(starts=3, frequencies=FREQUENCIES, schedule="2x(HIO 80, ER 20), RAAR 60, ER 40")
    (answer,) = method.predict([samples])
    to_voxels = np.linalg.inv(samples[0].exposure.grid.voxel)
    truth = samples[0].truth.lines[0].points @ to_voxels
    found = [line.points @ to_voxels for line in answer.lines]
    assert min(line_distances(found, [truth]).min(), line_distances(found, [-truth]).min()) < 2
    inside = centre_crop(torch.as_tensor(samples[0].truth.support), (16, 16, 16)) > 0.5
    assert answer.volumes.inside.sum() == pytest.approx(int(inside.sum()), rel=0.15)
    assert not answer.undetermined
    assert method.name == "phase retrieval, 3 starts"


def test_what_cannot_be_phased_is_undetermined_without_a_line() -> None:
    """The peak lies behind a gap: phase retrieval refuses it."""
    (sample,) = crystal(TINY, 9, 1)
    squared = sum(np.square(axis - 8) for axis in np.indices((16, 16, 16)))
    mask = np.ones((16, 16, 16), bool)
    mask[7:10, 7:10, 7:10] = False
    counts = np.random.default_rng(1).poisson(1e4 * np.exp(-squared / 8)).astype(np.float32)
    hidden = replace(sample, exposure=Exposure(counts, sample.exposure.grid, mask))
    (answer,) = RetrievalTracing(starts=1, frequencies=FREQUENCIES).predict([(hidden,)])
    assert answer.undetermined
    assert answer.lines == ()
    assert isinstance(answer.volumes, CrystalObject)
    assert not answer.volumes.inside.any()
    np.testing.assert_array_equal(answer.class_probabilities, FREQUENCIES)
    assert nothing_found((sample, sample), FREQUENCIES).volumes.phase.shape == (2, 8, 8, 8)


def test_phase_retrieval_needs_a_start() -> None:
    with pytest.raises(ValueError, match="starts must be at least 1"):
        RetrievalTracing(starts=0)


def test_searched_objects_are_traced_in_one_frame_and_a_pattern_without_one_leaves_the_crystal_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each reflection is found as another twin at another place; the line comes out with all its windings."""
    samples = dislocated(3, "edge")
    density, support = true_object(samples)
    lopsided = support & (torch.arange(32) > 13)
    density = density * lopsided
    moved = [density[0], torch.roll(twin(density[1]), (2, -1, 3), (0, 1, 2)), density[2].roll(1, 2)]
    found: list[SearchedObject | None] = [
        SearchedObject(one.to(torch.complex64), one.abs() > 0, 1.0, 0.01 * (1 + number))
        for number, one in enumerate(moved)
    ]
    monkeypatch.setattr(Searcher, "searched", lambda self, counts, measured: found[calls.pop(0)])
    calls = [0, 1, 2]
    (answer,) = SearchTracing(Searcher(SearchConfig())).predict([samples])
    truth = traced_crystal(density, lopsided, samples, FREQUENCIES)
    assert len(answer.lines) == len(truth.lines) == 1
    np.testing.assert_allclose(answer.lines[0].windings, truth.lines[0].windings)
    assert line_distances([answer.lines[0].points], [truth.lines[0].points])[0, 0] < 0.2 * np.linalg.norm(VOXEL)
    found[1], calls = None, [0, 1, 2]
    (answer,) = SearchTracing(Searcher(SearchConfig())).predict([samples])
    assert answer.undetermined
    assert not answer.lines
