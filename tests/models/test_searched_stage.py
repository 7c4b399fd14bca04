"""Searched objects as proposals: one frame for a crystal's reflections, kept files, patterns that cannot be phased."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from objects_by_hand import HALF, WHOLE, crystal_object, crystals, intensity
from torch import Tensor

from cdi.ambiguity import twin
from cdi.fourier import centre_crop, centre_pad
from cdi.grid import QGrid
from cdi.pattern import Exposure
from cdi.retrieval.config import SearchConfig
from cdi.retrieval.search import SearchedObject
from models import predictor as predictor_module
from models import searched_stage
from models.checkpoint import Calibration, Checkpoint
from models.config import NetworkConfig
from models.lines import TracedLine
from models.network import DefectNet, NetworkOutput, Sight
from models.predictor import Predictor
from models.preprocess import features
from models.searched_stage import (
    NO_LINE,
    READ_INSIDE,
    READ_ON,
    READINGS,
    SearchedStage,
    Searcher,
    in_one_frame,
    joined,
    object_proposal,
)

SHIFT = (1, -2, 1)


@pytest.fixture(autouse=True)
def no_resumption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are those of the search unless a test reads on."""

    def refused(*given: object, **named: object) -> SearchedObject:
        raise ValueError("support must fill at most half of the array along every axis")

    monkeypatch.setattr(searched_stage, "resumed", refused)


def searched(density: Tensor, error: float = 0.01) -> SearchedObject:
    """``density`` on the central half as a search gives it."""
    whole = centre_pad(density, WHOLE)
    return SearchedObject(whole, whole.abs() > 0.1, 1.0, error)


def placed(seed: int) -> tuple[Tensor, Tensor]:
    """A density on the central half, and its support."""
    density = crystal_object(seed)[None]
    return density, density.abs() > 0.1


@pytest.fixture
def network(config: NetworkConfig) -> DefectNet:
    torch.manual_seed(3)
    return DefectNet(config).eval()


@pytest.mark.parametrize("turned", [False, True])
def test_reflections_are_laid_over_the_one_that_fits_best(turned: bool) -> None:
    """One that is the twin and lies elsewhere comes to lie where the other is, its support with it."""
    first = crystal_object(0)
    second = first.abs() * crystal_object(1)
    whole = centre_pad(second, WHOLE)
    moved = torch.roll(twin(whole) if turned else whole, SHIFT, (-3, -2, -1))
    other = SearchedObject(moved, moved.abs() > 0.1, 1.0, 0.05)
    (found, inside), (reference, _) = in_one_frame([other, searched(first)], torch.zeros(2, 3))
    torch.testing.assert_close(reference, centre_pad(first, WHOLE))
    torch.testing.assert_close(found, whole)
    assert torch.equal(inside, whole.abs() > 0.1)


def test_no_object_is_no_frame() -> None:
    assert in_one_frame([], torch.zeros(0, 3)) == []


def test_a_dark_core_is_crystal_and_the_phase_is_the_object_s() -> None:
    density = 7.0 * crystal_object(0)
    core = (4, 6, 4)
    density[core] *= 1e-3
    inside = density.abs() > 0
    proposal = object_proposal(density[None], inside[None])
    support = proposal.support_logits[0].sigmoid()
    assert float(support[core]) > 0.5
    assert float(support[0, 0, 0]) < 0.05
    assert torch.allclose(proposal.phasor[0][inside].angle(), density[inside].angle(), atol=1e-4)
    assert float(proposal.phasor.abs().max()) <= 2.0 + 1e-5
    assert bool((proposal.line_logits == NO_LINE).all())


def test_an_empty_object_proposes_nothing_and_no_nan() -> None:
    nothing = torch.zeros(1, *HALF, dtype=torch.complex64)
    proposal = object_proposal(nothing, nothing.abs() > 0)
    for part in (proposal.support_logits, proposal.phasor.abs(), proposal.line_logits):
        assert bool(torch.isfinite(part).all())
    assert float(proposal.support_logits.sigmoid().max()) < 0.05


def test_every_exposure_has_its_own_object_and_one_that_cannot_be_phased_the_network_s(
    network: DefectNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = crystals(2, 2)
    # All of one shape, so that they lie over each other as they are.
    objects = [crystal_object(0).abs() * crystal_object(number) for number in range(4)]
    asked: list[tuple[int, object]] = []

    def search(exposure: Exposure, config: SearchConfig, **given: object) -> SearchedObject:
        number = next(n for n in range(4) if np.array_equal(exposure.counts, patterns.counts.flatten(0, 1)[n].numpy()))
        asked.append((number, given["support"]))
        if number == 1:
            raise ValueError("mask must leave the Bragg peak measured")
        return searched(objects[number], error=1 / (1 + number))

    monkeypatch.setattr(searched_stage, "search", search)
    with torch.inference_mode():
        own = network.propose(features(patterns.counts.flatten(0, 1)), Sight.of(patterns).where.flatten(0, 1))
        # It has learned nothing: what it sees as crystal is any half of the voxels.
        middle = float(own.support_logits[1].sigmoid().median())
        monkeypatch.setattr(searched_stage, "INSIDE", middle)
        proposal = SearchedStage(network, Searcher(SearchConfig())).proposal(patterns)
    assert [number for number, _ in asked] == [0, 1, 1, 2, 3]
    assert [support is None for _, support in asked] == [True, True, False, True, True]
    inside = own.support_logits[1].sigmoid() > middle
    assert bool(inside.any())
    assert torch.equal(asked[2][1], centre_pad(inside, WHOLE))
    assert torch.equal(proposal.phasor[1], own.phasor[1])
    assert torch.equal(proposal.support_logits[1], own.support_logits[1])
    inside = objects[0].abs() > 0.1
    for place in (0, 2, 3):
        assert torch.allclose(proposal.phasor[place][inside].angle(), objects[place][inside].angle(), atol=1e-4)


def test_places_that_are_only_filled_up_are_not_searched(network: DefectNet, monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = crystals(1, 3)
    present = patterns.present.clone()
    present[0, 2] = False
    asked: list[Exposure] = []

    def search(exposure: Exposure, config: SearchConfig, **given: object) -> SearchedObject:
        asked.append(exposure)
        return searched(crystal_object(0))

    monkeypatch.setattr(searched_stage, "search", search)
    with torch.inference_mode():
        SearchedStage(network, Searcher(SearchConfig())).proposal(replace(patterns, present=present))
    assert len(asked) == 2


class TestReadingOn:
    """Retrieval goes on from what the network makes of the objects, and the held-out voxels choose."""

    @pytest.fixture
    def starts(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Tensor]]:
        """What is resumed: by one schedule it comes out worse than what was searched, by the other better."""
        begun: list[tuple[str, Tensor]] = []

        def resume(exposure: Exposure, density: Tensor, schedule: str, seed: int, **given: object) -> SearchedObject:
            assert seed == SearchConfig().seed
            begun.append((schedule, density))
            better = replace(searched(crystal_object(2)), deviance=0.5)
            return better if schedule == READ_ON[1] else replace(searched(crystal_object(3)), deviance=2.0)

        monkeypatch.setattr(searched_stage, "resumed", resume)
        return begun

    def test_from_the_reading_the_best_by_held_out_voxels_is_proposed(
        self, network: DefectNet, monkeypatch: pytest.MonkeyPatch, starts: list[tuple[str, Tensor]]
    ) -> None:
        """Of each pattern that is there from its own reading, on its own counts and with its own mask."""
        monkeypatch.setattr(searched_stage, "search", lambda *given, **named: searched(crystal_object(0)))
        patterns = crystals(2, 2)
        present, measured = patterns.present.clone(), patterns.measured.clone()
        present[1, 0] = False
        measured[0, 1, ..., 0] = False
        patterns = replace(patterns, present=present, measured=measured)
        asked: list[Exposure] = []
        resume = searched_stage.resumed

        def noted(exposure: Exposure, *given: Any, **named: Any) -> SearchedObject:
            asked.append(exposure)
            return resume(exposure, *given, **named)

        monkeypatch.setattr(searched_stage, "resumed", noted)
        searched_all = object_proposal(*(volume.repeat(4, 1, 1, 1) for volume in placed(0)))
        with torch.inference_mode():
            own = network.propose(features(patterns.counts.flatten(0, 1)), Sight.of(patterns).where.flatten(0, 1))
            shown = joined([searched_all.part(slice(0, 2)), own.part(slice(2, 3)), searched_all.part(slice(3, 4))])
            proposal = SearchedStage(network, Searcher(SearchConfig())).proposal(patterns)
            better = object_proposal(*(volume.repeat(4, 1, 1, 1) for volume in placed(2)))
            told = joined([better.part(slice(0, 2)), own.part(slice(2, 3)), better.part(slice(3, 4))])
            readings = network(patterns, proposal=shown), network(patterns, proposal=told)
        there = [(0, 0), (0, 1), (1, 1)]
        first = len(there) * len(READ_ON)
        assert [schedule for schedule, _ in starts] == [*READ_ON] * len(there) * READINGS
        for n, (_, density) in enumerate(starts):
            reading = readings[n // first]
            place = there[n % first // len(READ_ON)]
            support = reading.support_logits[place].sigmoid()
            seen = support > READ_INSIDE
            assert bool(seen.any())
            begun = centre_crop(density, HALF)
            assert torch.equal(begun.abs() > 0, seen)
            assert torch.allclose(begun[seen], torch.polar(support, reading.phasor[place].angle())[seen], atol=1e-4)
            np.testing.assert_array_equal(asked[n].counts, patterns.counts[place].numpy())
            assert (asked[n].mask is None) == bool(patterns.measured[place].all())
        inside = crystal_object(2).abs() > 0.1
        for number in (0, 1, 3):
            assert torch.allclose(proposal.phasor[number][inside].angle(), crystal_object(2)[inside].angle(), atol=1e-4)
        assert torch.equal(proposal.phasor[2], own.phasor[2])

    def test_what_was_searched_stays_where_nothing_better_comes(
        self, network: DefectNet, monkeypatch: pytest.MonkeyPatch, starts: list[tuple[str, Tensor]]
    ) -> None:
        found = replace(searched(crystal_object(0)), deviance=0.1)
        monkeypatch.setattr(searched_stage, "search", lambda *given, **named: found)
        with torch.inference_mode():
            proposal = SearchedStage(network, Searcher(SearchConfig())).proposal(crystals(1, 1))
        assert len(starts) == len(READ_ON)
        inside = crystal_object(0).abs() > 0.1
        assert torch.allclose(proposal.phasor[0][inside].angle(), crystal_object(0)[inside].angle(), atol=1e-4)

    def test_a_pattern_that_could_not_be_phased_can_be_from_the_reading(
        self, network: DefectNet, monkeypatch: pytest.MonkeyPatch, starts: list[tuple[str, Tensor]]
    ) -> None:
        def refused(*given: object, **named: object) -> SearchedObject:
            raise ValueError("mask must leave the Bragg peak measured")

        monkeypatch.setattr(searched_stage, "search", refused)
        with torch.inference_mode():
            proposal = SearchedStage(network, Searcher(SearchConfig())).proposal(crystals(1, 1))
        inside = crystal_object(2).abs() > 0.1
        assert torch.allclose(proposal.phasor[0][inside].angle(), crystal_object(2)[inside].angle(), atol=1e-4)


class TestKept:
    """What is found stays in a folder, by the pattern and the settings."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        made: list[int] = []

        def search(exposure: Exposure, config: SearchConfig, **given: object) -> SearchedObject:
            made.append(1)
            if exposure.mask is not None and given["support"] is None:
                raise ValueError("mask must leave the Bragg peak measured")
            return searched(crystal_object(len(made)))

        monkeypatch.setattr(searched_stage, "search", search)
        return made

    def propose(
        self, network: DefectNet, folder: Path, config: SearchConfig | None = None, **changes: Tensor
    ) -> Tensor:
        patterns = replace(crystals(1, 1), **changes)
        with torch.inference_mode():
            return SearchedStage(network, Searcher(config or SearchConfig(), folder)).proposal(patterns).phasor

    def test_the_second_time_it_is_read(self, network: DefectNet, tmp_path: Path, calls: list[int]) -> None:
        first = self.propose(network, tmp_path / "kept")
        assert torch.equal(self.propose(network, tmp_path / "kept"), first)
        assert len(calls) == 1
        assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".npz"]

    def test_other_counts_settings_and_masks_are_others(
        self, network: DefectNet, tmp_path: Path, calls: list[int]
    ) -> None:
        self.propose(network, tmp_path)
        self.propose(network, tmp_path, SearchConfig(seed=1))
        self.propose(network, tmp_path, counts=crystals(1, 1).counts + 1)
        gap = crystals(1, 1).measured.clone()
        gap[..., 0] = False
        self.propose(network, tmp_path, measured=gap)  # alone, and within the network's support
        assert len(calls) == 5
        self.propose(network, tmp_path, measured=gap)  # that it cannot be phased alone is kept too
        assert len(calls) == 5

    @pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", b"no archive"])
    def test_a_damaged_file_is_searched_anew(
        self, network: DefectNet, tmp_path: Path, calls: list[int], damage: bytes
    ) -> None:
        self.propose(network, tmp_path)
        (path,) = tmp_path.iterdir()
        path.write_bytes(damage)
        again = self.propose(network, tmp_path)
        assert len(calls) == 2
        assert torch.equal(self.propose(network, tmp_path), again)
        assert len(calls) == 2


def test_a_predictor_whose_model_searches_answers_from_what_is_found(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(checkpoint.network, first_stage="search", passes=1)
    predictor = Predictor.of(replace(checkpoint, network=config), "0" * 64, "cpu")
    exposure = Exposure(crystals(1, 1).counts[0, 0].numpy())

    def answer(density: Tensor) -> np.ndarray:
        monkeypatch.setattr(searched_stage, "search", lambda *given, **named: searched(density))
        return np.asarray(predictor.predict([exposure])[0].phase)

    assert np.abs(answer(crystal_object(0)) - answer(crystal_object(1))).max() > 1e-3
    np.testing.assert_array_equal(answer(crystal_object(0)), answer(crystal_object(0)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first_stage": "guess"}, "first_stage must be one of network, search, got 'guess'"),
        ({"first_stage": "search", "design": "unet"}, "design must be unrolled for first_stage search, got 'unet'"),
    ],
)
def test_a_first_stage_that_cannot_be_is_refused(config: NetworkConfig, change: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(config, **change)  # type: ignore[arg-type]


def test_windings_are_asked_of_the_object_that_the_network_was_shown(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(checkpoint.network, first_stage="search", passes=1)
    predictor = Predictor.of(replace(checkpoint, network=config), "0" * 64, "cpu")
    density = crystal_object(0)
    sure = predictor_module._answers

    def defects(output: NetworkOutput, calibration: Calibration) -> tuple[np.ndarray, ...]:
        return (np.array([[0.1, 0.9, 0, 0, 0, 0]]), *sure(output, calibration)[1:])

    monkeypatch.setattr(predictor_module, "_answers", defects)
    asked: list[np.ndarray] = []

    def vortices_of(objects: np.ndarray, voxel: np.ndarray) -> str:
        asked.append(objects)
        return "those"

    def object_lines(lines: object, density: np.ndarray, vortices: str, voxel: np.ndarray) -> tuple[TracedLine, ...]:
        assert density.shape == HALF
        assert vortices == "those"
        return (TracedLine(np.array([[0.0, 0, -1], [0, 0, 1]]), np.array([1.0, -2.0]), 0.9),)

    monkeypatch.setattr(searched_stage, "search", lambda *given, **named: searched(density))
    monkeypatch.setattr(predictor_module, "vortices_of", vortices_of)
    monkeypatch.setattr(predictor_module, "object_lines", object_lines)
    grid = QGrid([0, 0, 3.0], 0.004 * np.eye(3), WHOLE)
    pattern = Exposure((1e4 * intensity(density) / intensity(density).max()).numpy(), grid)
    (prediction,) = predictor.predict_crystals([[pattern, pattern]])
    assert [line.windings for line in prediction.lines] == [(1.0, -2.0)]
    (objects,) = asked
    assert objects.shape == (2, *HALF)
    inside = density.abs().numpy() > 0.5
    turned = objects[0][inside] * density.numpy()[inside].conj()
    away = np.abs(np.angle(turned * np.conj(turned.sum())))
    assert away.max() < 1e-4  # as it was found, whatever the reader's iterations make of it


@pytest.mark.parametrize(("favoured", "undetermined"), [(1, "unsure"), (4, ""), (0, "")])
def test_a_dislocation_without_a_line_is_undetermined(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, favoured: int, undetermined: str
) -> None:
    """An edge that no phase winds about contradicts itself; a fault, or no defect, does not."""
    config = replace(checkpoint.network, first_stage="search", passes=1)
    predictor = Predictor.of(replace(checkpoint, network=config), "0" * 64, "cpu")
    answers = predictor_module._answers
    sure = np.full((1, 6), 0.002)
    sure[0, favoured] = 0.99
    monkeypatch.setattr(predictor_module, "_answers", lambda *given: (sure, *answers(*given)[1:]))
    monkeypatch.setattr(predictor_module, "object_lines", lambda *given: ())
    monkeypatch.setattr(searched_stage, "search", lambda *given, **named: searched(crystal_object(0)))
    (prediction,) = predictor.predict([Exposure(crystals(1, 1).counts[0, 0].numpy())])
    assert prediction.undetermined == undetermined


def test_a_phase_is_the_mean_of_network_and_object_up_to_their_constants(network: DefectNet) -> None:
    """Whatever global phase the object has; without an object it is the network's."""
    ramp = 0.3 * torch.rand((1, 2, *HALF), generator=torch.Generator().manual_seed(0))
    said, shown = (torch.polar(torch.ones_like(ramp), phase) for phase in (0.5 + ramp, 2 * ramp - 2))
    with torch.inference_mode():
        output = replace(network(crystals(1, 2)), phasor=said, objects=3 * shown)
    phase = predictor_module._phasors(output).angle() - 1.5 * ramp
    assert float((phase - phase.mean((-3, -2, -1), keepdim=True)).abs().max()) < 0.02
    assert predictor_module._phasors(replace(output, objects=None)) is said
