"""Ranks as threads of which one runs at a time, in an order that a test chooses: every timing, without a clock."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

PATIENCE_S = 60.0  # no test may hang, even where the twin itself is wrong


class Interleaving:
    """Runs one body per rank. ``choices`` says who goes on at each communication; then ranks take turns.

    Where nobody can go on, every wait ends in a ``TimeoutError``, as it would after its time.
    """

    def __init__(self, ranks: int, choices: Sequence[int] = ()) -> None:
        self.ranks = ranks
        self._choices = list(choices)
        self._go = [threading.Semaphore(0) for _ in range(ranks)]
        self._back = threading.Semaphore(0)
        self._alive = list(range(ranks))
        self._stuck = 0
        self.expired = False
        self.operations: list[tuple[str, int, dict[int, Any]]] = []

    def run(self, body: Callable[["TwinCollective", int], Any]) -> list[Any]:
        """What ``body`` returns, or raises, on each rank."""
        results: list[Any] = [None] * self.ranks

        def thread(rank: int) -> None:
            self._go[rank].acquire(timeout=PATIENCE_S)
            try:
                results[rank] = body(TwinCollective(self, rank), rank)
            except Exception as error:
                results[rank] = error
            finally:
                self._alive.remove(rank)
                self._stuck = 0
                self._back.release()

        threads = [threading.Thread(target=thread, args=(rank,), daemon=True) for rank in range(self.ranks)]
        for one in threads:
            one.start()
        turn = 0
        while self._alive:
            turn += 1
            chosen = self._choices.pop(0) if self._choices else turn
            # A blocked rank that is chosen again and again is no deadlock: only full turns count.
            self.expired = not self._choices and self._stuck > 2 * len(self._alive)
            self._go[self._alive[chosen % len(self._alive)]].release()
            assert self._back.acquire(timeout=PATIENCE_S)
        for one in threads:
            one.join(PATIENCE_S)
        return results

    def pause(self, rank: int, *, blocked: bool) -> None:
        """Let another rank go on."""
        self._stuck = self._stuck + 1 if blocked and not self._choices else 0
        self._back.release()
        assert self._go[rank].acquire(timeout=PATIENCE_S)


class TwinCollective:
    """One rank's view. Ranks that call different operations at the same place fail, as they would hang on MPI."""

    def __init__(self, world: Interleaving, rank: int) -> None:
        self._world = world
        self._rank = rank
        self._calls = 0

    def start_max(self, value: int) -> "TwinPending":
        assert 0 <= value < 2**63
        given = self._give("max", -1, value)
        self._world.pause(self._rank, blocked=False)
        return TwinPending(self, given)

    def share(self, payload: bytes, root: int, timeout_s: float) -> bytes:
        assert len(payload) == 256
        given = self._give("share", root, payload)
        self.wait(lambda: root in given)
        return given[root]

    def wait(self, ready: Callable[[], bool]) -> None:
        self._world.pause(self._rank, blocked=False)
        while not ready():
            if self._world.expired:
                raise TimeoutError
            self._world.pause(self._rank, blocked=True)

    def _give(self, kind: str, root: int, value: Any) -> dict[int, Any]:
        if self._calls == len(self._world.operations):
            self._world.operations.append((kind, root, {}))
        wanted_kind, wanted_root, given = self._world.operations[self._calls]
        assert (kind, root) == (wanted_kind, wanted_root), "ranks called different operations"
        self._calls += 1
        given[self._rank] = value
        return given

    @property
    def size(self) -> int:
        return self._world.ranks


class TwinPending:
    def __init__(self, collective: TwinCollective, given: dict[int, int]) -> None:
        self._collective = collective
        self._given = given

    def result(self, timeout_s: float) -> int:
        self._collective.wait(lambda: len(self._given) == self._collective.size)
        return max(self._given.values())
