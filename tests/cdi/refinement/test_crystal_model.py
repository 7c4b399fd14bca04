import numpy as np
import pytest
import torch
from made_crystals import LINE, SHAPE, density, exposure, support

from cdi.refinement.crystal_model import CrystalModel, ModelLine, Modes
from cdi.refinement.fit import expected, fit
from cdi.refinement.likelihood import Likelihood, Observed
from cdi.refinement.line_phase import Track, strain_phases, winding_phase
from cdi.refinement.object_model import Box, FreeObject


def likelihood_of(line: torch.Tensor | None) -> Likelihood:
    return Likelihood(Observed.of([exposure(density(line))], 0.1, torch.Generator().manual_seed(2)))


def circuit(centre: torch.Tensor, along: torch.Tensor, radius: float) -> torch.Tensor:
    """Points on a right-handed circle about ``along``."""
    from cdi.refinement.line_phase import perpendicular

    first, second = perpendicular(along)
    angle = torch.linspace(0, 2 * torch.pi, 181, dtype=torch.float64)[:, None]
    return centre + radius * (angle.cos() * first + angle.sin() * second)


def turns(track: Track, points: torch.Tensor) -> float:
    phase = winding_phase(track, points)
    steps = torch.remainder(phase.diff() + torch.pi, 2 * torch.pi) - torch.pi
    return float(steps.sum() / (2 * torch.pi))


def test_phase_winds_once_about_straight_bent_and_closed_lines() -> None:
    straight = Track(LINE)
    assert turns(straight, circuit(LINE.mean(0), LINE[1] - LINE[0], 1.3)) == pytest.approx(1)
    bent = Track(torch.tensor([[0.0, 0, -5], [0.5, 0, -1], [1.0, 0.6, 2], [0.2, 1, 5]], dtype=torch.float64))
    middle, along = (bent.corners[1] + bent.corners[2]) / 2, bent.corners[2] - bent.corners[1]
    assert turns(bent, circuit(middle, along, 0.8)) == pytest.approx(1)
    ring = Track(torch.tensor([[3.0, 0, 0], [0, 3, 0], [-3, 0, 0], [0, -3, 0]], dtype=torch.float64), closed=True)
    side = (ring.corners[0] + ring.corners[1]) / 2
    assert turns(ring, circuit(side, ring.corners[1] - ring.corners[0], 0.7)) == pytest.approx(1)
    outside = torch.tensor([8.0, 0, 0], dtype=torch.float64)
    assert turns(ring, circuit(outside, torch.tensor([0.0, 1, 0]).double(), 1.0)) == pytest.approx(0, abs=1e-9)


def test_phase_of_a_line_is_that_of_the_polar_angle_but_for_smooth_strain() -> None:
    """Fivefold nearer to the line the difference to θ changes fivefold less: nothing of it winds."""
    track = Track(torch.tensor([[0.0, 0, -4], [0, 0, 4]], dtype=torch.float64))
    ring = circuit(torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, 0, 1]).double(), 1.0)

    def unlike(radius: float) -> float:
        at = radius * ring
        angle = torch.atan2(at[:, 1], at[:, 0])
        # The closing lies beyond the farthest point: the same one for both radii.
        phase = winding_phase(track, torch.cat([at, torch.full((1, 3), 6.0, dtype=torch.float64)]))[:-1]
        gap = torch.polar(torch.ones_like(angle), phase - angle)
        return float((gap / gap.mean().sgn()).angle().abs().max())

    assert 4 * unlike(0.2) < unlike(1.0) < 0.3


def test_strain_terms_follow_the_polar_coordinates() -> None:
    at = torch.tensor([[2.0, 1.0, 0.3]], dtype=torch.float64)
    track = Track(torch.tensor([[0.0, 0, -4], [0, 0, 4]], dtype=torch.float64))
    logarithm, cosine, sine = strain_phases(track, at)[:, 0]
    assert float(logarithm) == pytest.approx(np.log(5.25))
    assert float(cosine**2 + sine**2) == pytest.approx((5 / 5.25) ** 2)


def test_derivatives_are_those_of_finite_differences() -> None:
    likelihood = likelihood_of(LINE)
    box = Box.around(support(), SHAPE)
    # Beside the true line, so that no derivative vanishes.
    line = ModelLine(Track(LINE + torch.tensor([0.31, 0.17, 0.0], dtype=torch.float64)), (1,))
    model = CrystalModel(box, Modes.on(box, 2), [line], box.cut(density(LINE)))
    widths = torch.full((1, 3), 0.4, dtype=torch.float64)

    def loss() -> torch.Tensor:
        return likelihood.deviance(expected(model, likelihood, widths))

    loss().backward()
    for number in model.parameters():
        assert number.grad is not None
        place = int(number.grad.abs().flatten().argmax())
        step = 1e-5
        values = []
        with torch.no_grad():
            for sign in (1, -1):
                number.view(-1)[place] += sign * step
                values.append(float(loss()))
                number.view(-1)[place] -= sign * step
        assert float(number.grad.view(-1)[place]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


def test_a_line_two_voxels_away_is_found_back() -> None:
    likelihood = likelihood_of(LINE)
    box = Box.around(support(), SHAPE)
    away = LINE + torch.tensor([1.6, -1.2, 0.0], dtype=torch.float64)
    model = CrystalModel(box, Modes.on(box, 3), [ModelLine(Track(away), (1,))], box.cut(density(away)))
    with torch.no_grad():
        counts = expected(model, likelihood, torch.full((1, 3), 0.3, dtype=torch.float64))
        before = float(likelihood.free_terms(counts).mean())
    fitted = fit(model, likelihood, 100)
    (track,) = model.tracks()
    across = (track.corners.detach() - LINE)[:, :2].norm(dim=1)
    assert float(across.max()) < 0.1
    assert fitted.free_deviance < min(1.5, 0.1 * before)


def test_free_object_fits_a_pattern_to_its_noise() -> None:
    likelihood = likelihood_of(LINE)
    box = Box.around(support(), SHAPE)
    noise = torch.randn(1, *SHAPE, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    start = box.cut(density(LINE) + 0.1 * torch.view_as_complex(noise))
    fitted = fit(FreeObject(box, start), likelihood, 60)
    assert fitted.free_deviance < 1.5


class Bounded(FreeObject):
    """Is no number where it has moved as far as a first step does."""

    def density(self) -> torch.Tensor:
        moved = sum((now - begun).abs().sum() for now, begun in zip(self.parameters(), self.begun, strict=True))
        return super().density() * torch.where(moved.detach() > 0.1, torch.nan, 1.0)


def test_a_fit_comes_back_from_where_the_model_is_no_number() -> None:
    likelihood, box = likelihood_of(LINE), Box.around(support(), SHAPE)
    noise = torch.randn(1, *SHAPE, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = Bounded(box, box.cut(density(LINE) + 0.1 * torch.view_as_complex(noise)))
    model.begun = [number.detach().clone() for number in model.parameters()]
    begun = [number.clone() for number in model.begun]
    fit(model, likelihood, 20)
    assert any((now - before).abs().amax() > 0 for now, before in zip(model.parameters(), begun, strict=True))
    assert all(number.isfinite().all() for number in model.parameters())


def test_supports_that_cannot_be_are_told() -> None:
    with pytest.raises(ValueError, match="support must fill at most half of the array"):
        Box.around(torch.ones(SHAPE, dtype=torch.bool), SHAPE)
    with pytest.raises(ValueError, match="support must hold at least one voxel"):
        Box.around(torch.zeros(SHAPE, dtype=torch.bool), SHAPE)
    with pytest.raises(ValueError, match="support must have the shape of the patterns"):
        Box.around(torch.ones((4, 4, 4), dtype=torch.bool), SHAPE)


def test_lines_that_cannot_be_are_told() -> None:
    with pytest.raises(ValueError, match="corners must have shape"):
        Track(torch.zeros((1, 3)))
    with pytest.raises(ValueError, match="corners must be finite and differ"):
        Track(torch.zeros((2, 3)))
    box = Box.around(support(), SHAPE)
    with pytest.raises(ValueError, match="windings must be one a reflection"):
        CrystalModel(box, Modes.on(box, 1), [ModelLine(Track(LINE), (1, 1))], box.cut(density(None)))
