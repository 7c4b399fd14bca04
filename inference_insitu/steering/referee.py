"""Rank 0's say: bounds once more, what was done already, the veto, and nothing done that is not in the log."""

from collections.abc import Callable
from contextlib import suppress

from inference_insitu.steering.commands import Command, Commands
from inference_insitu.steering.encoding import Ruling
from inference_insitu.steering.log import Entry, Log, NoLog

Veto = Callable[[Command], str | None]


class Referee:
    """Decides of proposals; every rank has one, rank 0's is asked.

    Parameters
    ----------
    commands : what may be asked for.
    veto : the user's; a reason not to apply a command, or None. Where it raises, the command is vetoed.
    log : rank 0's ``steering.jsonl``; other ranks tell theirs what they hear.
    """

    def __init__(self, commands: Commands | None = None, veto: Veto | None = None, log: Log | None = None) -> None:
        self.commands = commands or Commands()
        self._veto = veto
        self._log = log or NoLog()
        self._done: dict[str, int] = {}  # step at which a command that asks once was applied, by origin

    def rule(self, command: Command, step: int, rank: int, *, ended: bool) -> Ruling:
        """The ruling on ``command`` of ``rank`` at ``step``; it is in the log before anybody acts on it."""
        self.note(Entry("proposed", step, command, rank))
        ruling = self._decided(command, step, ended=ended)
        try:
            self._log.write(Entry(ruling.outcome, step, command, rank, ruling.reason))
        except OSError as error:
            if ruling.outcome == "applied":
                return Ruling("refused", step, f"it cannot be logged: {error}")
        if ruling.outcome == "applied" and command.once:
            self._done[command.origin] = step
        return ruling

    def note(self, entry: Entry) -> None:
        """Tell the log; a run goes on without it."""
        with suppress(OSError):
            self._log.write(entry)

    def close(self, step: int) -> None:
        """End the log."""
        with suppress(OSError):
            self._log.close(step)

    def _decided(self, command: Command, step: int, *, ended: bool) -> Ruling:
        reason = self.commands.refusal(command)
        if reason:
            return Ruling("refused", step, reason)
        if command.once and command.origin in self._done:
            return Ruling(
                "refused", step, f"it is asked for once, and was applied at step {self._done[command.origin]}"
            )
        if ended:
            return Ruling("expired", step, "the run ended before it could be applied")
        reason = self._vetoed(command)
        return Ruling("vetoed", step, reason) if reason else Ruling("applied", step)

    def _vetoed(self, command: Command) -> str | None:
        if self._veto is None:
            return None
        try:
            return self._veto(command)
        except Exception as error:  # the other ranks wait for a ruling
            return f"the veto failed: {type(error).__name__}: {error}"
