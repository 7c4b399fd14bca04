"""One worker's share of a run's frames: where each goes, and what the worker does when the run's query moves."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from inference_insitu.inference.elsewhere import Route
from inference_insitu.transit.account import Account, Key
from inference_insitu.transit.log.codec import decoded
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import (
    RELEASE,
    Alert,
    Answer,
    Control,
    FrameRecord,
    Move,
    PoisonedRecordError,
    Said,
)
from inference_insitu.transit.log.stream_log import StreamLog, Topic
from inference_insitu.transit.migration.catching_up import CatchingUp
from inference_insitu.transit.migration.config import MigrationConfig
from inference_insitu.transit.migration.from_engine import FromEngine
from inference_insitu.transit.migration.heard import RefusedError, heard
from inference_insitu.transit.migration.inward import Inward, install_states
from inference_insitu.transit.migration.local import Local
from inference_insitu.transit.migration.marking import Asked, Marking, mark_id
from inference_insitu.transit.migration.moves import Moves
from inference_insitu.transit.migration.moving import Moving
from inference_insitu.transit.migration.outward import Outward
from inference_insitu.transit.migration.protocol import Ended, Migration, Refused, Site
from inference_insitu.transit.migration.taking_over import TakingOver, TakingOverInSitu, TakingOverInTransit
from inference_insitu.watching.events import EventLog

COMMIT_S = 1.0
"""How often it is said what will not be asked for again, while nothing moves."""
_AT_A_TIME = 256


@dataclass(frozen=True)
class Connection:
    """The log of ``run``, as one of its ``workers`` uses it; a stream has so many ``partitions``."""

    log: StreamLog
    run: str
    store: PayloadStore
    workers: int
    partitions: int = 1


class Share:
    """The frames of ``keys``, which worker ``local.worker`` serves.

    What speaks to the log raises ``LogAway`` or ``LogFull`` where it cannot; nothing is lost then, and the next call
    goes on.

    Parameters
    ----------
    keys : streams and ranks of this worker, and who answers them.
    account : of the frames that this worker has handed over.
    take : keeps an answer, and gives it back as it is to stand in the account.
    heed : what is done with an alert that a view of the engine gives on a frame of these keys.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Mapping[Key, Asked],
        local: Local,
        account: Account,
        take: Callable[[Answer], Answer],
        heed: Callable[[Alert], None] = lambda alert: None,
        *,
        config: MigrationConfig,
        events: EventLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._store, self._local = connection.log, connection.store, local
        self._account = account
        self._config, self._events, self._clock = config, events, clock
        self._run = connection.run
        self._marking = Marking(self._log, connection.run, self._store, keys, partitions=connection.partitions)
        self._moves = Moves(self._log, connection.run, margin=config.margin)
        self._reader = f"worker-{local.worker}"
        self._engine = FromEngine(self._log, self._reader, self._marking, account, take, heed, events)
        self._outcomes: dict[int, Ended] = {}
        self._moving: Moving | None = None
        self._catching: CatchingUp | None = None
        self._states_of: int | None = None
        self._inherited: int | None = None
        self._unsaid: list[Move] = []
        self._begun_s = self._committed_s = 0.0
        self._aborted = 0
        self._join(connection.workers)

    @property
    def site(self) -> Site:
        """Where this worker's frames are answered, but for those of a migration that is under way."""
        return self._moves.agreement.site

    @property
    def moved(self) -> bool:
        """Whether frames are answered elsewhere, or by another version, than the configuration says."""
        return self.site is not Site.IN_SITU or any(self._moves.agreement.versions.values())

    @property
    def open(self) -> int:
        """Frames in the log that nobody has answered."""
        return self._account.open

    @property
    def resting(self) -> bool:
        """Whether nothing of a migration is left to be done."""
        return self._moving is None and self._free and not self._unsaid

    @property
    def settled(self) -> bool:
        """Whether every frame that was handed over has its answer."""
        return not self.open and self._free

    @property
    def _free(self) -> bool:
        """Whether nothing of an earlier migration is left to be done."""
        return self._catching is None and self._states_of is None and self._inherited is None

    def route(self, key: Key, step: int) -> Route:
        """Where the frame of ``key`` at ``step`` goes now."""
        if self._inherited is not None:
            return Route.WAIT
        if self._states_of is not None or step <= self._account.settled(key):
            return Route.AWAY
        if self._catching is not None:
            return self._catching.route(key)
        if self._moving is not None:
            return self._moving.route(key, step)
        return Route.HERE if self.site is Site.IN_SITU else Route.AWAY

    def hand_over(self, records: Sequence[FrameRecord]) -> None:
        """Append frames that go ``AWAY``; they are durable when this returns.

        Those of a key are given in the order of their steps: one that is answered has been there before.
        """
        together: list[FrameRecord] = []
        for one in records:
            key = one.stream, one.rank
            if one.step <= self._account.settled(key):
                continue
            mark = None if self._moving is None else self._moving.mark_before(key, one.step)
            if mark is not None:
                self._append(together)
                together = []
                mark()
            together.append(one)
        self._append(together)

    def _append(self, records: Sequence[FrameRecord]) -> None:
        self._marking.frames(records)
        for one in records:
            self._account.expect((one.stream, one.rank), one.step)

    def poll(self) -> bool:
        """Take in what the log says and go on; whether anything happened."""
        self._flush()
        busy = self._read_moves()
        busy |= self._engine.poll()
        self._follow()
        if self._inherited in self._outcomes:
            self._go_on()
        if self._states_of is not None:
            self._take_states(self._states_of)
        if self._catching is not None:
            busy = True
            if self._catching.advance():
                self._caught_up(self._catching)
        elif self._moving is None and self._free and self._clock() - self._committed_s > COMMIT_S:
            self._commit()
        return busy

    def _take_states(self, migration: int) -> None:
        """Go on from the states that the engine gave back to an earlier life; without those that do not fit."""
        try:
            states = heard(self._marking, migration, RELEASE)
            install_states(states, self._marking, self._local, self._account)
        except RefusedError as error:
            self._events.log("state_lost", id=migration, error=str(error))
        else:
            if not states:
                return
        self._states_of = None
        self._catch_up()

    def ask(self, to: Site, why: str) -> None:
        """Ask for a migration."""
        self._say(Move(self._run, Said.REQUEST, worker=self._local.worker, to=to, why=why))

    def leave(self) -> None:
        """This worker has nothing to answer any more."""
        self._say(Move(self._run, Said.GONE, worker=self._local.worker))

    def _join(self, workers: int) -> None:
        """Take part, from where an earlier life of this worker was."""
        for topic in self._marking.topics:
            self._log.register(topic, self._reader)
        while self._read_moves(told=True):
            pass
        self._say(Move(self._run, Said.JOINED, worker=self._local.worker, step=workers))
        agreement = self._moves.agreement
        if agreement.migration is None:
            self._go_on()
        else:
            self._abort(agreement.migration.id, f"worker {self._local.worker} was started anew")
            self._inherited = agreement.migration.id

    def _go_on(self) -> None:
        """Do what an earlier life of this worker has not done of the last migration, which has ended."""
        agreement, in_situ = self._moves.agreement, self.site is Site.IN_SITU
        for analysis, version in agreement.versions.items():
            self._marking.adopt(analysis, version, self._local.adopt(analysis, version).model)
        records: list[FrameRecord | Control] = []
        for topic, committed in self._committed().items():
            # In situ, what was committed is answered; in transit it is the engine's.
            records += self._left(topic, after=committed if in_situ else self._log.standing(topic).first - 1)
        for record in records:
            if isinstance(record, FrameRecord):
                self._account.expect((record.stream, record.rank), record.step)
        if not in_situ:
            self._marking.resume(max(self._outcomes), self._marking.keys)
        elif agreement.moved is not None and any(
            isinstance(record, Control) and record.id == mark_id(agreement.moved.id, RELEASE) for record in records
        ):
            self._states_of = agreement.moved.id
        elif self._outcomes:
            self._catch_up()
        self._inherited = None

    def _committed(self) -> dict[Topic, int]:
        return {topic: self._log.committed(topic).get(self._reader, 0) for topic in self._marking.topics}

    def _left(self, topic: Topic, *, after: int) -> Iterator[FrameRecord | Control]:
        """Frames and marks of this worker's keys that lie in ``topic``."""
        while stored := self._log.read(topic, after=max(after, 0), count=_AT_A_TIME):
            for one in stored:
                after = one.offset
                try:
                    record = decoded(one)
                except PoisonedRecordError:
                    continue
                if isinstance(record, FrameRecord | Control) and (record.stream, record.rank) in self._marking.keys:
                    yield record

    def _follow(self) -> None:
        """Do what the agreement asks of this worker."""
        agreement, moving = self._moves.agreement, self._moving
        migration, now_s = agreement.migration, self._clock()
        if moving is not None and (migration is None or migration.id != moving.id):
            self._conclude(moving, self._outcomes[moving.id])
            moving = self._moving = None
        if moving is None and migration is not None and self._free and migration.id != self._aborted:
            moving = self._moving = self._part_in(migration)
            self._begun_s = now_s
            self._tell_begun(migration)
        if moving is None or moving.id == self._aborted:
            return
        try:
            self._unsaid += moving.advance(agreement, now_s, self._config.idle_s)
            self._flush()
        except RefusedError as error:
            self._abort(moving.id, str(error))
        if now_s - self._begun_s > self._config.timeout_s:
            self._abort(moving.id, f"it was not done within {self._config.timeout_s:g} s")

    def _part_in(self, migration: Migration) -> Moving:
        told = migration.id, self._local, self._marking, self._account, self._config.margin
        away = migration.to is Site.IN_TRANSIT
        if not migration.analysis:
            return (Outward if away else Inward)(*told)
        kind: type[TakingOver] = TakingOverInTransit if away else TakingOverInSitu
        return kind(*told, analysis=migration.analysis, version=migration.version)

    def _conclude(self, moving: Moving, ended: Ended) -> None:
        moving.conclude(ended)
        self._marking.forget()
        if isinstance(moving, TakingOver):
            self._tell_of_version(moving, ended)
        if self.site is Site.IN_SITU:
            if not ended.analysis:  # nothing goes into the log for a version that takes over here
                self._catch_up()
        else:
            self._commit()

    def _catch_up(self) -> None:
        self._catching = CatchingUp(
            self._log,
            self._marking,
            self._store,
            self._local,
            self._committed(),
            account=self._account,
            take=self._engine.keep,
        )

    def _caught_up(self, catching: CatchingUp) -> None:
        """The ring has the rest: the engine may forget what waits there."""
        if self._outcomes:
            self._marking.let_go(max(self._outcomes), self._marking.keys)
        self._commit()
        self._catching = None
        self._events.log("migration", phase="caught_up", frames=catching.frames)

    def _commit(self) -> None:
        """What lies in the log now is answered, or is the engine's."""
        self._committed_s = self._clock()
        for topic in self._marking.topics:
            self._log.commit(topic, self._reader, self._log.standing(topic).last)
        self._engine.commit()

    def _read_moves(self, *, told: bool = False) -> bool:
        """Read what is new; ``told`` are moves of which an earlier life has told."""
        busy = self._moves.poll()
        while self._moves.ended:
            ended = self._moves.ended.pop(0)
            if isinstance(ended, Ended):
                self._outcomes[ended.id] = ended
            if not told:
                self._tell(ended)
        return busy

    def _tell_begun(self, migration: Migration) -> None:
        if migration.analysis:
            self._events.log(
                "version_prepared", id=migration.id, analysis=migration.analysis, version=migration.version
            )
        else:
            self._events.log("migration", phase="begun", id=migration.id, to=migration.to)

    def _tell_of_version(self, moving: TakingOver, ended: Ended) -> None:
        if ended.committed:
            model = self._local.analysis(ended.analysis).model
            for why in moving.anew:
                self._events.log("state_lost", id=ended.id, error=why)
            told = {"analysis": ended.analysis, "version": ended.version, "model": model, "cut": ended.cut}
            self._events.log("version_took_over", id=ended.id, **told)

    def _tell(self, ended: Ended | Refused) -> None:
        if isinstance(ended, Refused):
            self._events.log("migration", phase="refused", id=ended.id, why=ended.why)
            return
        if ended.analysis:
            if not ended.committed:
                told = {"analysis": ended.analysis, "version": ended.version, "why": ended.why}
                self._events.log("version_not_taken", id=ended.id, **told)
            return
        phase = "committed" if ended.committed else "aborted"
        self._events.log("migration", phase=phase, id=ended.id, to=ended.to, cut=ended.cut, why=ended.why)

    def _abort(self, migration: int, why: str) -> None:
        if migration != self._aborted:
            self._aborted = migration
            self._say(Move(self._run, Said.ABORT, id=migration, worker=self._local.worker, why=why))

    def _say(self, move: Move) -> None:
        """Append ``move``, now or when the log is there again."""
        self._unsaid.append(move)
        self._flush()

    def _flush(self) -> None:
        while self._unsaid:
            self._moves.say(self._unsaid[0])
            self._unsaid.pop(0)
