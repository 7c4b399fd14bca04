"""Operators as a configuration names them.

    operators:
      - {kind: crop, shape: [24, 24, 24]}
      - {kind: bin, factor: 2}
      - {kind: sum_to_root}
      - {kind: abs2}
      - {kind: cast, dtype: float32}
      - {kind: "my_package.operators:Denoise", options: {sigma: 1.5}}

A user's own derives from ``Operator``; it is named as ``module:object``, or by an entry point of the group
``cdi.operators`` in the ``pyproject.toml`` of its package.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from cdi.requirements import nearest
from inference_insitu.reduction.operators import OPERATORS, Operator

ENTRY_POINT_GROUP = "cdi.operators"


@dataclass(frozen=True)
class OperatorConfig:
    """One operator of a stream.

    Parameters
    ----------
    kind : crop, bin, sum_to_root, cast, abs2, a name of the group ``cdi.operators``, or ``module:object``.
    shape : of ``crop``: what is kept of the last axes.
    factor : of ``bin``: one number for every axis, or one for each of the last.
    dtype : of ``cast``: a numpy type of numbers.
    options : arguments of a user's own operator.
    """

    kind: str
    shape: tuple[int, ...] | None = None
    factor: int | tuple[int, ...] | None = None
    dtype: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind in OPERATORS:
            self.build()
        elif ":" not in self.kind and self.kind not in _installed():
            hint = nearest(self.kind, [*OPERATORS, *_installed()])
            raise ValueError(f"kind must be the name of an operator or module:object, got {self.kind!r}; {hint}")

    def build(self) -> Operator:
        """The operator itself; a user's own is imported here.

        Raises
        ------
        ValueError
            If an option is missing, not one of the operator's, or refused by it, or if there is no such operator.
        """
        named = {"shape": self.shape, "factor": self.factor, "dtype": self.dtype}
        given = {name: value for name, value in named.items() if value is not None} | self.options
        if self.kind in OPERATORS:
            return _built_in(self.kind, given)
        try:
            operator = _found(self.kind)(**given)
        except TypeError as error:
            raise ValueError(f"options must be arguments of {self.kind}, got {given}: {error}") from error
        if not isinstance(operator, Operator):
            raise ValueError(f"kind must derive from {Operator.__module__}.Operator, got {self.kind!r}")
        return operator


def _built_in(kind: str, given: Mapping[str, Any]) -> Operator:
    operator: Any = OPERATORS[kind]
    wanted = [each.name for each in fields(operator) if each.init]
    if sorted(given) != sorted(wanted):
        raise ValueError(f"{kind} must have {_listed(wanted)}, got {_listed(given)}")
    return OPERATORS[kind](**given)


def _listed(options: Any) -> str:
    return "the option " + ", ".join(options) if options else "no options"


def _installed() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _found(kind: str) -> Callable[..., Any]:
    module, colon, name = kind.partition(":")
    try:
        if not colon:
            found: Any = _installed()[kind].load()
        else:
            found = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"kind must name an importable module:object, got {kind!r}: {error}") from error
    if not callable(found):
        raise ValueError(f"kind must be an operator's class, got {kind!r}, a {type(found).__name__}")
    return found  # type: ignore[no-any-return]
