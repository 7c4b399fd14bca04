"""Known crystals are found again from their patterns alone, within what intensity hides."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from known_objects import SHAPE, amplitude, crystal, exposure, grid_of, overlap

from cdi.fourier import amplitude_from_object, object_from_amplitude, origin_to_centre, origin_to_corner
from cdi.pattern import Exposure
from cdi.retrieval.chosen_runs import chosen_starts
from cdi.retrieval.coherence_kernel import blurred_intensity, gaussian_kernel, kernel_widths
from cdi.retrieval.config import CoherenceFit, RetrievalConfig, ShrinkWrap
from cdi.retrieval.phase_retrieval import retrieve
from cdi.retrieval.retrieval import Retrieval

QUICK = RetrievalConfig(schedule="2x(HIO 60, ER 15), RAAR 30, ER 20", starts=4, best=2)
SHORT = RetrievalConfig(schedule="HIO 20, ER 5", starts=3, best=2, shrink_wrap=ShrinkWrap(interval=10))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def winding(density: np.ndarray, radius: int) -> float:
    """Greatest |turns| of the phase around squares of ``radius`` voxels about any voxel within the object."""
    phase, modulus = np.angle(density), np.abs(density)
    inside = modulus > 0.3 * modulus.max()
    ring = [(-radius, j) for j in range(-radius, radius)] + [(i, radius) for i in range(-radius, radius)]
    ring += [(radius, -j) for j in range(-radius, radius)] + [(-i, -radius) for i in range(-radius, radius)]
    most = 0.0
    for plane in ((0, 1), (0, 2), (1, 2)):
        around = [np.roll(phase, tuple(-s for s in step), plane) for step in ring]
        steps = [
            np.angle(np.exp(1j * (after - before)))
            for before, after in zip(around, [*around[1:], around[0]], strict=True)
        ]
        safe = np.all([np.roll(inside, tuple(-s for s in step), plane) for step in ring], axis=0)
        most = max(most, float(np.abs(np.sum(steps, axis=0) / (2 * np.pi))[safe].max(initial=0)))
    return most


@pytest.mark.parametrize("dislocated", [False, True])
@pytest.mark.parametrize("seed", [None, 5])
def test_a_crystal_is_found_within_two_per_cent(dislocated: bool, seed: int | None) -> None:
    """Overlap ≥ 0.98 with the true density, noise-free and counted; its pattern misses Σ I by less than 1 %."""
    field = amplitude(dislocated=dislocated)
    found = retrieve([exposure(field, seed)], QUICK, generator=generator())
    value = overlap(found.density[0], field)
    print(f"overlap {value:.4f}, misfit {found.error.min():.5f}, mode {found.mode_weight[0]:.4f}")
    assert value > 0.98
    assert found.error[0, found.kept[0, 0]] < 0.01
    assert found.mode_weight[0] > 0.97
    modelled = amplitude_from_object(torch.as_tensor(found.density[0])).abs().square().sum()
    assert float(modelled / field.abs().square().sum()) == pytest.approx(1, abs=0.03)


def test_the_vortex_of_a_dislocation_is_found_and_none_in_a_perfect_crystal() -> None:
    """The phase winds once around the line, g·b = 1, and nowhere without one."""
    for dislocated, turns in ((True, 1.0), (False, 0.0)):
        field = amplitude(dislocated=dislocated)
        found = retrieve([exposure(field, 7)], QUICK, generator=generator())
        assert winding(found.density[0], 2) == pytest.approx(turns, abs=1e-6)
        assert winding(object_from_amplitude(field).numpy(), 2) == pytest.approx(turns, abs=1e-6)


def test_what_lies_on_unmeasured_voxels_does_not_matter() -> None:
    """A gap and dead pixels, whatever they hold, NaN and negatives included: the same answer, and a good one."""
    field = amplitude(dislocated=True)
    mask = np.random.default_rng(1).random(SHAPE) > 0.01
    mask[:, :, 19:21] = False
    mask[11:16, 14:19, 13:18] = True
    answers = []
    for value in (0.0, np.nan, -5.0, 1e7):
        counts = exposure(field, 2).counts.copy()
        counts[~mask] = value
        answers.append(retrieve([Exposure(counts, mask=mask)], SHORT, generator=generator()).density)
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])
    assert overlap(retrieve([exposure(field, 2, mask)], QUICK, generator=generator()).density[0], field) > 0.97


def same(one: Retrieval, other: Retrieval, row: int) -> None:
    np.testing.assert_allclose(other.density[0], one.density[row], rtol=0, atol=1e-3 * np.abs(one.density[row]).max())
    np.testing.assert_allclose(other.free_deviance[0], one.free_deviance[row], rtol=2e-2)
    np.testing.assert_array_equal(other.kept[0], one.kept[row])


def test_a_batch_is_its_patterns_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two crystals in one call, all runs at once, against each alone and run by run; to rounding."""
    patterns = [exposure(amplitude(), 3), exposure(amplitude(dislocated=True), 4)]
    config = replace(SHORT, precision="double")
    monkeypatch.setattr("cdi.retrieval.batches.VOXELS_AT_ONCE", {"cpu": 2**24})
    batch = retrieve(patterns, config, generator=generator())
    monkeypatch.setattr("cdi.retrieval.batches.VOXELS_AT_ONCE", {"cpu": 1})
    together = retrieve(patterns, config, generator=generator())
    np.testing.assert_allclose(together.density, batch.density, rtol=0, atol=1e-4 * np.abs(batch.density).max())
    for row, pattern in enumerate(patterns):
        alone = retrieve([pattern], config, generator=generator())
        # The held-out voxels keep clear of each pattern's own peak, which is the same here.
        same(batch, alone, row)


def test_a_seed_repeats_and_another_differs() -> None:
    pattern = exposure(amplitude(), 3)
    first, again = (retrieve([pattern], SHORT, generator=generator(1)) for _ in range(2))
    np.testing.assert_array_equal(first.density, again.density)
    assert not np.allclose(first.density, retrieve([pattern], SHORT, generator=generator(2)).density)


def test_single_and_double_precision_agree() -> None:
    """From the same start to the same object."""
    field = amplitude()
    truth = object_from_amplitude(field)[None]
    support = truth[0].abs() > 0.1 * truth.abs().max()
    config = RetrievalConfig(schedule="ER 20", starts=1, best=1, shrink_wrap=ShrinkWrap(interval=0))
    found = [
        retrieve(
            [exposure(field)], replace(config, precision=name), generator=generator(), support=support, density=truth
        )
        for name in ("single", "double")
    ]
    scale = np.abs(found[1].density).max()
    np.testing.assert_allclose(found[0].density, found[1].density, rtol=0, atol=1e-3 * scale)


def test_the_free_likelihood_prefers_the_right_support() -> None:
    """Too tight misses the crystal, too loose fits noise: both say less of voxels that they never saw."""
    field = amplitude(ratio=3.6)
    level = object_from_amplitude(field).abs()
    level = level / level.max()
    loose = torch.nn.functional.max_pool3d((level > 0.15).double()[None, None], 5, 1, 2)[0, 0] > 0
    config = RetrievalConfig(
        schedule="HIO 60, ER 40", starts=2, best=1, free_fraction=0.05, shrink_wrap=ShrinkWrap(interval=0)
    )
    deviance = {}
    for name, support in {"tight": level > 0.5, "right": level > 0.1, "loose": loose}.items():
        deviance[name] = retrieve(
            [exposure(0.1 * field, 6)], config, generator=generator(), support=support
        ).free_deviance.min()
    print({name: round(float(value), 2) for name, value in deviance.items()})
    assert deviance["right"] < 0.95 * deviance["loose"]
    assert deviance["right"] < 0.7 * deviance["tight"]


def test_the_runs_kept_are_the_best_of_those_that_went_furthest() -> None:
    deviance = torch.tensor([3.0, 1.0, 2.0, 0.1])
    assert chosen_starts(deviance, torch.tensor([9, 9, 9, 4]), 3).tolist() == [1, 2, 0]
    assert chosen_starts(deviance, torch.tensor([9, 9, 9, 9]), 2).tolist() == [3, 1]
    assert chosen_starts(deviance, torch.tensor([9, 4, 4, 4]), 3).tolist() == [0]


@pytest.mark.parametrize("form", ["richardson-lucy", "gaussian"])
def test_the_coherence_of_a_blurred_pattern_is_found(form: str) -> None:
    """Fitting the blur finds its width to a tenth and an object nearer to the truth than without."""
    field, width = amplitude(ratio=3.2), 0.55
    sigma = torch.full((3,), width, dtype=torch.float64)
    kernel = gaussian_kernel(sigma, SHAPE, 5)
    corner = blurred_intensity(origin_to_corner(field.abs().square()), kernel)
    counts = origin_to_centre(corner).numpy().astype(np.float32)
    with_fit = replace(QUICK, starts=2, best=1, coherence=CoherenceFit(form))
    found = retrieve([Exposure(counts)], with_fit, generator=generator())
    plain = retrieve([Exposure(counts)], replace(QUICK, starts=2, best=1), generator=generator())
    assert found.kernel is not None
    widths = kernel_widths(origin_to_corner(torch.as_tensor(found.kernel[0])))
    print(form, widths.tolist(), overlap(found.density[0], field), overlap(plain.density[0], field))
    torch.testing.assert_close(widths, sigma, rtol=0.1, atol=0)
    assert 1 - overlap(found.density[0], field) < 0.6 * (1 - overlap(plain.density[0], field))
    assert found.free_deviance.min() < 0.4 * plain.free_deviance.min()
    assert plain.kernel is None


@pytest.mark.slow
def test_a_shared_support_helps_a_weak_reflection_beside_a_strong_one() -> None:
    """90 photons in the brightest voxel beside 100 000: the misfit to the weak density falls, over three seeds."""
    fields = [scale * amplitude(lopsided=True, reflection=hkl) for scale, hkl in ((1.0, (1, 1, 1)), (0.03, (2, 0, 0)))]
    patterns = [exposure(field, seed) for seed, field in enumerate(fields)]
    misfits = {
        shared: [
            1 - overlap(retrieve(patterns, config, generator=generator(seed)).density[1], fields[1])
            for config in [replace(QUICK, best=1, shared_support=shared)]
            for seed in (3, 4, 5)
        ]
        for shared in (False, True)
    }
    print("misfit of the weak reflection alone and with a shared support", misfits)
    assert np.mean(misfits[True]) < 0.8 * np.mean(misfits[False])


@pytest.mark.parametrize("join", ["mean", "union"])
def test_reflections_with_a_shared_support_lie_in_one_place(join: str) -> None:
    """Their moduli overlap without any moving: translation and twin are common to both."""
    fields = [amplitude(lopsided=True, reflection=hkl) for hkl in ((1, 1, 1), (2, 0, 0))]
    config = replace(QUICK, shared_support=True, join=join)
    found = retrieve([exposure(field, 8) for field in fields], config, generator=generator(3))
    first, second = np.abs(found.density)
    assert np.vdot(first, second) / np.linalg.norm(first) / np.linalg.norm(second) > 0.97
    np.testing.assert_array_equal(found.kept[0], found.kept[1])


def test_a_good_proposal_needs_one_start() -> None:
    """A density with its support is refined, and kept where it is."""
    field = amplitude(dislocated=True)
    truth = object_from_amplitude(field)
    rough = truth * torch.exp(0.5j * torch.randn(SHAPE, generator=generator(), dtype=torch.float64))
    support = truth.abs() > 0.15 * truth.abs().max()
    config = RetrievalConfig(schedule="ER 20", starts=1, best=1, shrink_wrap=ShrinkWrap(interval=10))
    found = retrieve([exposure(field, 1)], config, generator=generator(), support=support, density=rough[None])
    assert overlap(found.density[0], field) > 0.99 > overlap(rough.numpy(), field)


def test_runs_can_be_stopped_and_the_finished_ones_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdi.retrieval.batches.VOXELS_AT_ONCE", {"cpu": 1})
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 40

    done: list[int] = []
    found = retrieve([exposure(amplitude(), 1)], SHORT, generator=generator(), stop=stop, report=done.append)
    assert sum(done) == 40
    assert found.iterations.tolist() == [25, 15, 0]
    assert found.kept.tolist() == [[0]]
    assert np.isfinite(found.density).all()


def bad(counts: np.ndarray, mask: np.ndarray | None = None) -> list[Exposure]:
    return [Exposure(counts.astype(np.float32), mask=mask)]


@pytest.mark.parametrize(("half", "refused"), [(2, True), (3, True), (0, False)])
def test_a_peak_that_a_mask_hides_whole_is_refused(half: int, refused: bool) -> None:
    """The hole ends within the dark ring around the peak: no bright voxel has a hidden neighbour, fringes are left."""
    box = torch.zeros(SHAPE)
    box[9:18, 12:21, 11:20] = 1
    counts = amplitude_from_object(box + 0j).abs().square().numpy()
    place = np.unravel_index(int(counts.argmax()), SHAPE)
    mask = np.ones(SHAPE, bool)
    mask[tuple(slice(p - half, p + half + 1) for p in place)] = False
    pattern = bad(1e4 * counts / counts.max(), mask)
    if not refused:
        assert retrieve(pattern, SHORT, generator=generator()).density.any()
        return
    with pytest.raises(ValueError, match="mask must leave the Bragg peak measured, got no measured voxel around"):
        retrieve(pattern, SHORT, generator=generator())


def test_every_pattern_that_cannot_be_phased_is_one_line() -> None:
    field = amplitude()
    counts = exposure(field).counts
    beamstop = np.ones(SHAPE, bool)
    beamstop[12:15, 15:18, 14:17] = False
    coarse = amplitude_from_object(torch.nn.functional.pad(torch.ones(20, 20, 20), (5, 5, 6, 6, 3, 4)) + 0j).abs()
    inside = np.zeros(SHAPE, bool)
    inside[4:20, 10:20, 10:20] = True
    small = inside & (np.arange(27) > 9)[:, None, None]
    calls = [
        ("exposures must hold at least one pattern", lambda: retrieve([], SHORT, generator=generator())),
        (
            "exposures must have one shape",
            lambda: retrieve([exposure(field), Exposure(counts[1:])], SHORT, generator=generator()),
        ),
        (
            "mask must leave the Bragg peak measured, got",
            lambda: retrieve(bad(counts, beamstop), SHORT, generator=generator()),
        ),
        (
            "support must fill at most half of the array along every axis .oversampling 2.",
            lambda: retrieve(bad(coarse.square().numpy()), SHORT, generator=generator()),
        ),
        (
            r"support must fill at most half of the array along every axis, got \[16, 10, 10\] of \[27, 32, 30\]",
            lambda: retrieve(bad(counts), SHORT, generator=generator(), support=inside),
        ),
        (
            "support must hold at least one voxel",
            lambda: retrieve(bad(counts), SHORT, generator=generator(), support=np.zeros(SHAPE, bool)),
        ),
        (
            "support must have the shape of the patterns",
            lambda: retrieve(bad(counts), SHORT, generator=generator(), support=np.ones((8, 8, 8), bool)),
        ),
        (
            "density must come with a support",
            lambda: retrieve(bad(counts), SHORT, generator=generator(), density=torch.ones(1, *SHAPE)),
        ),
        (
            "density must have the shape of the patterns",
            lambda: retrieve(
                bad(counts), SHORT, generator=generator(), density=torch.ones(SHAPE), support=small
            ),
        ),
        (
            "exposures with a shared support must share their real-space voxels",
            lambda: retrieve(
                [Exposure(counts, grid_of(crystal(), (1, 1, 1), ratio)) for ratio in (2.8, 2.9)],
                replace(SHORT, shared_support=True),
                generator=generator(),
            ),
        ),
    ]  # fmt: skip
    for line, call in calls:
        with pytest.raises(ValueError, match=line):
            call()
