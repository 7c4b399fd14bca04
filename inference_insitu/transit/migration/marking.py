"""What a worker asks of the stream engine: marks between the frames of its ranks, and the replies to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inference_insitu.inference.frame import Variable
from inference_insitu.transit.account import Key
from inference_insitu.transit.log.codec import encoded
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import (
    INSTALL,
    LET_GO,
    LOAD,
    PREPARE,
    RELEASE,
    RESUME,
    SWITCH,
    Control,
    FrameRecord,
    Reply,
)
from inference_insitu.transit.log.stream_log import Once, Record, StreamLog, Topic, frames_topic

_ORDER = (PREPARE, LOAD, RELEASE, SWITCH, INSTALL, RESUME, LET_GO)
"""Of a migration's marks on one key: who repeats one, after a restart, adds nothing."""


@dataclass(frozen=True)
class Asked:
    """Who answers the frames of a key, and of which form they are at most."""

    analysis: str
    model: str
    variable: Variable
    version: int = 0


class Marking:
    """Appends to the topics of frames of ``run`` and keeps what the engine replies.

    Parameters
    ----------
    keys : those of this worker, and who answers them.
    partitions : of a stream.
    """

    def __init__(
        self, log: StreamLog, run: str, store: PayloadStore, keys: Mapping[Key, Asked], *, partitions: int
    ) -> None:
        self._log, self.run, self._store, self._partitions = log, run, store, partitions
        self.keys = dict(keys)
        self._replies: dict[tuple[str, Key], Reply] = {}

    def topic(self, key: Key) -> Topic:
        """Where the frames and marks of ``key`` lie."""
        return frames_topic(self.run, *key, self._partitions)

    @property
    def topics(self) -> set[Topic]:
        """All topics of this worker's keys."""
        return {self.topic(key) for key in self.keys}

    def prepare(self, migration: int, keys: Iterable[Key]) -> None:
        """Let the engine load and warm up, and show the model; frames behind wait there."""
        for key in keys:
            asked = self.keys[key]
            self._mark(key, PREPARE, migration, number=asked.version, model=asked.model, **_form(asked))

    def load(self, migration: int, keys: Iterable[Key], version: int) -> None:
        """Let the engine load and warm up ``version`` beside the one that answers, and show its model."""
        for key in keys:
            self._mark(key, LOAD, migration, number=version, **_form(self.keys[key]))

    def switch(self, migration: int, key: Key, step: int) -> None:
        """What lies before is answered; frames from ``step`` on wait for the version that ``resume`` names."""
        self._mark(key, SWITCH, migration, step=step)

    def adopt(self, analysis: str, version: int, model: str) -> None:
        """``version`` answers for ``analysis`` from now on, and shows ``model``."""
        for key, asked in self.keys.items():
            if asked.analysis == analysis:
                self.keys[key] = replace(asked, version=version, model=model)

    def install(self, migration: int, key: Key, step: int, state: bytes) -> None:
        """``state`` holds before ``step``; frames from there on still wait."""
        self._mark(key, INSTALL, migration, step=step, data=state)

    def resume(self, migration: int, keys: Iterable[Key]) -> None:
        """What waits is answered by the version that is agreed on, and what follows."""
        for key in keys:
            self._mark(key, RESUME, migration, number=self.keys[key].version)

    def release(self, migration: int, key: Key, step: int) -> None:
        """What lies before is answered, then the state is given back; frames behind wait."""
        self._mark(key, RELEASE, migration, step=step)

    def let_go(self, migration: int, keys: Iterable[Key]) -> None:
        """What waits is answered here."""
        for key in keys:
            self._mark(key, LET_GO, migration)

    def frames(self, records: Sequence[FrameRecord]) -> None:
        """Append frames, durably; those that are there already are not appended again."""
        by_topic: dict[Topic, list[tuple[Record, Once | None]]] = {}
        for one in records:
            appended = encoded(self._store.laid_out(one)), one.once
            by_topic.setdefault(self.topic((one.stream, one.rank)), []).append(appended)
        for topic, group in by_topic.items():
            self._log.append_all(topic, group)

    def take(self, reply: Reply) -> None:
        """The engine has replied; of several replies to one mark the first holds, as they repeat one another."""
        if (reply.stream, reply.rank) in self.keys:
            self._replies.setdefault((f"{reply.id}", (reply.stream, reply.rank)), reply)

    def reply(self, migration: int, action: str, key: Key) -> Reply | None:
        """What the engine said to the mark ``action`` of ``migration``; None yet."""
        return self._replies.get((mark_id(migration, action), key))

    def forget(self) -> None:
        """Replies of migrations that have ended."""
        self._replies.clear()

    def state(self, reply: Reply) -> bytes:
        """The state that came with ``reply``.

        Raises
        ------
        PoisonedRecordError
            If it is not there, or damaged.
        """
        return bytes(self._store.read(reply.data))

    def _mark(self, key: Key, action: str, migration: int, **more: Any) -> None:
        stream, rank = key
        mark = Control(self.run, stream, rank, action, mark_id(migration, action), **more)
        once = Once(f"marks/{stream}/{rank}", migration * len(_ORDER) + _ORDER.index(action))
        self._log.append(self.topic(key), encoded(self._store.laid_out(mark)), once=once)


def _form(asked: Asked) -> dict[str, Any]:
    variable = asked.variable
    return {"analysis": asked.analysis, "dtype": np.dtype(variable.dtype).str, "shape": variable.shape}


def mark_id(migration: int, action: str) -> str:
    """What replies to the mark ``action`` of ``migration`` repeat."""
    return f"{migration}.{action}"
