"""A run's steering done again from its log, without inference: the same commands at the same steps."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from cdi.errors import RunError
from inference_insitu.steering.commands import Command, Commands
from inference_insitu.steering.encoding import OUTCOMES
from inference_insitu.steering.log import VERSION, Entry
from inference_insitu.steering.referee import Referee

_EVENTS = ("proposed", *OUTCOMES)
_KINDS: dict[str, Any] = {
    "time": str,
    "event": str,
    "step": int,
    "name": str,
    "value": float | int | None,
    "step_proposed": int,
    "origin": str,
    "once": bool,
    "rank": int,
    "reason": str,
}

Tell = Callable[[str], None]


def silently(line: str) -> None:
    """Say nothing."""


class Replay:
    """Steering that applies what a log says and nothing else; every rank reads the log for itself.

    Parameters
    ----------
    entries : the applications, in the order of their steps.
    source : the log's name in errors.
    referee : told of each application, so that a replay leaves a log of its own.
    tell : told, in one line, of commands that were not reached.
    """

    def __init__(
        self, entries: Iterable[Entry], source: str, referee: Referee | None = None, tell: Tell = silently
    ) -> None:
        self._entries = deque(entries)
        self._source = source
        self._referee = referee or Referee()
        self._tell = tell
        self._last: int | None = None

    def step(self, step: int, proposals: Sequence[Command] = ()) -> tuple[Command, ...]:
        """The logged commands of ``step``, whatever the ``proposals``.

        Raises
        ------
        ValueError
            Unless ``step`` is beyond the last.
        RunError
            If the log holds a command for a step that this run has passed over.
        """
        if step < 0 or (self._last is not None and step <= self._last):
            raise ValueError(f"step must be at least 0 and beyond the last one ({self._last}), got {step}")
        if self._entries and self._entries[0].step < step:
            missed = self._entries[0]
            passed = f"begins at step {step}" if self._last is None else f"goes from step {self._last} to {step}"
            raise RunError(
                f"{self._source} applies '{missed.command}' at step {missed.step}, but this run {passed}: "
                "replay it with the configuration that it was logged with"
            )
        self._last = step
        due = []
        while self._entries and self._entries[0].step == step:
            entry = self._entries.popleft()
            self._referee.note(entry)
            due.append(entry.command)
        return tuple(due)

    def close(self) -> None:
        """End the replay's own log; what the log held for later steps is told."""
        if self._entries:
            first = self._entries[0].step
            self._tell(f"{self._source}: {len(self._entries)} commands from step {first} on were not reached")
            self._entries.clear()
        self._referee.close(self._last or 0)

    def abandon(self, reason: str) -> None:
        """End the replay's own log where the run has failed."""
        self._referee.close(self._last or 0)


def read_applied(data: bytes, source: str, commands: Commands | None = None, tell: Tell = silently) -> list[Entry]:
    """The applications in a log's bytes, within the bounds of ``commands``; ``source`` is its name in errors.

    A last line that was cut short is left out, and told.

    Raises
    ------
    ValueError
        For another version, a line that is no entry, or an application out of bounds.
    """
    commands = commands or Commands()
    *lines, tail = data.split(b"\n")
    if tail:
        try:
            json.loads(tail)
            lines.append(tail)  # whole but for the line break
        except (ValueError, RecursionError):
            tell(f"{source}: the last line was cut short and is left out")
    if not lines or _object(lines[0], source, 1).get("event") != "opened":
        raise ValueError(f"{source} must begin with the opening line of a steering log")
    version = _object(lines[0], source, 1).get("version")
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"{source} must be a steering log of version {VERSION}, got version {version!r}")
    applied: list[Entry] = []
    last, closed = 0, False
    for number, line in enumerate(lines[1:], 2):
        fields = _object(line, source, number)
        if closed:
            _refuse(source, number, "nothing may follow the closing line")
        if fields.get("event") == "closed":
            closed = True
            continue
        entry = _entry(fields, source, number)
        if entry.step < last:
            _refuse(source, number, f"steps must not go back, got {entry.step} after {last}")
        last = entry.step
        if entry.event == "applied":
            reason = commands.refusal(entry.command)
            if reason:
                _refuse(source, number, reason)
            applied.append(entry)
    return applied


def _entry(fields: dict[str, Any], source: str, number: int) -> Entry:
    if fields.keys() != _KINDS.keys():
        wrong = ", ".join(map(repr, sorted(fields.keys() ^ _KINDS.keys())))
        _refuse(source, number, f"an entry must have its own keys, but differs in {wrong}")
    for key, kind in _KINDS.items():
        value = fields[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            _refuse(source, number, f"{key} must not be {value!r}")
    if fields["event"] not in _EVENTS or fields["step"] < 0 or fields["rank"] < 0:
        _refuse(source, number, f"no such event, step or rank: {fields['event']!r}, {fields['step']}, {fields['rank']}")
    try:
        names = ("name", "value", "step_proposed", "origin", "once")
        command = Command(*(fields[name] for name in names))
    except ValueError as error:
        _refuse(source, number, str(error))
    return Entry(fields["event"], fields["step"], command, fields["rank"], fields["reason"])


def _object(line: bytes, source: str, number: int) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _refuse(source, number, f"a line must be JSON, got {type(error).__name__}")
    if not isinstance(fields, dict):
        _refuse(source, number, f"a line must be a JSON object, got a {type(fields).__name__}")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"numbers must be finite, got {name}")


def _refuse(source: str, number: int, reason: str) -> NoReturn:
    raise ValueError(f"{source}, line {number}: {reason}")
