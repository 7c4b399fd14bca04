"""Variables as C and Fortran declare them, in one string: ``temperature: float64 [256, 256]; flags: int32 [10]``."""

import re

from cdi.requirements import nearest
from inference_insitu.inference.frame import Variable
from inference_insitu.ring.layout import DTYPES

FORM = "name: type [length, length, ...]"
_ONE = re.compile(r"\s*([^\s:;,\[\]]+)\s*:\s*(\w+)\s*\[([\s\d,]*)\]\s*")
_TYPES = tuple(dtype.name for dtype in DTYPES)


def parse_variables(text: str) -> dict[str, Variable]:
    """The variables of ``text``, parted by semicolons; ``[]`` is a single number, lengths are in C's order.

    Raises
    ------
    ValueError
        If a part has another form, an unknown type, a length below 1, or a name that was there before.
    """
    found: dict[str, Variable] = {}
    for part in text.split(";"):
        match = _ONE.fullmatch(part)
        if match is None:
            raise ValueError(f"variables must be of the form {FORM!r}, parted by ';', got {part.strip()[:80]!r}")
        name, dtype, lengths = match.groups()
        if name in found:
            raise ValueError(f"variables must each have a name of their own, got {name!r} twice")
        if dtype not in _TYPES:
            raise ValueError(
                f"type of {name!r} must be one of those a frame can have, got {dtype!r}; {nearest(dtype, _TYPES)}"
            )
        found[name] = Variable(dtype, _shape(name, lengths))
    return found


def _shape(name: str, lengths: str) -> tuple[int, ...]:
    if not lengths.strip():
        return ()
    try:
        shape = tuple(int(length) for length in lengths.split(","))
    except ValueError:
        raise ValueError(f"lengths of {name!r} must be whole numbers parted by commas, got [{lengths}]") from None
    if min(shape) < 1:
        raise ValueError(f"lengths of {name!r} must be at least 1, got [{lengths}]")
    return shape
