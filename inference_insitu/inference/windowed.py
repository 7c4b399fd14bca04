"""An analysis that remembers: another one's answers, each with what the last steps of its stream and rank had."""

import json
from collections import deque
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from cdi.requirements import require
from inference_insitu.inference.analysis import Analysis, Values, build_analysis
from inference_insitu.inference.frame import Frame, Variable

MOST_STEPS = 1 << 16


class Windowed(Analysis):
    """Answers as ``plugin`` does, with the key ``window`` beside: mean, largest and change of some of its numbers.

    Parameters
    ----------
    plugin, options : the analysis that answers.
    of : which of its numbers; one that an answer lacks is left out there.
    steps : how many answers of a stream and rank the window holds.
    """

    def __init__(
        self,
        *,
        plugin: str = "defects",
        options: dict[str, Any] | None = None,
        of: Sequence[str] = ("count", "line_density_per_A2"),
        steps: int = 16,
    ) -> None:
        require(1 <= steps <= MOST_STEPS, "steps", f"lie in [1, {MOST_STEPS}]", steps)
        require(bool(of), "of", "name a number of the answers", of)
        self._inner = build_analysis(plugin, options or {})
        self._of, self._steps = tuple(of), steps
        self._windows: dict[tuple[str, int], deque[tuple[float | None, ...]]] = {}
        self.wants_device = self._inner.wants_device

    @property
    def model(self) -> str:  # type: ignore[override]
        """That of the analysis within."""
        return self._inner.model

    def open(self, output: Path, worker: int, incarnation: int) -> None:
        """Told on."""
        self._inner.batching = self.batching
        self._inner.open(output, worker, incarnation)

    def warm_up(self, variable: Variable) -> None:
        """Told on."""
        self._inner.warm_up(variable)

    def answer(self, frames: Sequence[Frame]) -> Sequence[Values]:
        """The answers of the analysis within, and their windows."""
        answers = list(self._inner.answer(frames))
        if len(answers) != len(frames):
            raise ValueError(f"the analysis within must answer {len(frames)} frames, got {len(answers)} answers")
        numbers = [tuple(_number(answer.get(name)) for name in self._of) for answer in answers]
        return [
            {**answer, "window": self._followed(frame, row)}
            for frame, answer, row in zip(frames, answers, numbers, strict=True)
        ]

    def state(self, stream: str, rank: int) -> bytes:
        """The numbers in the window, and the inner analysis' own state behind them."""
        window = self._windows.get((stream, rank), ())
        head = json.dumps({"of": self._of, "rows": list(window)}, allow_nan=False).encode()
        return len(head).to_bytes(8, "little") + head + self._inner.state(stream, rank)

    def install(self, stream: str, rank: int, state: bytes) -> None:
        """As ``Analysis``."""
        rows, inner = self._read(state) if state else ((), b"")
        self._inner.install(stream, rank, inner)
        self._windows[stream, rank] = deque(rows, self._steps)

    def close(self) -> None:
        """Told on."""
        self._inner.close()

    def _followed(self, frame: Frame, row: tuple[float | None, ...]) -> dict[str, Any]:
        window = self._windows.setdefault((frame.stream, frame.rank), deque(maxlen=self._steps))
        window.append(row)
        found: dict[str, Any] = {"frames": len(window)}
        for name, column in zip(self._of, zip(*window, strict=True), strict=True):
            values = [value for value in column if value is not None]
            if values:
                found[name] = {
                    "mean": sum(values) / len(values),
                    "largest": max(values),
                    "change": values[-1] - values[0],
                }
        return found

    def _read(self, state: bytes) -> tuple[list[tuple[float | None, ...]], bytes]:
        end = 8 + int.from_bytes(state[:8], "little")
        try:
            head = json.loads(state[8:end])
            of, rows = tuple(head["of"]), [tuple(map(_number, row)) for row in head["rows"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"state must be a window's, got {len(state)} bytes: {error}") from error
        if of != self._of or any(len(row) != len(of) for row in rows):
            raise ValueError(f"state must be of a window over {', '.join(self._of)}, got one over {of}")
        return rows, state[end:]


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if plain else None
