"""The checks that configurations share. Free of torch."""

from collections.abc import Iterable
from difflib import get_close_matches
from math import isfinite
from typing import Any

Range = tuple[float, float]


def require(condition: bool, name: str, must: str, got: Any) -> None:
    """One clear error, unless ``condition`` holds.

    Raises
    ------
    ValueError
        ``<name> must <must>, got <got>``; a text in quotes.
    """
    if not condition:
        raise ValueError(f"{name} must {must}, got {repr(got) if isinstance(got, str) else got}")


def require_positive(owner: Any, *names: str) -> None:
    """Every field of ``owner`` in ``names`` is positive and finite."""
    for name in names:
        value = getattr(owner, name)
        require(isfinite(value) and value > 0, name, "be positive and finite", value)


def require_within(owner: Any, low: float, high: float, *names: str) -> None:
    """Every field of ``owner`` in ``names`` lies in [low, high]; an infinite ``high`` itself is out."""
    for name in names:
        value = getattr(owner, name)
        require(isfinite(value) and low <= value <= high, name, f"lie in [{low:g}, {high:g}]", value)


def require_range(owner: Any, low: float, high: float, *names: str) -> None:
    """Every field of ``owner`` in ``names`` is a range (first ≤ last) within [low, high]."""
    for name in names:
        first, last = getattr(owner, name)
        require(
            isfinite(first) and isfinite(last) and low <= first <= last <= high,
            name,
            f"be a range low ≤ high within [{low:g}, {high:g}]",
            (first, last),
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is none of ``known``: the nearest of them, or all."""
    names = [*known]
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
