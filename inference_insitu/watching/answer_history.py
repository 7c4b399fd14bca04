"""The numbers that analyses said, step by step, in memory that does not grow with the run."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

MOST_STREAMS = 64
MOST_NAMES = 16
MOST_STEPS = 1024


@dataclass
class Spread:
    """Mean and extremes of one number over the frames (ranks) of one step."""

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, value: float) -> None:
        """One more frame said ``value``."""
        self.count += 1
        self.total += value
        self.least, self.most = min(self.least, value), max(self.most, value)

    def row(self) -> list[float]:
        """Mean, least, most."""
        return [self.total / self.count, self.least, self.most]


@dataclass
class StreamHistory:
    """Steps of one stream that are kept: every ``stride``-th, in the order in which new ones came, and the newest."""

    names: list[str] = field(default_factory=list)
    steps: dict[int, dict[str, Spread]] = field(default_factory=dict)
    """Ascending."""
    stride: int = 1
    newest: int | None = None
    answers: int = 0
    _seen: int = 0
    _newest_stays: bool = True

    def add(self, step: int, values: dict[str, float]) -> None:
        """An answer of ``step``; one of an earlier step counts where that step is kept."""
        self.answers += 1
        if self.newest is None or step > self.newest:
            self._begin(step)
        row = self.steps.get(step)
        if row is None:
            return
        for name, value in values.items():
            if name in self.names or self._takes(name):
                row.setdefault(name, Spread()).add(value)

    def _begin(self, step: int) -> None:
        if self.newest is not None and not self._newest_stays:
            del self.steps[self.newest]
        self.newest, self._newest_stays = step, self._seen % self.stride == 0
        self._seen += 1
        self.steps[step] = {}
        if len(self.steps) > MOST_STEPS:
            self.stride *= 2
            self.steps = dict(list(self.steps.items())[::2])
            # The newest is the last of an odd number of steps, so it is among those kept.
            assert step in self.steps

    def _takes(self, name: str) -> bool:
        if len(self.names) < MOST_NAMES:
            self.names.append(name)
            return True
        return False


class AnswerHistory:
    """Histories of up to ``MOST_STREAMS`` streams out of lines of ``results-*.jsonl``.

    Of one stream at most ``MOST_NAMES`` numbers are kept, at most ``MOST_STEPS`` steps of each.
    """

    def __init__(self) -> None:
        self.streams: dict[str, StreamHistory] = {}
        self.unreadable = 0

    def add(self, line: str) -> None:
        """One line; one that is no answer is counted."""
        try:
            answer = json.loads(line)
            stream, step, values = str(answer["stream"]), int(answer["step"]), answer["values"]
            numbers = {str(name): float(value) for name, value in values.items() if _is_number(value)}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            self.unreadable += 1
            return
        if stream not in self.streams:
            if len(self.streams) >= MOST_STREAMS:
                return
            self.streams[stream] = StreamHistory()
        self.streams[stream].add(step, numbers)

    def columns(self, stream: str) -> dict[str, Any]:
        """Steps of ``stream``, and for each number a list of [mean, least, most], None where a step has none."""
        history = self.streams.get(stream, StreamHistory())
        return {
            "stream": stream,
            "steps": list(history.steps),
            "stride": history.stride,
            "series": {
                name: [row[name].row() if name in row else None for row in history.steps.values()]
                for name in history.names
            },
        }


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and abs(value) < math.inf
