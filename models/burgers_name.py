"""Burgers vectors as the field writes them: ½[1-10], ⅙[11-2], [100]. Free of torch."""

from collections.abc import Sequence
from math import gcd

GLYPHS = {(1, 2): "½", (1, 3): "⅓", (2, 3): "⅔", (1, 4): "¼", (1, 6): "⅙", (1, 1): ""}
LARGEST_DENOMINATOR = 12
TOLERANCE = 1e-3


def burgers_name(fractions: Sequence[float]) -> str:
    """``fractions`` (3,) of the cell's edges as a factor and whole numbers; decimals where there are none."""
    for denominator in range(1, LARGEST_DENOMINATOR + 1):
        scaled = [x * denominator for x in fractions]
        whole = [round(x) for x in scaled]
        if any(whole) and max(abs(x - n) for x, n in zip(scaled, whole, strict=True)) < TOLERANCE * denominator:
            common = gcd(*whole)
            numbers = [n // common for n in whole]
            shared = gcd(common, denominator)
            factor = (common // shared, denominator // shared)
            apart = " " if max(map(abs, numbers)) > 9 else ""
            return f"{GLYPHS.get(factor, f'{factor[0]}/{factor[1]} ')}[{apart.join(map(str, numbers))}]"
    return f"[{', '.join(f'{x:.3f}' for x in fractions)}]"
