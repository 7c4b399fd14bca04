"""Answers to a batch of frames out of the log: what the worker in situ does, without its ring."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_insitu.books.outcomes import INFERRED
from inference_insitu.inference.analysis import Analysis, Values, answers_or_errors, plain_values
from inference_insitu.inference.frame import Frame
from inference_insitu.ring.consumer import finite
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import Answer, FrameRecord, PoisonedRecordError

MOST_ATTEMPTS = 3
"""A frame that was being answered when its engine died so often is given up as ``lost``."""
MOST_DETAIL = 1000
MOST_VALUES_BYTES = 900_000
"""An answer lies in the header of its record."""


@dataclass(frozen=True)
class Turn:
    """A frame whose turn has come: its place in the log, and how often an engine died with it."""

    offset: int
    record: FrameRecord
    attempts: int = 0

    @property
    def bucket(self) -> tuple[str, tuple[int, ...]]:
        """Frames of one type and shape are answered together."""
        return self.record.dtype, self.record.shape


def answers_to(name: str, analysis: Analysis, turns: Sequence[Turn], store: PayloadStore) -> list[Answer]:
    """What ``analysis``, called ``name``, says to ``turns``, computed as one batch; each has an outcome."""
    settled: dict[int, tuple[str, str]] = {}
    frames: dict[int, Frame] = {}
    for turn in turns:
        found = _frame(turn, store)
        if isinstance(found, Frame):
            frames[turn.offset] = found
        else:
            settled[turn.offset] = found
    started = time.monotonic_ns()
    said = dict(zip(frames, answers_or_errors(analysis, name, [*frames.values()]), strict=True)) if frames else {}
    seconds = (time.monotonic_ns() - started) * 1e-9
    values: dict[int, Mapping[str, Any]] = {}
    for offset, answer in said.items():
        settled[offset], values[offset] = _settled(answer)
    return [
        _answer(turn, name, analysis.model, settled[turn.offset], values.get(turn.offset, {}), seconds, len(frames))
        for turn in turns
    ]


def _frame(turn: Turn, store: PayloadStore) -> Frame | tuple[str, str]:
    """The frame, or outcome and reason where it cannot be answered."""
    if turn.attempts >= MOST_ATTEMPTS:
        return "lost", f"the engine died with it {turn.attempts} times"
    record = turn.record
    try:
        array = record.array(store.read(record.data))
    except (PoisonedRecordError, OSError) as error:
        return "failed", f"it cannot be reached: {error}"
    if not finite(array):
        return "nonfinite", "the frame holds NaN or infinity"
    return Frame(record.stream, record.rank, record.step, array, record.attributes, record.published_ns)


def _settled(answer: Values | BaseException) -> tuple[tuple[str, str], Mapping[str, Any]]:
    try:
        if isinstance(answer, BaseException):
            raise answer
        values = plain_values(answer)
        if (size := len(json.dumps(values))) > MOST_VALUES_BYTES:
            raise ValueError(f"its values must have at most {MOST_VALUES_BYTES} bytes as JSON, got {size}")
        return (INFERRED, ""), values
    except FloatingPointError as error:
        return ("nonfinite", " ".join(str(error).split())), {}
    except (Exception, SystemExit) as error:
        return ("failed", f"{type(error).__name__}: {' '.join(str(error).split())}"), {}


def _answer(
    turn: Turn, name: str, model: str, settled: tuple[str, str], values: Mapping[str, Any], seconds: float, batch: int
) -> Answer:
    record = turn.record
    return Answer(
        record.run,
        record.stream,
        record.step,
        record.rank,
        analysis=name,
        model=model,
        outcome=settled[0],
        values=values,
        detail=settled[1][:MOST_DETAIL],
        published_ns=record.published_ns,
        sent_ns=record.sent_ns,
        answered_ns=time.time_ns(),
        inferred_s=seconds,
        batch=batch,
        attempts=record.attempts + turn.attempts,
        attributes=_scalars(record.attributes),
    )


def _scalars(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What views can group by and compare: load, time, temperature; no arrays."""
    return {name: value for name, value in attributes.items() if isinstance(value, bool | int | float | str)}
