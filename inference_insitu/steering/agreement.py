"""How all simulation ranks apply a command at the same step, without ever waiting for each other in the usual case.

At each call a rank completes the maximum of all ranks' claims started ``lag`` calls before, which by then has long
arrived, and starts the next one. Only where somebody won does the call communicate more: the winner's command goes to
all, then rank 0's ruling on it. All ranks see the same maxima in the same order, so all take the same way through this
code.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, TypeVar

from cdi.errors import RunError
from inference_insitu.steering.collective import Collective, Pending
from inference_insitu.steering.commands import Command
from inference_insitu.steering.encoding import NOTHING, decode, decode_ruling, encode, encode_ruling
from inference_insitu.steering.log import Entry
from inference_insitu.steering.proposals import NOBODY, Proposals, rank_of
from inference_insitu.steering.referee import Referee

T = TypeVar("T")

CLOSING_ROUNDS = 64


class Steering(Protocol):
    """What a coupling asks at each step; agreed on by the ranks, or read from a log."""

    def step(self, step: int, proposals: Sequence[Command] = ()) -> tuple[Command, ...]:
        """The commands that every rank applies at ``step``."""

    def close(self) -> None:
        """No further step comes, on any rank."""

    def abandon(self, reason: str) -> None:
        """This rank has failed: no further step, and no word to the others."""


class Agreement:
    """Steering agreed on by all ranks of ``collective``.

    Parameters
    ----------
    collective : the ranks' communicator, used by nothing else.
    rank : this rank in it.
    referee : rank 0's rules on every proposal.
    lag : calls between a claim and its answer, the same on every rank; 0 waits for the answer at once.
    timeout_s : the longest wait for the other ranks, in seconds.
    unheard : told of this rank's proposals that no other rank hears of; None tells the referee's log.
    """

    def __init__(
        self,
        collective: Collective,
        rank: int,
        referee: Referee,
        *,
        lag: int = 1,
        timeout_s: float = 60.0,
        unheard: Callable[[Entry], None] | None = None,
    ) -> None:
        if lag < 0:
            raise ValueError(f"lag must be at least 0, got {lag}")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s must be positive, got {timeout_s}")
        self._collective = collective
        self._rank = rank
        self._referee = referee
        self._unheard = unheard or referee.note
        self._lag = lag
        self._timeout_s = timeout_s
        self._proposals = Proposals(rank, referee.commands)
        self._posted: deque[tuple[Pending, int]] = deque()
        self._last: int | None = None
        self._over = ""

    def step(self, step: int, proposals: Sequence[Command] = ()) -> tuple[Command, ...]:
        """The commands that every rank applies at ``step``; collective.

        A proposal made at one call is applied ``lag`` calls later at the earliest, and one in a call. One that lost to
        another rank's is posted again as soon as that is known.

        Raises
        ------
        ValueError
            Unless ``step`` is beyond the last.
        RunError
            If another rank did not take part within ``timeout_s``, or is at another step.
        """
        if self._over:
            raise RunError(f"steering has ended: {self._over}")
        if step < 0 or (self._last is not None and step <= self._last):
            raise ValueError(f"step must be at least 0 and beyond the last one ({self._last}), got {step}")
        self._last = step
        for command in proposals:
            reason = self._proposals.add(command)
            if reason:
                self._unheard(Entry("refused", step, command, self._rank, reason))
        commands: tuple[Command, ...] = ()
        if self._lag == 0:
            self._post()
        if len(self._posted) >= max(self._lag, 1):
            _, commands = self._settle(step, ended=False)
        if self._lag > 0:  # after the answer, so that a claim which lost goes out again at this very call
            self._post()
        return commands

    def close(self) -> None:
        """Complete what is under way, in the same order on every rank, apply none of it, and log it; collective.

        Raises
        ------
        RunError
            As ``step``.
        """
        if self._over:
            return
        step = self._last or 0
        while self._posted:
            self._settle(step, ended=True)
        for _ in range(CLOSING_ROUNDS):
            self._post()
            anybody, _ = self._settle(step, ended=True)
            if not anybody:
                break
        self._leave("it was closed")

    def abandon(self, reason: str) -> None:
        """Leave without a word to the other ranks, where this rank has failed; they end by their timeout."""
        if not self._over:
            self._leave(reason)

    def _post(self) -> None:
        own = self._proposals.next_claim()
        self._posted.append((self._collective.start_max(own), own))

    def _settle(self, step: int, *, ended: bool) -> tuple[bool, tuple[Command, ...]]:
        """Whether anybody had claimed at the oldest call under way, and what is to be applied of it."""
        pending, own = self._posted.popleft()
        winner = self._bounded(step, lambda: pending.result(self._timeout_s))
        mine = self._proposals.settled(own, winner)
        if winner == NOBODY:
            return False, ()
        root = rank_of(winner)
        payload = self._share(step, encode(mine) if mine else NOTHING, root)
        try:
            command = decode(payload)
        except ValueError as error:
            self._fail(f"the proposal of rank {root} at step {step} arrived damaged: {error}")
        verdict = NOTHING
        if self._rank == 0:
            verdict = encode_ruling(self._referee.rule(command, step, root, ended=ended))
        ruling = decode_ruling(self._share(step, verdict, 0))
        if ruling.step != step:
            self._fail(
                f"every rank must be at the same step, got {step} on rank {self._rank} and {ruling.step} on rank 0"
            )
        if self._rank != 0:
            self._referee.note(Entry(ruling.outcome, step, command, root, ruling.reason))
        return True, (command,) if ruling.outcome == "applied" else ()

    def _share(self, step: int, payload: bytes, root: int) -> bytes:
        return self._bounded(step, lambda: self._collective.share(payload, root, self._timeout_s))

    def _bounded(self, step: int, wait: Callable[[], T]) -> T:
        try:
            return wait()
        except TimeoutError as error:
            line = f"the ranks did not agree at step {step} within {self._timeout_s:g} s: one has stopped or is late"
            self._leave(line)
            raise RunError(f"steering: {line} (steering.timeout_s)") from error
        except Exception as error:  # the communicator's own; after it the ranks no longer take the same way
            self._leave(f"its communication failed: {error}")
            raise

    def _fail(self, line: str) -> NoReturn:
        self._leave(line)
        raise RunError(f"steering: {line}")

    def _leave(self, reason: str) -> None:
        self._over = reason
        self._posted.clear()
        step = self._last or 0
        for command in self._proposals.clear():
            self._unheard(Entry("expired", step, command, self._rank, f"steering ended: {reason}"))
        self._referee.close(step)
