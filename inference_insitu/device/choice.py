"""Which way arrays on a GPU take to the inference: a table of what each way needs, and its reader.

``ipc``: the inference maps it.  ``pinned``: it is copied on a side stream into the page-locked slot while the
simulation goes on.  ``plain``: it is copied into the slot while publish waits.  MPI sends frames from the slots, hence
never from device memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from inference_insitu.coupling_config import PlacementKind


@dataclass(frozen=True)
class Capabilities:
    """What was found here (None: not tried); ``notes`` says of a field why it is not so."""

    cuda: bool = False
    ipc: bool | None = None
    host_register: bool | None = None
    placement: PlacementKind = "cores"
    consumer_on_gpu: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)


class Choice(NamedTuple):
    """The path and, in a few words, why it is this one."""

    path: str
    why: str


# A field of the capabilities, the values that will do, and what to say otherwise.
_CUDA = ("cuda", (True,), "no CUDA here")
NEEDS: Mapping[str, tuple[tuple[str, tuple[object, ...], str], ...]] = {
    "ipc": (
        ("placement", ("cores", "process"), "the inference is not on this node"),
        ("consumer_on_gpu", (True,), "the inference does not run on a GPU"),
        _CUDA,
        ("ipc", (True,), "another process was not proved to map device memory"),
    ),
    "pinned": (_CUDA, ("host_register", (True,), "the slots could not be page-locked")),
    "plain": (),
}
"""Best first: the order is the preference."""


def obstacle(path: str, capabilities: Capabilities) -> str | None:
    """The first need of ``path`` that is not met, or None."""
    for name, values, otherwise in NEEDS[path]:
        if getattr(capabilities, name) not in values:
            note = capabilities.notes.get(name)
            return otherwise + (f" ({note})" if note else "")
    return None


def choose(capabilities: Capabilities, wanted: str = "auto") -> Choice:
    """The first possible path of the table, or the ``wanted`` one; ValueError if that is not possible."""
    obstacles = {path: obstacle(path, capabilities) for path in NEEDS}
    possible = [path for path in NEEDS if obstacles[path] is None]
    if wanted == "auto":
        better = list(NEEDS)[: list(NEEDS).index(possible[0])]
        return Choice(
            possible[0], "; ".join(f"not {path}: {obstacles[path]}" for path in better) or "the best there is"
        )
    if wanted in possible:
        return Choice(wanted, "as configured")
    reason = obstacles.get(wanted, "there is no such path")
    raise ValueError(f"path must be possible here ({', '.join(possible)}), got {wanted!r}: {reason}")
