"""Runs brought together: every member of what intensity hides is undone, and nothing beyond it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cdi.ambiguity import twin
from cdi.fourier import amplitude_from_object, object_from_amplitude
from cdi.retrieval.alignment import align

SHAPE = (15, 18, 17)


def densities(seed: int = 0, reflections: int = 2) -> Tensor:
    """Compact, without any symmetry, one phase field a reflection."""
    rng = np.random.default_rng(seed)
    volume = torch.zeros(reflections, *SHAPE, dtype=torch.complex128)
    size = (reflections, 5, 7, 6)
    modulus = rng.uniform(0.3, 1, size[1:])
    volume[:, 5:10, 6:13, 5:11] = torch.as_tensor(modulus * np.exp(1j * rng.uniform(-2, 2, size)))
    return volume


def moved(density: Tensor, shift: tuple[float, float, float]) -> Tensor:
    """Translated by the Fourier shift theorem."""
    turns = torch.zeros(SHAPE, dtype=torch.float64)
    for axis, (n, distance) in enumerate(zip(SHAPE, shift, strict=True)):
        sides = [1, 1, 1]
        sides[axis] = n
        turns = turns + ((torch.arange(n, dtype=torch.float64) - n // 2) * distance / n).reshape(sides)
    return object_from_amplitude(amplitude_from_object(density) * torch.exp(2j * torch.pi * turns))


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("shift", [(2, -3, 1), (0.35, -1.2, 2.75)])
def test_phase_translation_and_twin_are_undone(inverted: bool, shift: tuple[float, float, float]) -> None:
    """Exactly where the shift lies on the search's grid of 1/20 voxel, each reflection with a phase of its own."""
    reference = densities()
    phases = torch.exp(1j * torch.tensor([0.7, -2.1], dtype=torch.float64))[:, None, None, None]
    other = moved(reference, shift) * phases
    found, how = align(twin(other) if inverted else other, reference)
    torch.testing.assert_close(found, reference)
    assert how.inverted == inverted
    assert how.overlap == pytest.approx(1)
    np.testing.assert_allclose(how.shift, [-s for s in shift], atol=1e-9)


def test_the_twin_of_one_reflection_alone_is_not_undone() -> None:
    """It acts on all reflections at once: a mixture is another crystal."""
    reference = densities()
    mixed = torch.stack([reference[0], twin(reference[1])])
    assert align(mixed, reference)[1].overlap < 0.9
    assert align(mixed[1:], reference[1:])[1].overlap == pytest.approx(1)


def test_different_objects_do_not_overlap() -> None:
    assert align(densities(1), densities(2))[1].overlap < 0.5
