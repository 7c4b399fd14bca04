"""What intensity hides: translation, global phase, and the twin.

The twin of an object is its conjugate inverted through the origin:
(s(r), u(r)) → (s(−r), −u(−r)). A dislocation at r₀ with Burgers vector b and line sense ξ goes
to −r₀ with −b at the same ξ. |F|² is the same for both.
"""

import torch
from torch import Tensor


def inverted(volume: Tensor) -> Tensor:
    """``volume(−n)`` over the last three axes, index ``N // 2`` fixed, periodic at the edge."""
    flipped = volume.flip((-3, -2, -1))
    even = [axis for axis in (-3, -2, -1) if volume.shape[axis] % 2 == 0]
    return torch.roll(flipped, [1] * len(even), even) if even else flipped


def twin(density: Tensor) -> Tensor:
    """Twin of a complex object ``(..., x, y, z)``: ``conj(density(−n))``."""
    return torch.conj_physical(inverted(density))
