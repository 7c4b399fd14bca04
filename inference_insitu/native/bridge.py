"""What ``cdi_couple.c`` calls: a coupling in plain values, since C has neither keywords, arrays nor exceptions.

Whatever is raised here becomes ``CDI_ERROR`` and one line in ``cdi_error``.
"""

import json
import sys
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdi.errors import RunError
from cdi.requirements import nearest
from inference_insitu.attach import attach as attach_python
from inference_insitu.coupling import Coupling
from inference_insitu.inference.frame import Variable
from inference_insitu.native.borrowed_mpi import communicator, rank_died
from inference_insitu.native.variables import parse_variables
from inference_insitu.waiting import AGREE_TIMEOUT_S

if TYPE_CHECKING:
    from mpi4py import MPI

STATUS = {"accepted": 0, "dropped": 1, "failed": 2}
"""``CDI_ACCEPTED``, ``CDI_DROPPED``, ``CDI_FAILED``."""
MOST_VIEWS = 256


def attach(handle: int, library: str, config: str, variables: str, output: str) -> "Bridge | None":
    """Couple the simulation on the communicator of Fortran handle ``handle``; None on a rank that has served.

    ``library`` is the application's MPI library; ``variables`` is a text as ``parse_variables`` reads it.
    """
    comm = communicator(handle, library)
    declared = _agreed_variables(comm, variables)
    try:
        coupling = attach_python(comm, config, variables=declared, output=output)
    except SystemExit as end:
        if end.code:
            raise RunError(f"the rank given up for inference ended with code {end.code}") from None
        return None
    # The application takes errors there as on its own communicator.
    coupling.simulation_comm.Set_errhandler(comm.Get_errhandler())
    return Bridge(coupling, declared, coupling.simulation_comm)


class Bridge:
    """One rank's coupling. Arrays come as addresses, in C's order, of the declared type.

    Attributes
    ----------
    handle : Fortran handle of the simulation's communicator.
    """

    def __init__(self, coupling: Coupling, variables: Mapping[str, Variable], comm: "MPI.Intracomm") -> None:
        self._coupling, self._variables = coupling, variables
        # The same few buffers come at every step: looking a view up takes a tenth of making one.
        self._views: dict[tuple[str, int, tuple[int, ...] | None], NDArray[Any]] = {}
        self._waiting: deque[tuple[str, float | None]] = deque()
        self.handle = comm.py2f()

    def publish(
        self, name: str, address: int, extents: tuple[int, ...] | None, attributes: str | None, step: int
    ) -> tuple[int, str]:
        """Status and reason; ``extents`` None stands for the declared shape."""
        array = self._views.get((name, address, extents))
        if array is None:
            array = self._view(name, address, extents)
        published = self._coupling.publish(name, array, step, _mapping(attributes) if attributes else None)
        return STATUS[published.status], published.reason

    def end_step(self, step: int) -> None:
        """All frames of ``step`` are published."""
        self._coupling.end_step(step)

    def poll_steering(self, most: int) -> list[tuple[str, float | None]]:
        """Name and value of at most ``most`` commands; others wait for the next call, so that none is lost."""
        self._waiting.extend((command.name, command.value) for command in self._coupling.poll_steering())
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def close(self) -> bool:
        """End, together with all simulation ranks; whether a rank has died, and MPI's own end would wait for it."""
        try:
            self._coupling.close()
        finally:
            sys.stdout.flush()  # this Python is never ended, so nobody else does
        return rank_died()

    def abandon(self, why: str) -> None:
        """Leave alone, after a failure of the simulation on this rank."""
        self._coupling.abandon(RunError(why))

    def _view(self, name: str, address: int, extents: tuple[int, ...] | None) -> NDArray[Any]:
        variable = self._variables.get(name)
        if variable is None:
            raise ValueError(f"name must be a declared variable, got {name!r}; {nearest(name, self._variables)}")
        shape = variable.shape if extents is None else extents
        if len(shape) != len(variable.shape) or any(
            not 0 <= given <= length for given, length in zip(shape, variable.shape, strict=True)
        ):
            most, got = list(variable.shape), list(shape)
            raise ValueError(f"extents of {name!r} must be {len(most)} numbers of at most {most}, got {got}")
        if not address and 0 not in shape:  # an empty array may have no memory
            raise ValueError(f"data of {name!r} must be an address, got NULL")
        if len(self._views) >= MOST_VIEWS:
            self._views.clear()
        array = np.asarray(_Memory(address, shape, np.dtype(variable.dtype).str))
        self._views[name, address, extents] = array
        return array


class _Memory:
    """The application's own memory, as numpy takes it without a copy."""

    __slots__ = ("__array_interface__",)

    def __init__(self, address: int, shape: tuple[int, ...], typestr: str) -> None:
        self.__array_interface__ = {"version": 3, "data": (address, True), "shape": shape, "typestr": typestr}


def _mapping(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"attributes must be a JSON object, got {text[:80]!r} ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"attributes must be a JSON object, got {text[:80]!r}")
    return values


def _agreed_variables(comm: "MPI.Intracomm", text: str) -> dict[str, Variable]:
    """``text`` as read, or the same error on every rank: one that raised alone would leave the others waiting."""
    from inference_insitu.placement import mpi

    own = mpi.duplicated(comm)
    try:
        return mpi.agreed(own, lambda: parse_variables(text), timeout_s=AGREE_TIMEOUT_S)
    finally:
        own.Free()
