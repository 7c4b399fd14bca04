"""The checks that the settings of every effect share. Free of torch."""

from math import isfinite
from typing import Any

Range = tuple[float, float]


def require(condition: bool, name: str, must: str, got: Any) -> None:
    """One clear error, unless ``condition`` holds.

    Raises
    ------
    ValueError
        ``<name> must <must>, got <got>``.
    """
    if not condition:
        raise ValueError(f"{name} must {must}, got {got}")


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


COHERENCE_FORMS = ("gaussian", "exponential")
"""How the degree of coherence falls with distance; named here, since configurations are free of torch."""


def require_form(form: str) -> None:
    """``form`` is a key of ``cdi.detector.coherence.DECAY``.

    Raises
    ------
    ValueError
        If not; the message lists the choices.
    """
    require(form in COHERENCE_FORMS, "form", f"be one of {', '.join(COHERENCE_FORMS)}", repr(form))
