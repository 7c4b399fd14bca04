"""What became of the frames that were handed over to the stream log: ``transit-<worker>.csv``, one row for each.

The ledgers say of such a frame that it was handed over and no more; the accounts of the workers say how it ended.
Both together balance: a row for every frame handed over, but for those that lay in the log when the run ended.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from inference_insitu.books.outcomes import HANDED_OVER
from inference_insitu.watching.events import Event, read_events
from inference_insitu.watching.ledger_files import Ledger, read_ledger

PATTERN = "transit-*.csv"
_ALLOWED = {HANDED_OVER, "lost"}
"""What a ledger may say of a frame that was answered out of the log: a worker may die between the two."""

Key = tuple[str, int, int]


@dataclass(frozen=True)
class InTransit:
    """``rows`` of all workers' accounts, and how many frames lay ``in_log`` by the last word of each worker."""

    rows: Ledger
    in_log: int = 0

    @property
    def outcomes(self) -> dict[str, int]:
        """How many frames ended how."""
        return self.rows.fate.counts()


def read_in_transit(folder: str | Path, events: Iterable[Event] | None = None) -> InTransit:
    """The accounts in ``folder``; ``events`` are its events, where they are read already."""
    told = read_events(folder) if events is None else events
    last = {event.who: event.fields.get("in_log") for event in told if event.event == "transit_account"}
    return InTransit(read_ledger(folder, PATTERN), sum(count for count in last.values() if isinstance(count, int)))


def transit_imbalances(ledger: Ledger, transit: InTransit, *, ended: bool) -> list[str]:
    """What does not add up between the ledgers and the accounts of frames handed over, one line each.

    Parameters
    ----------
    ended : whether the run has: before, frames without a row are under way.
    """
    fates = dict(zip(_keys(ledger), (ledger.fate.names[code] for code in ledger.fate.codes), strict=True))
    answered = Counter(_keys(transit.rows))
    found = [f"{transit.rows.repeated()} rows of {PATTERN} repeat another row"] if transit.rows.repeated() else []
    for fate, count in sorted(Counter(fates.get(key, "not there") for key in answered).items()):
        if fate not in _ALLOWED:
            found.append(f"{count} rows of {PATTERN} are of frames that the ledgers call {fate!r}")
    without = sum(fate == HANDED_OVER and key not in answered for key, fate in fates.items())
    if ended and without != transit.in_log:
        found.append(
            f"{without} frames handed over have no row in {PATTERN}, and by the workers' last words "
            f"{transit.in_log} lay in the log"
        )
    return found


def _keys(ledger: Ledger) -> list[Key]:
    streams = [ledger.stream.names[code] for code in ledger.stream.codes]
    return list(zip(streams, ledger.rank.tolist(), ledger.step.tolist(), strict=True))
