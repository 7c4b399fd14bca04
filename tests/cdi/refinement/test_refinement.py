import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from made_crystals import LINE, density, exposure, support

from cdi.ambiguity import inverted, twin
from cdi.refinement.config import RefinementConfig
from cdi.refinement.crystal_model import ModelLine
from cdi.refinement.hypotheses import Difference, alternatives, hypothesis_name, line_set, new_lines
from cdi.refinement.line_phase import Track
from cdi.refinement.refinement import Refinement, refine
from cdi.refinement.report import to_json
from cdi.refinement.start import StartObject, model_line, wound_lines

CONFIG = RefinementConfig(order=3, iterations=60, free_iterations=20, uncertainty=False)


@cache
def found_line() -> Refinement:
    """Of a pattern of a crystal with a line, from that crystal."""
    return refined(LINE, LINE)


def refined(
    truth: torch.Tensor | None, start: torch.Tensor | None, config: RefinementConfig = CONFIG, device: str = "cpu",
    **more: ModelLine,
) -> Refinement:  # fmt: skip
    begun = StartObject("made", density(start), support(), tuple(more.values()))
    return refine(
        [exposure(density(truth))], [begun], config, generator=torch.Generator().manual_seed(4),
        windings=[(1,), (-1,)], device=device,
    )  # fmt: skip


def test_no_dislocation_is_rejected_where_there_is_one() -> None:
    found = found_line()
    assert found.best.hypothesis.lines
    assert found.no_line is not None
    assert found.no_line.difference.rejects
    assert found.defect_probability > 0.99
    (line,) = found.lines
    assert line.windings == (1,)
    assert float((line.corners - LINE)[:, :2].norm(dim=1).max()) < 1.0
    reversed_ = next(each for each in found.judged if "winding -1" in each.hypothesis.name)
    assert reversed_.difference.rejects


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch.cuda.is_available() is False")
@pytest.mark.parametrize("ensemble", [0, 2])
def test_a_gpu_finds_what_a_processor_finds(ensemble: int) -> None:
    config = replace(CONFIG, iterations=20, uncertainty=True, ensemble=ensemble, outline=True)
    here, there = (refined(LINE, LINE, config, device) for device in ("cpu", "cuda"))
    assert [each.hypothesis.name for each in there.judged] == [each.hypothesis.name for each in here.judged]
    assert there.object_fit.density.device.type == "cpu"
    np.testing.assert_allclose(there.best.fitted.free_deviance, here.best.fitted.free_deviance, rtol=0.02)
    ((line, same),) = zip(there.lines, here.lines, strict=True)
    assert float((line.corners - same.corners).norm(dim=1).max()) < 0.1
    assert line.error == pytest.approx(same.error, rel=0.2)
    assert to_json(there)["outline"] is not None


def ended_after(fits: int) -> tuple[Refinement, list[tuple[str, int]]]:
    """What is known when Ctrl-C comes while the next fit runs, and what was said of each fit."""
    said: list[tuple[str, int]] = []
    begun = StartObject("made", density(LINE), support())
    config = replace(CONFIG, iterations=20)
    found = refine(
        [exposure(density(LINE))], [begun], config, generator=torch.Generator().manual_seed(4), windings=[(1,), (-1,)],
        begin=lambda name, more: said.append((name, more)), stop=lambda: len(said) > fits,
    )  # fmt: skip
    return found, said


def test_an_end_in_the_middle_keeps_what_is_whole_and_judges_nothing_else() -> None:
    """After the start's own fit, while that without a line runs: no rejection may come of a fit that was cut short."""
    found, said = ended_after(1)
    assert not found.whole
    assert [each.hypothesis.name for each in found.judged] == ["lines"]
    assert found.no_line is None
    assert [line.without for line in found.lines] == [None]
    assert found.object_kind == "crystal"
    assert torch.equal(found.object_fit.density, found.best.fitted.density)
    told = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert (told["whole"], told["defect_probability"], told["no_dislocation"]) == (False, None, None)
    assert told["lines"][0]["confidence"] is None
    # The free object follows whatever is found; nothing is begun after the end.
    assert said[0] == ("made: 1 line", 1)
    assert [name for name, _ in said] == ["made: 1 line", "made: 0 lines"]


def test_no_dislocation_is_not_rejected_in_a_strained_crystal() -> None:
    """Nor is a line taken that somebody suggests."""
    found = refined(None, None, suggested=ModelLine(Track(LINE), (1,)))
    assert found.best.hypothesis.name == "none"
    assert found.no_line is not None
    assert not found.no_line.difference.rejects
    assert not found.lines
    assert found.defect_probability < 0.05


def test_a_line_that_the_start_misses_is_taken_where_it_is_suggested() -> None:
    """The start's phases wind about nothing, the pattern's do."""
    found = refined(LINE, None, suggested=ModelLine(Track(LINE), (1,)))
    assert len(found.lines) == 1
    assert found.no_line is not None
    assert found.no_line.difference.rejects


def test_a_line_of_the_start_that_the_pattern_does_not_have_is_dropped() -> None:
    """What is told of the best is told of it alone: its lines, its object, its blur."""
    found = refined(None, LINE)
    assert found.best.hypothesis.name == "none"
    assert found.lines == ()
    assert found.best.fitted.free_deviance == min(each.fitted.free_deviance for each in found.judged)
    assert found.judged[1].difference.rejects
    assert found.judged[1].hypothesis.name.endswith("line more")
    assert wound_lines(found.object_fit.density, found.support) == ()


def test_a_line_of_another_start_is_laid_over_the_best_one() -> None:
    """It is named in the frame of the twin, two voxels away; neither start winds about anything."""
    shift = torch.tensor([2.0, -1.0, 1.0], dtype=torch.float64)
    noise = torch.randn(2, *support().shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    blurred_ = density(None) * (1 + 0.4 * torch.complex(*noise)[None])
    steps = tuple(int(n) for n in shift)
    named = StartObject(
        "named", torch.roll(twin(blurred_), steps, (1, 2, 3)), torch.roll(inverted(support()), steps, (0, 1, 2)),
        (ModelLine(Track(-LINE.flip(0) + shift), (-1,)),),
    )  # fmt: skip
    begun = [named, StartObject("plain", density(None), support())]
    found = refine([exposure(density(LINE))], begun, CONFIG, generator=torch.Generator().manual_seed(4))
    assert found.starts[0][0] == "plain"
    (line,) = found.lines
    # The pattern does not tell a crystal from its twin; with this support, which is lopsided, the start does.
    assert line.windings == (1,)
    assert float((line.corners - LINE)[:, :2].norm(dim=1).max()) < 1.0
    sets = [line_set(each.hypothesis.lines) for each in found.judged if "from" not in each.hypothesis.name]
    assert len(sets) == len(set(sets))


def test_report_is_json_in_voxels_and_in_angstrom() -> None:
    found = found_line()
    told, scaled = to_json(found), to_json(found, np.diag([10.0, 12.0, 11.0]))
    json.dumps(told)
    assert told["unit"] == "voxel"
    assert scaled["unit"] == "angstrom"
    assert told["no_dislocation"]["rejected"]
    assert told["object"]["blur_voxels"] == found.object_fit.widths.numpy().round(3).tolist()
    assert told["object"]["free_deviance"] == pytest.approx(found.object_fit.free_deviance, abs=1e-4)
    assert np.allclose(
        np.array(told["lines"][0]["points"]) * [10, 12, 11], scaled["lines"][0]["points"], atol=0.1
    )  # fmt: skip


def test_difference_is_judged_by_the_scatter_of_its_voxels() -> None:
    better = torch.zeros(400, dtype=torch.float64)
    steady, single = better + 0.1, better.clone()
    single[7] = 40
    assert Difference.between(steady, better).rejects
    assert not Difference.between(single, better).rejects
    assert Difference.between(better, better).probability == 0.5


def test_alternatives_leave_lines_out_and_wind_otherwise() -> None:
    lines = (ModelLine(Track(LINE), (1,)), ModelLine(Track(LINE + 3), (2,)))
    asked = list(alternatives(lines, [(1,), (-1,), (2,), (0,)], 1))
    assert [hypothesis_name(each, lines) for each in asked] == [
        "none", "without line 1", "without line 2", "line 1 of winding +2", "line 2 of winding +1",
    ]  # fmt: skip
    assert list(alternatives((), [(1,)], 1)) == []
    assert new_lines(lines, lines[:1]) == [lines[1]]


def test_a_hypothesis_is_named_by_what_tells_it_from_the_best() -> None:
    one, two, three = (ModelLine(Track(LINE + n), (1,)) for n in range(3))
    assert hypothesis_name((one, two), (one, two)) == "lines"
    assert hypothesis_name((one, two), (one,)) == "one line more"
    assert hypothesis_name((two, three), (one,)) == "without line 1, 2 lines more"
    assert hypothesis_name((), ()) == "none"
    assert line_set((one, two)) == line_set((two, one))


def test_a_loop_is_compared_with_all_of_its_sides() -> None:
    """The side from its last corner to its first is a part of it."""
    ring = Track(torch.tensor([[4.0, 0, 0], [0, 4, 0], [-4, 0, 0], [0, -4, 0]]).double(), closed=True)
    side = ModelLine(Track(torch.tensor([[0.5, -3.5, 0], [3.5, -0.5, 0]]).double()), (1,))
    assert new_lines([side], [ModelLine(ring, (1,))]) == []


def test_lines_of_a_start_are_those_that_its_phase_winds_about() -> None:
    (line,) = wound_lines(density(LINE), support())
    assert line.windings == (1,)
    along = line.track.corners[-1] - line.track.corners[0]
    assert float(along @ (LINE[1] - LINE[0])) > 0
    assert wound_lines(density(None), support()) == ()


def test_polylines_keep_few_corners() -> None:
    straight = np.linspace([0.0, 0, 0], [6.0, 0.5, 0], 20)
    assert len(model_line(straight, [1]).track.corners) == 2
    angle = np.linspace(0, np.pi, 30)
    bow = np.stack([5 * np.cos(angle), 5 * np.sin(angle), 0 * angle], 1)
    assert len(model_line(bow, [1]).track.corners) == 4
    ring = np.stack([np.cos(2 * angle), np.sin(2 * angle), 0 * angle], 1) * 4
    ring[-1] = ring[0]
    assert model_line(ring, [1]).track.closed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": 0.5}, "order must lie in"),
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"free_fraction": 0.5}, "free_fraction must lie in"),
        ({"extra_lines": -1}, "extra_lines must be at least 0"),
        ({"ensemble": 1}, "ensemble must be 0, or 2 refits or more"),
    ],
)
def test_settings_out_of_range_are_told(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RefinementConfig(**change)  # type: ignore[arg-type]


def test_starts_that_cannot_be_are_told() -> None:
    with pytest.raises(ValueError, match="starts must hold at least one"):
        refine([exposure(density(None))], [], CONFIG, generator=torch.Generator())
    full = StartObject("made", density(None), torch.ones_like(support()))
    with pytest.raises(ValueError, match="support must fill at most half of the array"):
        refine([exposure(density(None))], [full], CONFIG, generator=torch.Generator())
    with pytest.raises(ValueError, match="density must be complex"):
        StartObject("made", support()[None], support())
    with pytest.raises(ValueError, match="support must be bool"):
        StartObject("made", density(None), support().double())
    with pytest.raises(ValueError, match="density must be finite"):
        StartObject("made", density(None) * torch.nan, support())
