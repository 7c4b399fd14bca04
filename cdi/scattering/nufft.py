"""The non-uniform FFT behind one seam: which library, and how each is called.

Type 1 sums over points (atoms → grid), type 2 over modes (grid → atoms), its adjoint; modes ascend
from −(N // 2). Barnett, Magland & af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019). Points are
prepared once for any number of transforms: reflections of one crystal share them.
Free of torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from cdi.errors import optional_import

Array = Any
Apply = Callable[[Array], Array]


@dataclass(frozen=True)
class Library:
    """A NUFFT library.

    ``plan(angles, shape, type, tolerance, threads)`` prepares transforms of points ``angles`` (n, 3)
    in radians, of any size, and returns what applies them; ``on_gpu`` says where its arrays live,
    ``by_column`` that it wants each coordinate in a run of its own, ``group`` which optional
    dependencies bring it.
    """

    name: str
    group: str
    on_gpu: bool
    by_column: bool
    plan: Callable[[Array, tuple[int, int, int], int, float, int], Apply]


def _ducc0_plan(angles: Array, shape: tuple[int, int, int], kind: int, tolerance: float, threads: int) -> Apply:
    from ducc0.nufft import nu2u, u2nu

    # Its plan object sorts and copies the points first, which costs more than three transforms gain.
    settings = {"coord": angles, "epsilon": tolerance, "nthreads": threads}
    if kind == 1:
        return lambda values: nu2u(points=values, forward=False, out=np.empty(shape, values.dtype), **settings)
    return lambda values: u2nu(grid=np.ascontiguousarray(values), forward=True, **settings)


def _finufft_plan(angles: Array, shape: tuple[int, int, int], kind: int, tolerance: float, threads: int) -> Apply:
    import finufft

    dtype = "complex64" if angles.dtype == np.float32 else "complex128"
    sign = 1 if kind == 1 else -1
    plan = finufft.Plan(kind, shape, eps=tolerance, isign=sign, dtype=dtype, nthreads=threads)
    plan.setpts(*(np.ascontiguousarray(column) for column in angles.T))
    return lambda values: plan.execute(np.ascontiguousarray(values))


def _cufinufft_plan(angles: Array, shape: tuple[int, int, int], kind: int, tolerance: float, threads: int) -> Apply:
    import cufinufft

    dtype = "complex64" if angles.element_size() == 4 else "complex128"
    sign = 1 if kind == 1 else -1
    plan = cufinufft.Plan(kind, shape, eps=tolerance, isign=sign, dtype=dtype)
    plan.setpts(*(column.contiguous() for column in angles.T))
    return lambda values: plan.execute(values.contiguous())


LIBRARIES = {
    library.name: library
    for library in (
        Library("ducc0", "fast", False, False, _ducc0_plan),
        Library("finufft", "fast", False, True, _finufft_plan),
        Library("cufinufft", "cuda", True, True, _cufinufft_plan),
    )
}
"""Fastest first: on two CPU cores ``ducc0`` needs half the time of ``finufft`` at equal accuracy."""


def nufft_library(name: str | None = None, *, on_gpu: bool = False) -> Library:
    """The library of that ``name``, or the fastest that is installed for arrays on a CPU or a GPU.

    Raises
    ------
    ValueError
        If the name is unknown, or the library computes on the other kind of device.
    MissingDependencyError
        If it is not installed.
    """
    fitting = [library for library in LIBRARIES.values() if library.on_gpu == on_gpu]
    if name is not None and name not in LIBRARIES:
        raise ValueError(f"library must be one of {', '.join(LIBRARIES)}, got {name!r}")
    if name is not None and LIBRARIES[name] not in fitting:
        choices = ", ".join(library.name for library in fitting)
        raise ValueError(f"library must be one of {choices} on a {'GPU' if on_gpu else 'CPU'}, got {name!r}")
    wanted = fitting if name is None else [LIBRARIES[name]]
    chosen = next((library for library in wanted if find_spec(library.name)), wanted[-1])
    optional_import(chosen.name, group=chosen.group, purpose="the NUFFT of atoms")
    return chosen


def installed_libraries(*, on_gpu: bool = False) -> tuple[str, ...]:
    """Names of the libraries that can be used here, fastest first."""
    return tuple(library.name for library in LIBRARIES.values() if library.on_gpu == on_gpu and find_spec(library.name))
