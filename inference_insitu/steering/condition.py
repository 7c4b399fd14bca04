"""Conditions on a result's values, as text: comparisons, and, or, not. No call, attribute, arithmetic or eval."""

import ast
import keyword
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from numbers import Real
from typing import Any

import numpy as np

LONGEST = 500

Value = float | str
_Truth = Callable[[Mapping[str, Any]], bool]
_Operand = Callable[[Mapping[str, Any]], Value]

_ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_WORDS = {"and", "or", "not", "True", "False"}
# Results may be called `class` or `lambda`, which Python's grammar would not take for names.
_KEYWORD = re.compile(
    r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|\b(?:" + "|".join(sorted(set(keyword.kwlist) - _WORDS)) + r")\b"
)
_ESCAPE = "keyword__"


class UnansweredError(ValueError):
    """A result does not hold what the condition asks for."""


class Condition:
    """``text`` parsed once, to be asked of many results.

    Raises
    ------
    ValueError
        Where ``text`` holds anything but comparisons of names, numbers and strings, joined by and, or, not.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        if len(text) > LONGEST:
            raise ValueError(f"when must be at most {LONGEST} characters, got {len(text)}")
        self._truth = self._condition(_parsed(text))

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the condition is true of ``values``.

        Every name must be there even where the answer does not depend on it, so that a misspelt one shows at once.

        Raises
        ------
        UnansweredError
            For a name that is not there (nearest name given), or a value of a kind that the condition cannot use.
        """
        for name in sorted(self.names - values.keys()):
            near = get_close_matches(name, map(str, values), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(map(str, values)) or 'none'}"
            raise UnansweredError(f"the result has no value {name!r}; {hint}")
        return self._truth(values)

    def _condition(self, node: ast.expr) -> _Truth:
        match node:
            case ast.BoolOp(op=joint, values=parts):
                terms = [self._condition(part) for part in parts]
                join = all if isinstance(joint, ast.And) else any
                return lambda values: join(term(values) for term in terms)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                term = self._condition(inner)
                return lambda values: not term(values)
            case ast.Compare(left=first, ops=orders, comparators=rest):
                return self._comparison(first, orders, rest)
            case ast.Name():
                name = self._name(node)
                return lambda values: _flag(name, values[name])
        raise _refused(self.text, node, "a comparison, or a name that is true or false")

    def _comparison(self, first: ast.expr, orders: list[ast.cmpop], rest: list[ast.expr]) -> _Truth:
        operands = [self._operand(node) for node in (first, *rest)]
        for order in orders:
            if type(order) not in _ORDERS:
                raise ValueError(f"when must compare with < <= > >= == !=, got {self.text!r}")
        compare = [_ORDERS[type(order)] for order in orders]

        def truth(values: Mapping[str, Any]) -> bool:
            found = [operand(values) for operand in operands]
            pairs = zip(found, compare, found[1:], strict=False)
            return all(_compared(left, order, right) for left, order, right in pairs)

        return truth

    def _operand(self, node: ast.expr) -> _Operand:
        match node:
            case ast.Name():
                name = self._name(node)
                return lambda values: _plain(name, values[name])
            case ast.Constant(value=str() | int() | float() as constant):
                if not isinstance(constant, str) and not _is_finite(constant):
                    raise ValueError(f"when must hold finite numbers, got {self.text!r}")
                value = constant.replace(_ESCAPE, "") if isinstance(constant, str) else constant
                return lambda values: value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Name() | ast.Constant(value=int() | float()) as inner):
                positive = self._operand(inner)
                return lambda values: _negative(positive(values))
        raise _refused(self.text, node, "a name, a number or a string")

    def _name(self, node: ast.Name) -> str:
        name = node.id.removeprefix(_ESCAPE)
        if name.startswith("__"):
            raise ValueError(f"when must not hold names that begin with two underscores, got {name!r}")
        self.names.add(name)
        return name


def _parsed(text: str) -> ast.expr:
    def escaped(found: re.Match[str]) -> str:
        return found[0] if found[0][0] in "'\"" else _ESCAPE + found[0]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python only warns of, such as '\d', is refused
            return ast.parse(_KEYWORD.sub(escaped, " ".join(text.split())), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, Warning) as error:
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise ValueError(
            f"when must be a condition such as 'count > 0 and confidence >= 0.9', got {text!r} ({reason})"
        ) from (error)


def _refused(text: str, node: ast.expr, wanted: str) -> ValueError:
    return ValueError(f"when must hold {wanted} there, got {type(node).__name__} {ast.unparse(node)!r} in {text!r}")


def _is_finite(number: float) -> bool:
    return isinstance(number, int) or math.isfinite(number)  # math.isfinite overflows on a huge int


def _plain(name: str, value: Any) -> Value:
    """A number or a string; numpy's scalars are unpacked."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, str):
        return value
    if not isinstance(value, Real) or not _is_finite(value):  # type: ignore[arg-type]
        kind = "not finite" if isinstance(value, Real) else f"a {type(value).__name__}"
        raise UnansweredError(f"{name!r} must be a finite number or a text, but is {kind}")
    return value  # type: ignore[return-value]


def _flag(name: str, value: Any) -> bool:
    plain = _plain(name, value)
    if not isinstance(plain, bool):
        raise UnansweredError(f"{name!r} must be true or false where it stands alone, but is {plain!r}")
    return plain


def _negative(value: Value) -> Value:
    if isinstance(value, str):
        raise UnansweredError(f"a minus must stand before a number, but stands before {value!r}")
    return -value


def _compared(left: Value, order: Callable[[Any, Any], bool], right: Value) -> bool:
    texts = isinstance(left, str), isinstance(right, str)
    if texts == (True, True) and order not in (operator.eq, operator.ne):
        raise UnansweredError(f"texts must be compared with == or !=, but {left!r} and {right!r} are ordered")
    if texts[0] != texts[1]:
        raise UnansweredError(f"a text must be compared with a text, but {left!r} meets {right!r}")
    return order(left, right)
