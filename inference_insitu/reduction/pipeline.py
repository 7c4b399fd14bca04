"""The operators of a stream one after another, checked before the first step."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from inference_insitu.reduction.group import Array, Group
from inference_insitu.reduction.operator_config import OperatorConfig
from inference_insitu.reduction.operators import DType, Operator, Shape


def pipeline(configs: Sequence[OperatorConfig], shape: Sequence[int], dtype: DTypeLike) -> "Pipeline":
    """The operators of ``configs`` for arrays of ``shape`` and ``dtype``; none delivers what comes in.

    Raises
    ------
    ValueError
        If an operator cannot take what the one before it delivers.
    """
    return Pipeline([config.build() for config in configs], tuple(shape), np.dtype(dtype))


class Pipeline:
    """Reduces arrays of one shape and type; ``shape`` and ``dtype`` are of what it delivers.

    What a call returns is valid until the next one: a view of the input, or memory of the operators.
    """

    def __init__(self, operators: Sequence[Operator], shape: Shape, dtype: DType) -> None:
        if dtype.kind not in "biufc":
            raise ValueError(f"dtype must be a type of numbers, got {dtype}")
        if any(length < 1 for length in shape):
            raise ValueError(f"shape must hold lengths of at least 1, got {shape}")
        self._operators = tuple(operators)
        self._between = [(shape, dtype)]
        for number, operator in enumerate(operators):
            try:
                shape, dtype = _output(operator, shape, dtype)
            except ValueError as error:
                raise ValueError(f"operators[{number}]: {error}") from error
            self._between.append((shape, dtype))
        self.shape, self.dtype = shape, dtype
        meetings = [number for number, operator in enumerate(operators) if operator.collective]
        if len(meetings) > 1:
            # Behind the first only the root has anything left to meet with.
            raise ValueError(f"operators must hold one collective operator at most, got operators{meetings}")
        self._meeting = meetings[0] if meetings else None

    @property
    def collective(self) -> bool:
        """Whether all ranks must call it at the same steps, for the root alone to receive what it delivers."""
        return self._meeting is not None

    def __call__(self, array: Array, group: Group) -> Array | None:
        """The reduced array, or None where this rank's content went into another rank's.

        Where a rank fails before the ranks meet, it meets them still, with NaN for its part: the root's frame is then
        dropped by name, while an absence would leave all others waiting.

        Raises
        ------
        ValueError
            If ``array``, or what an operator delivers, is not of the shape and type declared.
        """
        if self._meeting is None:
            return self._run(array, group, 0, len(self._operators))
        try:
            part = self._run(array, group, 0, self._meeting)
        except Exception:
            self.miss(group)
            raise
        total = self._operators[self._meeting](part, group)
        return None if total is None else self._run(total, group, self._meeting + 1, len(self._operators))

    def miss(self, group: Group) -> None:
        """Meet the other ranks, where they meet, with NaN for a part that cannot be had."""
        if self._meeting is not None:
            shape, dtype = self._between[self._meeting]
            self._operators[self._meeting](np.full(shape, np.nan, dtype), group)

    def _run(self, array: Array, group: Group, first: int, last: int) -> Array:
        """What the operators ``first`` to ``last`` (excluded) make of ``array``."""
        result: Array | None = array
        for number in range(first, last + 1):
            shape, dtype = self._between[number]
            if result is None or result.shape != shape or result.dtype != dtype:
                got = "nothing" if result is None else f"{result.shape} {result.dtype}"
                giver = f"operators[{number - 1}] must deliver" if number else "array must be"
                raise ValueError(f"{giver} {shape} {dtype}, got {got}")
            if number < last:
                result = self._operators[number](result, group)
        assert result is not None
        return result


def _output(operator: Operator, shape: Shape, dtype: DType) -> tuple[Shape, DType]:
    if operator.collective and dtype.kind not in "fc":
        raise ValueError(f"a collective operator's dtype must be able to say NaN for a missing part, got {dtype}")
    shape, dtype = operator.output(shape, dtype)
    return tuple(shape), np.dtype(dtype)
