"""The topic of moves, read from its beginning: what this worker knows of the agreement."""

from inference_insitu.transit.log.codec import decoded_as, encoded
from inference_insitu.transit.log.records import Move, PoisonedRecordError
from inference_insitu.transit.log.stream_log import MOVES, StreamLog, Topic
from inference_insitu.transit.migration.protocol import Agreement, Ended, Refused

_AT_A_TIME = 256


class Moves:
    """Folds the moves of ``run`` into ``agreement``.

    Parameters
    ----------
    margin : as every other reader's, or they would not agree.
    """

    def __init__(self, log: StreamLog, run: str, *, margin: int) -> None:
        self._log, self._run, self._read = log, run, 0
        self.agreement = Agreement(margin=margin)
        self.ended: list[Ended | Refused] = []
        """How the requests ended that were met since it was last emptied."""

    def say(self, move: Move) -> int:
        """Append ``move``; its offset."""
        offset = self._log.append(Topic(self._run, MOVES), encoded(move))
        assert offset is not None  # without a number of its writer every append is kept
        return offset

    def poll(self, *, wait_s: float = 0.0) -> bool:
        """Read what is new; whether there was anything. Damaged moves change nothing, for any reader alike."""
        found = self._log.read(Topic(self._run, MOVES), after=self._read, count=_AT_A_TIME, wait_s=wait_s)
        for stored in found:
            self._read = stored.offset
            try:
                move = decoded_as(Move, stored)
            except PoisonedRecordError:
                continue
            before = self.agreement.last
            self.agreement = self.agreement.after(stored.offset, move)
            if self.agreement.last is not before and self.agreement.last is not None:
                self.ended.append(self.agreement.last)
        return bool(found)
