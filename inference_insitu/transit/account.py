"""The account of frames that were handed over to the log: each gets its row once somebody has answered it.

The ledger of a simulation rank ends such a frame as ``handed_over``, for the simulation never waits for an engine. What
became of it stands in ``transit-<worker>.csv``, with the columns of a ledger. Both together balance: as many rows there
as frames handed over, but for those that lie in the log when the run ends.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from inference_insitu.books.ledger import COLUMNS
from inference_insitu.books.outcomes import INFERRED
from inference_insitu.inference.sinks import WholeLines
from inference_insitu.transit.log.records import Answer

Key = tuple[str, int]
"""Stream and simulation rank: what has a state of its own, and steps in order."""
SET_ASIDE = "the engine set it aside"


def account_name(worker: int) -> str:
    """File name of the account of ``worker``."""
    return f"transit-{worker}.csv"


class Account:
    """Rows in ``folder`` of the frames that ``worker`` hands over; those of its earlier lives are known.

    Parameters
    ----------
    origin_ns : the run's origin of time on this machine's clock.
    """

    def __init__(self, folder: Path, worker: int, *, origin_ns: int) -> None:
        path = folder / account_name(worker)
        self._origin_ns = origin_ns
        self.unwritten = 0
        """Rows that the disk did not take."""
        self._settled: dict[Key, int] = {}
        self._open: dict[Key, list[int]] = defaultdict(list)
        self.outcomes = Counter[str]()
        """How many frames ended how, in all lives."""
        for key, step, outcome in _rows(path) if path.exists() else ():
            self._settled[key] = max(step, self._settled.get(key, -1))
            self.outcomes[outcome] += 1
        self._file = WholeLines(path)
        if self._file.size == 0:
            self._file.append(",".join(COLUMNS).encode() + b"\n")

    @property
    def open(self) -> int:
        """Frames handed over that nobody has answered."""
        return sum(map(len, self._open.values()))

    def settled(self, key: Key) -> int:
        """The last step of ``key`` that has its row; −1 before the first."""
        return self._settled.get(key, -1)

    def passed(self, key: Key, step: int) -> None:
        """Whoever answered ``key`` has gone as far as ``step``: what has no answer by now will have none."""
        self._end(key, step + 1, [])
        self._settled[key] = max(step, self.settled(key))

    def expect(self, key: Key, step: int) -> None:
        """A frame lies in the log; it is known before its answer comes."""
        if step > self.settled(key) and step not in self._open[key][-1:]:
            self._open[key].append(step)

    def settle(self, answer: Answer, now_ns: int) -> bool:
        """Keep how a frame ended; False where that is known already.

        Answers of a key come in the order of its steps: what was expected before and has none will have none. A full
        disk costs rows, as with a ledger, and nothing else.
        """
        key = answer.stream, answer.rank
        if answer.step <= self.settled(key):
            return False
        self._end(key, answer.step, [_row(answer, now_ns, self._origin_ns)])
        self._open[key] = [step for step in self._open[key] if step > answer.step]
        self._settled[key] = answer.step
        self.outcomes[answer.outcome] += 1
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _end(self, key: Key, step: int, rows: list[list[object]]) -> None:
        """Write ``rows`` behind those of what was expected of ``key`` before ``step``."""
        steps = self._open[key]
        aside = [step_before for step_before in steps if step_before < step]
        failed = [[*key, one, "accepted", "failed", SET_ASIDE, "", "", "", "", 1, ""] for one in aside]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*failed, *rows])
        try:
            self._file.append(text.getvalue().encode())
        except OSError:
            self.unwritten += len(failed) + len(rows)
        self._open[key] = [one for one in steps if one >= step]
        self.outcomes.update(["failed"] * len(aside))


def _row(answer: Answer, now_ns: int, origin_ns: int) -> list[object]:
    latency_s = (now_ns - answer.published_ns) * 1e-9
    times = (latency_s - answer.inferred_s, answer.inferred_s, latency_s)
    told = [f"{one:.6f}" for one in times] if answer.outcome == INFERRED else [""] * 3
    published_s = f"{(answer.published_ns - origin_ns) * 1e-9:.6f}"
    reason = " ".join(answer.detail.split())
    row = [answer.stream, answer.rank, answer.step, "accepted", answer.outcome, reason, published_s]
    return [*row, *told, answer.attempts + 1, answer.model]


def _rows(path: Path) -> Iterator[tuple[Key, int, str]]:
    """What the whole lines of an account say; a line that a kill cut is left out."""
    text = path.read_text(errors="replace")
    for row in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])):
        if (row["rank"] or "").isdecimal() and (row["step"] or "").isdecimal():
            yield (row["stream"], int(row["rank"])), int(row["step"]), row["outcome"]
