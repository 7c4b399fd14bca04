"""A rank's proposals on their way, and the number by which one of all ranks' is chosen.

A rank posts a *claim*: how urgent its proposal is, how long it has waited, and which rank it is. The largest claim
wins, so a ``stop`` goes first, then the oldest, then the lowest rank; no two claims are equal, and nobody waits for
ever. A claim says nothing of the command: a rank that wins gives its oldest one of that urgency, so its order is kept
whatever the lag.
"""

from collections import deque

from inference_insitu.steering.commands import Command, Commands

NOBODY = 0
CAPACITY = 256
# Refusals travel too, for rank 0 keeps the log, but never before what can be done.
REFUSED, ORDINARY, URGENT = 1, 2, 3

_RANK_BITS, _AGE_BITS = 31, 24
_LAST_RANK, _LAST_AGE = (1 << _RANK_BITS) - 1, (1 << _AGE_BITS) - 1


def claim(urgency: int, age: int, rank: int) -> int:
    """A number in (0, 2^57), the larger the sooner."""
    return (urgency << _AGE_BITS | min(age, _LAST_AGE)) << _RANK_BITS | (_LAST_RANK - rank)


def rank_of(winner: int) -> int:
    """The rank that posted the claim ``winner``."""
    return _LAST_RANK - (winner & _LAST_RANK)


def urgency_of(own: int) -> int:
    """The urgency of the claim ``own``."""
    return own >> (_AGE_BITS + _RANK_BITS)


class Proposals:
    """What this rank has proposed and nobody has ruled on."""

    def __init__(self, rank: int, commands: Commands) -> None:
        if not 0 <= rank <= _LAST_RANK:
            raise ValueError(f"rank must lie in [0, 2^31), got {rank}")
        self._rank = rank
        self._commands = commands
        self._waiting: dict[int, deque[tuple[Command, int]]] = {level: deque() for level in (URGENT, ORDINARY, REFUSED)}
        self._claimed = dict.fromkeys(self._waiting, 0)
        self._calls = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, command: Command) -> str | None:
        """Take ``command``; the reason where there is no room for it."""
        urgency = URGENT if command.name == "stop" else ORDINARY
        if self._commands.refusal(command):
            urgency = REFUSED
        if len(self._waiting[urgency]) >= CAPACITY:
            return f"more than {CAPACITY} proposals of this rank wait already"
        self._waiting[urgency].append((command, self._calls))
        return None

    def next_claim(self) -> int:
        """The claim to post at this call; ``NOBODY`` where all that waits is claimed for already."""
        self._calls += 1
        for urgency, waiting in self._waiting.items():
            if len(waiting) > self._claimed[urgency]:
                _, added = waiting[self._claimed[urgency]]
                self._claimed[urgency] += 1
                return claim(urgency, self._calls - added, self._rank)
        return NOBODY

    def settled(self, own: int, winner: int) -> Command | None:
        """This rank's command where its claim ``own`` is the ``winner``; a claim that lost may be posted again."""
        if own == NOBODY:
            return None
        urgency = urgency_of(own)
        self._claimed[urgency] -= 1
        return self._waiting[urgency].popleft()[0] if own == winner else None

    def clear(self) -> list[Command]:
        """All that waits, which then waits no more."""
        left = [command for waiting in self._waiting.values() for command, _ in waiting]
        for waiting in self._waiting.values():
            waiting.clear()
        return left
