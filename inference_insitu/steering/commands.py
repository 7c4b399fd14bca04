"""What may be asked of a simulation, within which bounds."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from numbers import Real

from cdi.requirements import nearest

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
ORIGIN_BYTES = 160
LAST_STEP = 2**63 - 1


def _require_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"name of a command must match {NAME.pattern}, got {name[:80]!r}")


def _finite(value: Real | float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"value must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"value must be finite, got {number}")
    return number


@dataclass(frozen=True)
class Command:
    """One request to the simulation. Every command that exists fits its binary form.

    Parameters
    ----------
    name : what is asked for, e.g. ``interval``.
    value : finite, in the unit of its ``CommandSpec``; None where the command takes none.
    step_proposed : step of the result, or of the simulation, that gave rise to it.
    origin : who asks, printable, at most 160 bytes of UTF-8.
    once : a second command of the same origin is refused, whichever rank or restarted worker sends it.
    """

    name: str
    value: float | None = None
    step_proposed: int = 0
    origin: str = ""
    once: bool = False

    def __post_init__(self) -> None:
        _require_name(self.name)
        if self.value is not None:
            object.__setattr__(self, "value", _finite(self.value))
        step = self.step_proposed
        if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= LAST_STEP:
            raise ValueError(f"step_proposed must be a whole number from 0 to 2^63 - 1, got {step!r}")
        if not self.origin.isprintable() or len(self.origin.encode()) > ORIGIN_BYTES:
            raise ValueError(f"origin must be printable and at most {ORIGIN_BYTES} bytes, got {self.origin[:80]!r}")

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name} {self.value:g}"


@dataclass(frozen=True)
class CommandSpec:
    """A command that the simulation obeys, and the bounds of its value, both included.

    Without ``minimum`` and ``maximum`` it takes no value. With one of them the other side is open, and the command is
    refused until the user's bounds close it: a number that nobody bounded must not reach a simulation.

    Parameters
    ----------
    name : lower-case letters, digits and underscores, at most 64.
    minimum, maximum : bounds in ``unit``.
    unit : of the value, e.g. ``1/ps``.
    integer : whether the value must be a whole number.
    """

    name: str
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    integer: bool = False

    def __post_init__(self) -> None:
        _require_name(self.name)
        if not self.takes_value:
            return
        low = -math.inf if self.minimum is None else float(self.minimum)
        high = math.inf if self.maximum is None else float(self.maximum)
        if not low <= high:
            raise ValueError(f"minimum of {self.name!r} must be at most its maximum {high:g}, got {low:g}")
        object.__setattr__(self, "minimum", low)
        object.__setattr__(self, "maximum", high)

    def __str__(self) -> str:
        if not self.takes_value:
            return "no value"
        return f"[{self.minimum:g}, {self.maximum:g}]{self.unit and ' ' + self.unit}{' whole' if self.integer else ''}"

    @property
    def takes_value(self) -> bool:
        """Whether the command comes with a number."""
        return self.minimum is not None or self.maximum is not None

    def refusal(self, value: float | None) -> str | None:
        """Why ``value`` is not allowed, in one line, or None."""
        if self.minimum is None or self.maximum is None:
            return None if value is None else f"{self.name!r} must come without a value, got {value:g}"
        unit = f" {self.unit}" if self.unit else ""
        if math.isinf(self.minimum) or math.isinf(self.maximum):
            return f"{self.name!r} must have a minimum and a maximum: give them under steering.bounds"
        if value is None:
            return f"{self.name!r} must come with a value in [{self.minimum:g}, {self.maximum:g}]{unit}, got none"
        if not self.minimum <= value <= self.maximum:
            return f"{self.name!r} must lie in [{self.minimum:g}, {self.maximum:g}]{unit}, got {value:g}"
        if self.integer and value != math.floor(value):
            return f"{self.name!r} must be a whole number{unit and ' of' + unit}, got {value:g}"
        return None

    def narrowed(self, by: "CommandSpec") -> "CommandSpec":
        """The interval that both allow; a user may narrow what a simulation declares, never widen it."""
        if self.takes_value != by.takes_value:
            raise ValueError(
                f"bounds of {self.name!r} must {'' if self.takes_value else 'not '}hold a minimum or maximum"
            )
        if by.unit and self.unit and by.unit != self.unit:
            raise ValueError(f"bounds of {self.name!r} must be in {self.unit!r}, got {by.unit!r}")
        if self.minimum is None or self.maximum is None or by.minimum is None or by.maximum is None:
            return self
        low, high = max(self.minimum, by.minimum), min(self.maximum, by.maximum)
        if low > high:
            raise ValueError(
                f"bounds of {self.name!r} must overlap [{self.minimum:g}, {self.maximum:g}] of the simulation, "
                f"got [{by.minimum:g}, {by.maximum:g}]"
            )
        integer = self.integer or by.integer
        return replace(self, minimum=low, maximum=high, unit=self.unit or by.unit, integer=integer)


KNOWN = (
    CommandSpec("snapshot"),
    CommandSpec("interval", 1, 1e9, "steps", integer=True),
    CommandSpec("rate", -math.inf, math.inf),  # no bounds hold for every simulation: it or the user gives them
    CommandSpec("stop"),
)


class Commands:
    """The commands of one run: those known everywhere and those that the simulation declares, in the user's bounds.

    Parameters
    ----------
    declared : the simulation's own; one of a known name takes its place.
    bounds : the user's, each narrowing a command that exists.
    """

    def __init__(self, declared: Iterable[CommandSpec] = (), bounds: Iterable[CommandSpec] = ()) -> None:
        self._specs = {spec.name: spec for spec in KNOWN}
        self._specs.update((spec.name, spec) for spec in declared)
        for narrower in bounds:
            unknown = self._unknown(narrower.name)
            if unknown:
                raise ValueError(f"steering.bounds: {unknown}")
            self._specs[narrower.name] = self._specs[narrower.name].narrowed(narrower)

    def __iter__(self) -> Iterator[CommandSpec]:
        return iter(self._specs.values())

    def refusal(self, command: Command) -> str | None:
        """Why ``command`` is not allowed, in one line, or None."""
        return self._unknown(command.name) or self._specs[command.name].refusal(command.value)

    def _unknown(self, name: str) -> str | None:
        if name in self._specs:
            return None
        return f"no command {name!r}; {nearest(name, self._specs)}"


def clipped(text: str, size_bytes: int) -> str:
    """``text`` in one printable line of at most ``size_bytes`` bytes of UTF-8, ending in … where it was cut."""
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    if len(line.encode()) <= size_bytes:
        return line
    return line.encode()[: size_bytes - 3].decode(errors="ignore") + "…"
