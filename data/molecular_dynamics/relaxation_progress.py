"""How far a relaxation is: what LAMMPS last printed, as a share of the way, and a bar of it. Free of torch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite, log
from typing import Any

from cdi.progress import progress_bar

Look = Callable[[str, float, str], None]
"""Told what runs, its share in [0, 1], and a word on how it stands."""
Share = Callable[[Mapping[str, float]], tuple[float, str]]
"""Share and word, from the columns that LAMMPS last printed."""


def looking(lammps: Any, what: str, share: Share, look: Look | None) -> Callable[[], None] | None:
    """A look at ``lammps``, from another thread than its own, that tells ``look`` of it."""
    if look is None:
        return None

    def told() -> None:
        thermo = lammps.last_thermo()
        if thermo:
            look(what, *share(thermo))

    return told


def share_of_force(tolerance: float) -> Share:
    """Decades that the largest force has come down, of those from the first one to ``tolerance`` (eV/Å).

    Minimisers converge in proportion, so that this tells the time left, if roughly: a force goes up now and then.
    """
    first = 0.0

    def share(thermo: Mapping[str, float]) -> tuple[float, str]:
        nonlocal first
        force = float(thermo.get("Fmax", 0.0))
        word = f"step {int(thermo.get('Step', 0))}, force {force:.2g} of {tolerance:.2g} eV/Å"
        if not (isfinite(force) and force > tolerance):
            return float(force == force and force <= tolerance), word
        first = max(first, force)
        return (log(first / force) / log(first / tolerance) if first > force else 0.0), word

    return share


def share_of_steps(steps: int) -> Share:
    """Of so many steps of motion."""

    def share(thermo: Mapping[str, float]) -> tuple[float, str]:
        return min(1.0, thermo.get("Step", 0) / steps), f"{thermo.get('Temp', 0.0):.0f} K"

    return share


@contextmanager
def relaxation_bar(*, shown: bool = True) -> Iterator[Look]:
    """A bar in per cent, begun anew for each of the things that run."""
    begun = ""
    with progress_bar(100, "%", "relaxing", shown=shown) as bar:

        def look(what: str, share: float, word: str) -> None:
            nonlocal begun
            if what != begun:
                begun = what
                bar.reset(100)
                bar.set_description(what, refresh=False)
            bar.set_postfix_str(word, refresh=False)
            bar.update(max(0.0, round(100 * share, 1) - bar.n))

        yield look
