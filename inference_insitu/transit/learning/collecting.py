"""Frames with truth out of a run's log into reservoirs: one to train on, one to judge by, and what came last."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from inference_insitu.ring.consumer import finite
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.learning.config import ReservoirConfig
from inference_insitu.transit.learning.examples import (
    CRYSTAL,
    TRUTH,
    Example,
    example,
    from_bytes,
    is_held_out,
    to_bytes,
    truth_of,
)
from inference_insitu.transit.learning.plugin import Trainer
from inference_insitu.transit.learning.reservoir import Reservoir
from inference_insitu.transit.log.codec import decoded
from inference_insitu.transit.log.records import FrameRecord, PoisonedRecordError
from inference_insitu.transit.log.retention import LEARNER, MOST_BEHIND
from inference_insitu.transit.log.stream_log import Stored, StreamLog, Topic
from inference_insitu.watching.events import EventLog

TRAINING, HELD_OUT = "training", "held_out"
_AT_A_TIME = 32


class Collecting:
    """Reads the topics of ``job`` whose frames ``analysis`` answers.

    It is a reader of its own: for its sake the log keeps no more than ``MOST_BEHIND`` records of a topic, and what was
    removed before it came to it is ``missed``.

    Parameters
    ----------
    folder : of the reservoirs.
    see : is shown each frame with truth of the held-out share, kept or not.

    Attributes
    ----------
    came, aside, missed : frames with truth so far in this life; those whose truth is none; records that were gone.
    """

    def __init__(
        self,
        job: TransitJob,
        log: StreamLog,
        folder: Path,
        analysis: str,
        config: ReservoirConfig,
        trainer: Trainer,
        see: Callable[[Example], None],
        events: EventLog,
    ) -> None:
        self._log, self._store, self._config = log, job.store(), config
        self._trainer, self._see, self._events = trainer, see, events
        self.training = Reservoir(folder / TRAINING, places=config.frames, seed=config.seed)
        self.held_out = Reservoir(folder / HELD_OUT, places=config.held_out, seed=config.seed + 1)
        streams = job.coupling_config().streams
        self._read: dict[Topic, int] = {}
        for topic in job.topics():
            if streams[topic.stream].analysis == analysis:
                before = [one.taken.get(topic.name, 0) for one in (self.training, self.held_out)]
                self._read[topic] = min(before)  # a kill may have come between the two commits
        self.came = self.aside = self.missed = 0
        for topic in self._read:
            self._commit(topic)

    def poll(self) -> bool:
        """Take in what is new; whether there was anything.

        Raises
        ------
        LogAway
            If the broker is away; nothing is lost.
        OSError
            If the disk does not take a frame.
        """
        found = False
        for topic in self._read:
            found |= self._poll(topic)
        return found

    def close(self) -> None:
        """Let the log keep nothing for us any more."""
        for topic in self._read:
            self._log.forget(topic, LEARNER)

    def examples(self, reservoir: Reservoir) -> list[Example]:
        """What ``reservoir`` holds now; a frame that was damaged on the disk is told and left out."""
        found = []
        for path in reservoir.files:
            try:
                record = from_bytes(path.read_bytes())
                found.append(example(record, _inline(record), self._config.block))
            except (ValueError, OSError) as error:
                self._events.first("frame_damaged", path.name, file=str(path), error=str(error))
        return found

    def _poll(self, topic: Topic) -> bool:
        self._skip(topic)
        stored = self._log.read(topic, after=self._read[topic], count=_AT_A_TIME)
        if not stored:
            return False
        for one in stored:
            self._take(topic, one)
        for reservoir in (self.training, self.held_out):
            reservoir.commit(topic.name, stored[-1].offset)
        self._read[topic] = stored[-1].offset
        self._commit(topic)
        return True

    def _commit(self, topic: Topic) -> None:
        """What lies behind is wanted; also where the log had stopped waiting for us."""
        self._log.register(topic, LEARNER)
        self._log.commit(topic, LEARNER, self._read[topic])

    def _skip(self, topic: Topic) -> None:
        """Pass over what is gone, or too far back to be waited for."""
        standing = self._log.standing(topic)
        least = max(standing.first - 1, standing.last - MOST_BEHIND)
        if self._read[topic] < least:
            self.missed += least - self._read[topic]
            self._read[topic] = least
            self._events.first("frames_missed", topic.name, topic=topic.name, missed=self.missed)

    def _take(self, topic: Topic, stored: Stored) -> None:
        try:
            record = decoded(stored)
        except PoisonedRecordError:  # told by the engine, which reads it too
            return
        if not isinstance(record, FrameRecord) or record.attributes.get(TRUTH) is None:
            return
        try:
            checked = self._checked(record)
            data = self._store.read(record.data)
            shown = example(checked, data, self._config.block)
            if not finite(shown.array):
                raise ValueError("the frame holds NaN or infinity")
        except (ValueError, OSError) as error:
            self.aside += 1
            told = {"stream": record.stream, "rank": record.rank, "step": record.step}
            self._events.first("truth_set_aside", topic.name, **told, error=" ".join(str(error).split())[:500])
            return
        self.came += 1
        held_out = is_held_out(shown.group, self._config.held_out_share)
        content = to_bytes(_with_data(checked, data))
        if len(content) > self._config.frame_bytes:
            most = self._config.frame_bytes
            self._events.first("frame_too_large", topic.name, bytes=len(content), most_bytes=most)
            return
        (self.held_out if held_out else self.training).offer(content, topic.name, stored.offset)
        if held_out:
            self._see(shown)

    def _checked(self, record: FrameRecord) -> FrameRecord:
        """``record`` with its truth as the trainer keeps it."""
        truth = truth_of(record.attributes) or {}
        named = {name: truth[name] for name in (CRYSTAL,) if name in truth}
        kept = {**self._trainer.checked({k: v for k, v in truth.items() if k not in named}), **named}
        return replace(record, attributes={**record.attributes, TRUTH: kept})


def _inline(record: FrameRecord) -> bytes | memoryview:
    if not isinstance(record.data, bytes | memoryview):
        raise ValueError("a kept frame must hold its array")
    return record.data


def _with_data(record: FrameRecord, data: bytes | memoryview) -> FrameRecord:
    return replace(record, data=data)
