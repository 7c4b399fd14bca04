"""The centred discrete Fourier transform in the sign of F(Q) = Σ exp(+iQ·r).

Index ``N // 2`` is the origin in both spaces. Every ``fftshift`` of the program stands here.
"""

import torch
from torch import Tensor

SPATIAL = (-3, -2, -1)


def amplitude_from_object(density: Tensor) -> Tensor:
    """``F(m) = Σ_n density(n) exp(+2πi m·n/N)`` over the last three axes."""
    shifted = torch.fft.ifftshift(density, dim=SPATIAL)
    transformed = torch.fft.ifftn(shifted, dim=SPATIAL, norm="forward")
    centred: Tensor = torch.fft.fftshift(transformed, dim=SPATIAL)
    return centred


def object_from_amplitude(amplitude: Tensor) -> Tensor:
    """The inverse: ``density(n) = 1/N³ Σ_m F(m) exp(−2πi m·n/N)``."""
    shifted = torch.fft.ifftshift(amplitude, dim=SPATIAL)
    transformed = torch.fft.fftn(shifted, dim=SPATIAL, norm="forward")
    centred: Tensor = torch.fft.fftshift(transformed, dim=SPATIAL)
    return centred


def origin_to_corner(volume: Tensor) -> Tensor:
    """``volume`` with its origin moved from index ``N // 2`` to 0 along the last three axes: for many transforms."""
    moved: Tensor = torch.fft.ifftshift(volume, dim=SPATIAL)
    return moved


def origin_to_centre(volume: Tensor) -> Tensor:
    """``volume`` with its origin moved from index 0 to ``N // 2`` along the last three axes."""
    moved: Tensor = torch.fft.fftshift(volume, dim=SPATIAL)
    return moved


def real_transform(volume: Tensor) -> Tensor:
    """``Σ_n volume(n) exp(−2πi m·n/N)`` of a real volume over the last three axes, ``(..., x, y, z // 2 + 1)``.

    The other half of the modes are conjugates of these. Origin at index 0 on both sides: a factor of the
    spectrum, on ``half_modes``, needs no shift of the volume.
    """
    spectrum: Tensor = torch.fft.rfftn(volume, dim=SPATIAL)
    return spectrum


def inverse_real_transform(spectrum: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The real volume ``(..., *shape)`` whose ``real_transform`` is ``spectrum``."""
    volume: Tensor = torch.fft.irfftn(spectrum, s=shape, dim=SPATIAL)
    return volume


def half_modes(shape: tuple[int, int, int], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mode numbers along each axis of ``real_transform``, in its order, real and on the device of ``like``."""
    frames, rows, columns = (torch.arange(n, dtype=like.dtype, device=like.device) for n in shape)
    x, y = (torch.fft.ifftshift(numbers - len(numbers) // 2) for numbers in (frames, rows))
    return x, y, columns[: shape[2] // 2 + 1]


def centre_crop(volume: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The central ``shape`` of the last three axes, origin kept at ``N // 2``."""
    x, y, z = (slice(n // 2 - m // 2, n // 2 - m // 2 + m) for n, m in zip(volume.shape[-3:], shape, strict=True))
    return volume[..., x, y, z]


def centre_pad(volume: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """``volume`` within zeros of ``shape``, origin kept at ``N // 2``: adjoint of ``centre_crop``."""
    padded = volume.new_zeros((*volume.shape[:-3], *shape))
    centre_crop(padded, (volume.shape[-3], volume.shape[-2], volume.shape[-1])).copy_(volume)
    return padded


def partial_transform(density: Tensor, axes: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """``F(m) = Σ_n X[m_x, n_x] Y[m_y, n_y] Z[m_z, n_z] density(n)`` over the last three axes.

    With the matrices of ``axis_matrix`` a discrete Fourier transform that knows which n are not zero and
    which m are wanted: nothing is padded, shifted or cropped, and matrix products run near the peak of
    the machine (Soummer et al., Opt. Express 15, 15935, 2007, in two dimensions). ``density``
    (..., x, y, z) and the matrices share one complex type.
    """
    x, y, z = axes
    along_yz = y @ (density @ z.T)
    along_xyz: Tensor = x @ along_yz.flatten(-2)
    return along_xyz.reshape(*along_xyz.shape[:-1], *along_yz.shape[-2:])


def axis_matrix(turns: Tensor, points: Tensor) -> Tensor:
    """``exp(2πi turns_m points_n)``, complex128 ``(m, n)``; turns per point, points counted from the origin."""
    angle = 2 * torch.pi * turns[:, None] * points
    return torch.polar(torch.ones_like(angle), angle)
