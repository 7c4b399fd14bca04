"""Reflections of one crystal brought over each other: while runs go on, and finished objects."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cdi.ambiguity import twin
from cdi.retrieval.common_frame import gather_reflections, one_frame

SHAPE = (16, 18, 20)
X, Y, Z = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) - n // 2 for n in SHAPE), indexing="ij")
BALL = (X**2 + Y**2 + Z**2 < 25).double()
PHASES = (0.05 * (3 * X**2 + Y**2 * Z / 4), 0.05 * (2 * Y**2 - X * Z**2 / 3))
"""Of two components of the displacement; even and odd, so that either is another one in the twin."""


def compact(seed: int) -> Tensor:
    """Without any symmetry."""
    rng = np.random.default_rng(seed)
    volume = torch.zeros(SHAPE, dtype=torch.complex128)
    size = (5, 7, 6)
    volume[5:10, 6:13, 5:11] = torch.as_tensor(rng.uniform(0.3, 1, size) * np.exp(1j * rng.uniform(-2, 2, size)))
    return volume


def ball(phase: Tensor) -> Tensor:
    return torch.polar(BALL, phase * BALL)


def framed(objects: list[Tensor], G: list[list[float]], reference: int = 0) -> list[Tensor]:
    return [one for one, _ in one_frame([(one, one.abs() > 0) for one in objects], torch.tensor(G), reference)]


def test_reflections_are_gathered_over_the_first_one_of_their_start() -> None:
    """Whole voxels and the twin, each start by itself, on moduli alone; origins at index 0."""
    first = compact(3)
    rows = torch.stack([
        torch.stack([first, torch.roll(first, (1, 2, 3), (0, 1, 2))]),
        torch.stack([torch.roll(first, (-4, 1, 2), (0, 1, 2)), torch.roll(first, (0, 0, 5), (0, 1, 2))]),
    ])  # fmt: skip
    rows[1, 1] = torch.roll(rows[1, 1].flip((0, 1, 2)), (1, 1, 1), (0, 1, 2)).conj()
    smooth, density, image = gather_reflections(rows.abs(), rows, 2 * rows)
    torch.testing.assert_close(density[1], rows[0])
    torch.testing.assert_close(density[0], rows[0])
    torch.testing.assert_close(image, 2 * density)
    torch.testing.assert_close(smooth, density.abs())


def test_one_reflection_is_left_where_it_is() -> None:
    rows = compact(4)[None, None]
    assert torch.equal(gather_reflections(rows.abs(), rows, rows)[1], rows)


@pytest.mark.parametrize("turned", [False, True])
def test_finished_objects_are_laid_over_the_reference_by_their_moduli(turned: bool) -> None:
    first = compact(3)
    second = torch.polar(first.abs(), torch.angle(compact(5)))
    given = torch.roll(twin(second) if turned else second, (2, -1, 3), (0, 1, 2))
    reference, (found, inside) = one_frame([(first, first.abs() > 0), (given, given.abs() > 0)], torch.zeros(2, 3), 0)
    torch.testing.assert_close(reference[0], first)
    torch.testing.assert_close(found, second)
    assert torch.equal(inside, second.abs() > 0)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("opposite", [False, True])
def test_where_moduli_tell_no_twin_phases_of_like_or_opposite_reflections_do(opposite: bool, turned: bool) -> None:
    """G·u of a vector and of its negative are each other's negative: alike, they would be those of the wrong twin."""
    sign = -1.0 if opposite else 1.0
    first, second = ball(PHASES[0]), ball(sign * PHASES[0])
    _, found = framed([first, twin(second) if turned else second], [[1.0, 0.0, 0.0], [sign, 0.1, 0.0]])
    torch.testing.assert_close(found, second)


@pytest.mark.parametrize("turned", [(False, True), (True, False), (True, True)])
def test_two_reflections_tell_each_other_s_twin_beside_the_reference(turned: tuple[bool, bool]) -> None:
    """The third resembles the second, and says nothing of the reference, across which it lies."""
    objects = [ball(PHASES[0]), ball(PHASES[0] + PHASES[1]), ball(PHASES[1])]
    given = [one if number == 0 or not turned[number - 1] else twin(one) for number, one in enumerate(objects)]
    found = framed(given, [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    for one, true in zip(found, objects, strict=True):
        torch.testing.assert_close(one, true)


def test_the_reference_stays_where_it_is() -> None:
    objects = [twin(compact(3)), torch.roll(compact(3), 2, 0)]
    first, second = framed(objects, [[0.0] * 3] * 2, reference=1)
    torch.testing.assert_close(second, objects[1])
    torch.testing.assert_close(first, objects[1])
