"""Iterative projections as data: what each algorithm puts outside the support, and how many times. Free of torch.

With P the modulus projection, every algorithm here takes P x inside the support S, and outside it

    x ← projected · P x + previous · x.

| name | outside | source |
|------|---------|--------|
| ER   | 0                 | error reduction: Fienup, Appl. Opt. 21, 2758 (1982) |
| HIO  | x − β P x         | hybrid input–output: ibid.; at β = 1 Elser's difference map |
| RAAR | β x + (1 − 2β) P x | relaxed averaged alternating reflections: Luke, Inverse Probl. 21, 37 (2005) |
| SF   | −P x              | solvent flipping: Abrahams & Leslie, Acta Cryst. D 52, 30 (1996) |
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

MOST_ITERATIONS = 100_000
"""Longest schedule accepted: a longer one is a typing error."""


@dataclass(frozen=True)
class Outside:
    """Coefficients outside the support of ``P x`` and of ``x``, for a feedback β."""

    projected: Callable[[float], float]
    previous: Callable[[float], float]


ALGORITHMS: dict[str, Outside] = {
    "ER": Outside(lambda beta: 0.0, lambda beta: 0.0),
    "HIO": Outside(lambda beta: -beta, lambda beta: 1.0),
    "RAAR": Outside(lambda beta: 1 - 2 * beta, lambda beta: beta),
    "SF": Outside(lambda beta: -1.0, lambda beta: 0.0),
}


@dataclass(frozen=True)
class Stage:
    """``iterations`` of one of ``ALGORITHMS``."""

    algorithm: str
    iterations: int


def parse_schedule(text: str) -> tuple[Stage, ...]:
    """Stages of a schedule such as ``"HIO 100, 4x(RAAR 50, ER 10), ER 20"``.

    Raises
    ------
    ValueError
        For an unknown algorithm (the message lists the choices), a stage that is not a name and a positive
        number, or more than ``MOST_ITERATIONS``.
    """
    repeated = re.compile(r"(\d+)\s*x\s*\(([^()]*)\)")
    flat = text
    while found := repeated.search(flat):
        if int(found[1]) > MOST_ITERATIONS:
            raise ValueError(f"schedule must have 1 to {MOST_ITERATIONS} iterations, got {text!r}")
        flat = flat[: found.start()] + ", ".join([found[2]] * int(found[1])) + flat[found.end() :]
    stages = tuple(_stage(part, text) for part in flat.split(","))
    total = sum(stage.iterations for stage in stages)
    if not 1 <= total <= MOST_ITERATIONS:
        raise ValueError(f"schedule must have 1 to {MOST_ITERATIONS} iterations, got {total}")
    return stages


def _stage(part: str, text: str) -> Stage:
    found = re.fullmatch(r"\s*([A-Za-z]+)\s+(\d+)\s*", part)
    if not found:
        raise ValueError(f'schedule must read like "HIO 100, 4x(RAAR 50, ER 10)", got {text!r}')
    if found[1] not in ALGORITHMS:
        raise ValueError(f"schedule must name algorithms among {', '.join(ALGORITHMS)}, got {found[1]!r}")
    return Stage(found[1], int(found[2]))
