"""The angular average that the classifier reads."""

import numpy as np
import torch

from models.preprocess import features
from models.radial import RADIAL_FEATURES, SHELLS, eigenvalues, radial_profile


def counts(seed: int = 0) -> torch.Tensor:
    axes = [np.arange(n) - n // 2 for n in (16, 24, 16)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    peak = 1e4 * np.exp(-(x**2 / 6 + y**2 / 15 + z**2 / 9))
    return torch.as_tensor(np.random.default_rng(seed).poisson(peak)[None], dtype=torch.float32)


def test_the_profile_forgets_directions() -> None:
    """Inverting the pattern through the centre moves it by less than the noise of its outermost shells."""
    pattern = counts()
    inverted = torch.roll(pattern.flip((1, 2, 3)), (1, 1, 1), (1, 2, 3))
    found, mirrored = radial_profile(features(pattern)), radial_profile(features(inverted))
    torch.testing.assert_close(found[:, : SHELLS // 2], mirrored[:, : SHELLS // 2], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[:, -3:], mirrored[:, -3:], atol=1e-2, rtol=1e-2)


def test_the_profile_forgets_the_exposure_time() -> None:
    """A hundred times the photons leave shape and widths as they were."""
    found, brighter = (radial_profile(features(p)) for p in (counts(), 100 * counts()))
    torch.testing.assert_close(found[:, : 2 * SHELLS], brighter[:, : 2 * SHELLS])
    torch.testing.assert_close(found[:, -3:], brighter[:, -3:])


def test_the_widths_are_those_of_the_peak() -> None:
    """Second moments of a Gaussian peak are σ² along its axes, ascending."""
    widths = radial_profile(features(counts()))[0, -3:].exp()
    torch.testing.assert_close(widths, torch.tensor([3.0, 4.5, 7.5]), atol=0.2, rtol=0.05)


def test_a_single_photon_gives_finite_numbers() -> None:
    """The emptiest exposure that is accepted."""
    lonely = torch.zeros(1, 16, 16, 16)
    lonely[0, 3, 4, 5] = 1
    found = radial_profile(features(lonely))
    assert found.shape == (1, RADIAL_FEATURES)
    assert found.isfinite().all()


def test_eigenvalues_in_closed_form_are_the_solvers() -> None:
    """Of matrices with three, two and one different eigenvalues, and of zero."""
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(40, 3, 3, generator=generator, dtype=torch.float64)).Q
    values = torch.rand(40, 3, generator=generator, dtype=torch.float64) * 50
    values[:10, 1] = values[:10, 0]
    values[10:15] = values[10:15, :1]
    values[15] = 0
    matrix = turn @ torch.diag_embed(values) @ turn.mT
    torch.testing.assert_close(eigenvalues(matrix), torch.linalg.eigvalsh(matrix), rtol=1e-7, atol=1e-6)
