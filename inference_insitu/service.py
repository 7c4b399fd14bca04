"""The inference rank's side: takes frames, predicts, stores, answers; until the simulation says ``end``.

Whatever the network does with a frame (raise, return NaN), the answer names an outcome and the
simulation goes on.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from cdi.errors import RunError
from cdi.pattern import Exposure
from inference_insitu.books import INFERRED
from inference_insitu.config import PatternConfig
from inference_insitu.frame import Frame, Outcome
from inference_insitu.transport import Link, Message, wait_until
from models.prediction import Prediction


class Predictor(Protocol):
    """What predicts: ``models.predictor.Predictor``, or anything that keeps its promise."""

    def predict(self, exposures: Sequence[Exposure]) -> list[Prediction]:
        """One prediction for each exposure."""


@dataclass(frozen=True)
class Result:
    """A prediction for ``frame``, what the network saw, and how long prediction took (seconds)."""

    frame: Frame
    exposure: Exposure
    prediction: Prediction
    seconds: float
    published: int
    dropped: int


class Sink(Protocol):
    """Where results go."""

    def __call__(self, result: Result) -> None:
        """Take one result; ``OSError`` where it cannot be kept."""

    def close(self) -> None:
        """The stream has ended."""


def serve(
    link: Link, predictor: Predictor, sinks: Sequence[Sink], *, detector: PatternConfig, silence_timeout_s: float
) -> Counter[str]:
    """Answer frames until the end; outcomes by name.

    Raises
    ------
    RunError
        If nothing is heard from the simulation for ``silence_timeout_s``.
    """
    counts: Counter[str] = Counter()
    told: set[str] = set()
    while True:
        message = _next_message(link, silence_timeout_s)
        if message.kind == "hello":
            link.send(Message("ready", {"clock": time.monotonic()}))
        elif message.kind == "frame":
            outcome = _answer(message, predictor, sinks, detector)
            counts[outcome.outcome] += 1
            link.send(outcome.to_message())
            if outcome.text and outcome.text not in told:
                told.add(outcome.text)
                print(f"cdi: step {outcome.step} {outcome.outcome}: {outcome.text}", file=sys.stderr, flush=True)
        elif message.kind == "end":
            # Whoever reads "closed" may read what the sinks wrote.
            for sink in sinks:
                sink.close()
            link.send(Message("closed", dict(counts)))
            wait_until(lambda: link.pending() == 0, timeout_s=silence_timeout_s)
            return counts


def _next_message(link: Link, silence_timeout_s: float) -> Message:
    arrived: list[Message] = []

    def look() -> bool:
        message = link.receive()
        if message is not None:
            arrived.append(message)
        return message is not None

    if not wait_until(look, timeout_s=silence_timeout_s):
        raise RunError(f"nothing heard from the simulation for {silence_timeout_s:g} s (coupling.silence_timeout_s)")
    return arrived[0]


def _answer(message: Message, predictor: Predictor, sinks: Sequence[Sink], detector: PatternConfig) -> Outcome:
    """Predict one frame and say what became of it; no failure of the network leaves this function."""
    started = time.monotonic()
    step = int(message.fields["step"])

    def outcome(name: str, text: str = "") -> Outcome:
        now = time.monotonic()
        return Outcome(step, name, now, now - started, text)

    try:
        frame = Frame.from_message(message)
        if not frame.finite:
            return outcome("nonfinite", "the pattern holds NaN or infinity")
        exposure = frame.exposure(detector)
        (prediction,) = predictor.predict([exposure])
    except FloatingPointError as error:
        return outcome("nonfinite", " ".join(str(error).split())[:200])
    except Exception as error:
        return outcome("failed", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    if not _finite(prediction):
        return outcome("nonfinite", "the prediction holds NaN or infinity")
    seconds = time.monotonic() - started
    result = Result(frame, exposure, prediction, seconds, message.fields["published"], message.fields["dropped"])
    try:
        for sink in sinks:
            sink(result)
    except OSError as error:
        return outcome("unsaved", " ".join(str(error).split())[:200])
    return outcome(INFERRED)


def _finite(prediction: Prediction) -> bool:
    numbers: tuple[ArrayLike, ...] = (
        prediction.defect_probability,
        prediction.class_probabilities,
        prediction.count_probabilities,
        prediction.line_density,
        prediction.support,
        prediction.phase,
        *(line.points_A for line in prediction.lines),
        *(line.windings for line in prediction.lines),
    )
    return all(bool(np.isfinite(value).all()) for value in numbers)
