"""A worker beside a simulation as a part of what can move: finds the run's log, keeps its share, follows its rules.

A log that is not there costs the worker nothing: while frames are answered in situ it is only asked now and then, and
while they are not they stay in their rings, where the streams' policies act.
"""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from cdi.errors import RunError
from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.elsewhere import Route
from inference_insitu.inference.frame import Frame, Variable
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import PAGE, Word
from inference_insitu.transit.account import Account, Key, account_name
from inference_insitu.transit.engines.job import NAME, TransitJob
from inference_insitu.transit.engines.serving_folder import ANSWERED
from inference_insitu.transit.log.records import Alert, Answer, FrameRecord
from inference_insitu.transit.log.stream_log import LogAway, LogFull
from inference_insitu.transit.migration.config import MigrationConfig
from inference_insitu.transit.migration.local_versions import LocalVersions
from inference_insitu.transit.migration.marking import Asked
from inference_insitu.transit.migration.protocol import Site
from inference_insitu.transit.migration.rules import Rules
from inference_insitu.transit.migration.share import Connection, Share
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.operators.lives import claimed_life
from inference_insitu.watching.events import EventLog

FOLDER = "transit"
"""In the run's folder: what engine and workers know of each other."""
LOOK_S = 0.25
"""Between looks for a log, before there is one."""
RULES_S = 0.1
"""Between looks at the rules."""
RESTING_S = 0.02
"""Between looks into the log while everything is answered in situ."""
PATIENCE_S = 0.3
"""How long a call may wait for a log that is away: nothing is answered here meanwhile."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""After a log did not answer, before it is asked again."""


class MovingWorker:
    """Implements ``Elsewhere`` for worker ``worker`` of ``workers`` of the run ``run``, and ``Local`` for its share.

    Parameters
    ----------
    output : folder of the run.
    analyses : by name, as they answer here: another version that takes over stands in its place.
    streams : name of the analysis of each.
    take : keeps an answer that somebody else gave, or that was given to a frame from the log (``AnswersOfOthers``).
    heed : what is done with an alert of the engine's views.
    """

    def __init__(
        self,
        output: Path,
        run: str,
        consumers: Sequence[Consumer],
        analyses: dict[str, Analysis],
        streams: Mapping[str, str],
        *,
        worker: int,
        workers: int,
        config: MigrationConfig,
        take: Callable[[Answer], Answer],
        heed: Callable[[Alert], None],
        events: EventLog,
    ) -> None:
        self.worker = worker
        self._output, self._run, self._workers = output, run, workers
        self._consumers, self._analyses, self._streams = consumers, analyses, streams
        self._versions = LocalVersions(analyses, self._loaded)
        self._moved = output / FOLDER / f"moved-{worker}"
        self._elsewhere = self._waits = self._moved.exists() and self._moved.read_text() == run
        self._took_part = self._waits or (output / account_name(worker)).exists()
        self._config, self._take, self._heed, self._events = config, take, heed, events
        # An earlier life may have answered all that was published: no cut may lie before that.
        self._published_before = max((one.newest_step for one in consumers), default=-1)
        self._met: dict[Key, int] = {}
        self._answered: dict[Key, int] = {}
        self._account: Account | None = None
        self._share: Share | None = None
        self._next_s, self._pause_s, self._away = 0.0, FIRST_PAUSE_S, False
        self._rules, self._ruled_s, self._late = Rules(config.rules), 0.0, 0

    # What the service asks of it.

    def route(self, stream: str, rank: int, step: int) -> Route:
        """Where a frame goes."""
        key = stream, rank
        self._met[key] = max(step, self.met(key))
        if self._share is None:
            return Route.WAIT if self._waits else Route.HERE
        return self._share.route(key, step)

    def hand_over(self, frames: Sequence[tuple[Frame, int]]) -> bool:
        """Append ``frames`` to the log; False where the log does not take them now."""
        share = self._share
        if share is None or (self._away and self._resting):  # what rests is the looking into the log alone
            return False
        records = [self._record(frame, attempts) for frame, attempts in frames]
        return self._tried(lambda: share.hand_over(records))

    def _record(self, frame: Frame, attempts: int) -> FrameRecord:
        array = frame.array
        return FrameRecord(
            self._run,
            frame.stream,
            frame.step,
            frame.rank,
            array.dtype.str,
            array.shape,
            published_ns=frame.published_ns,
            sent_ns=time.time_ns(),
            attempts=attempts,
            attributes=frame.attributes,
            data=array.reshape(-1).view(np.uint8).data,
        )

    def answered(self, stream: str, rank: int, step: int, outcome: str) -> None:
        """A frame has met its end here."""
        key = stream, rank
        self._late += outcome == "late"
        self._answered[key] = max(step, self._answered.get(key, -1))

    def progress(self) -> bool:
        """Look for a log, or into it."""
        if self._resting:
            return False
        share = self._share
        if share is None:
            self._next_s = time.monotonic() + LOOK_S
            return (self._output / FOLDER / NAME).exists() and self._tried(self._join)
        busy = [False]

        def poll() -> None:
            busy[0] = share.poll()

        polled = self._tried(poll)
        self._note(share)
        if polled and share.resting:
            if self._rules and time.monotonic() - self._ruled_s > RULES_S:
                self._follow_rules(share)
            if share.settled:
                self._next_s = time.monotonic() + RESTING_S
        return busy[0]

    def _note(self, share: Share) -> None:
        """Keep on the disk whether frames are answered otherwise than as configured: a later life waits for the log."""
        if share.moved != self._elsewhere:
            self._elsewhere = share.moved
            try:
                self._moved.write_text(self._run) if share.moved else self._moved.unlink()
            except OSError as error:
                self._events.first("unnoted", "moved", error=str(error))

    def _follow_rules(self, share: Share) -> None:
        self._ruled_s = time.monotonic()
        now_ns = time.monotonic_ns()
        waiting = [ready.published_ns for consumer in self._consumers for ready in consumer.ready()]
        figures = {
            "queue": len(waiting),
            "oldest_s": (now_ns - min(waiting, default=now_ns)) * 1e-9,
            "late": self._late,
            "memory_mb": _resident_mb(),
            "in_log": share.open,
        }
        self._late = 0
        rule = self._rules.fired(figures, share.site, self._ruled_s)
        if rule is not None:
            self._events.log("migration_rule", when=rule.when, to=rule.to, **figures)
            self._tried(lambda: share.ask(Site(rule.to), rule.when))

    @property
    def settled(self) -> bool:
        """Whether every frame that was handed over has its answer, and nobody waits for this worker's word.

        An earlier life may have died within a migration, and the engine waits for its end: the log is joined first.
        """
        return not self._owes if self._share is None else self._share.settled

    @property
    def _owes(self) -> bool:
        """Whether an earlier life took part in what this run's log says, which this one has not read."""
        if not self._took_part:
            return False
        try:
            self._job()
        except (OSError, ValueError):  # there is no log, or it is of another run
            return False
        return True

    def close(self) -> None:
        """Say that no frame of this worker will follow, and in its events how those ended that were handed over."""
        share, account = self._share, self._account
        if share is None or account is None:
            return
        self._tried(share.leave)
        self._events.log(
            "transit_account", outcomes=dict(account.outcomes), in_log=account.open, unwritten=account.unwritten
        )
        account.close()
        try:
            self._versions.close()
        except Exception as error:
            self._events.log("close_failed", error=f"{type(error).__name__}: {' '.join(str(error).split())}")

    # What a migration asks of it.

    @property
    def last_met(self) -> int:
        """The last step of any frame that was seen, or may have been by an earlier life."""
        return max([self._published_before, *self._met.values()])

    @property
    def ending(self) -> bool:
        """Whether no simulation rank publishes any more."""
        return not any(one.publishing for one in self._consumers)

    def met(self, key: Key) -> int:
        """The last step of ``key`` that was seen."""
        return self._met.get(key, -1)

    def last_answered(self, key: Key) -> int:
        """The last step of ``key`` that met its end here."""
        return self._answered.get(key, -1)

    def waits_below(self, step: int) -> bool:
        """Whether a frame of an earlier step waits in a ring."""
        return any(ready.step < step for consumer in self._consumers for ready in consumer.ready())

    def analysis(self, name: str) -> Analysis:
        """The analysis, as it answers here."""
        return self._analyses[name]

    def prepared(self, name: str, version: int) -> Analysis | None:
        """``version`` of the analysis, beside the one that answers; None while it is loaded."""
        return self._versions.prepared(name, version)

    def adopt(self, name: str, version: int) -> Analysis:
        """``version`` answers here from now on."""
        return self._versions.adopt(name, version)

    def _loaded(self, name: str, version: int) -> Analysis:
        """A version of an analysis, warm; its own files lie where those of the engine do."""
        job = self._job()
        folder = Path(job.folder) / ANSWERED
        own = {"worker": self.worker, "life": claimed_life(folder)}
        analyses = Analyses(job.coupling_config(), folder, **own, versions=job.versions())
        for asked in self._keys().values():
            if asked.analysis == name:
                analyses.warm_up(name, asked.variable, version)
        return analyses.get(name, version)

    @property
    def _resting(self) -> bool:
        return time.monotonic() < self._next_s

    def _tried(self, act: Callable[[], None]) -> bool:
        """Do it; False where it fails, which is told once and not tried again for a while.

        The log may be away or full; and whatever else happens here must not cost what is answered in situ.
        """
        try:
            act()
        except Exception as error:
            if not self._away:
                expected = isinstance(error, LogAway | LogFull | OSError)
                line = f"{type(error).__name__}: {' '.join(str(error).split())}"
                where = None if expected else traceback.format_exc()
                self._events.log("log_away" if expected else "migration_failed", error=line, traceback=where)
            self._away = True
            self._next_s = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            return False
        if self._away:
            self._events.log("log_back")
        self._away, self._pause_s = False, FIRST_PAUSE_S
        return True

    def _job(self) -> TransitJob:
        job = TransitJob.read(self._output / FOLDER / NAME)
        if job.run != self._run:
            raise OSError(f"{self._output / FOLDER / NAME} must be of run {self._run}, got one of {job.run}")
        return job

    def _join(self) -> None:
        job = self._job()
        if self._account is None:
            origin_ns = min(one.region.words[Word.ORIGIN_NS] for one in self._consumers)
            self._account = Account(self._output, self.worker, origin_ns=origin_ns)
        with ExitStack() as undo:
            log = job.open_log(PATIENCE_S)
            undo.callback(log.close)
            try:
                self._share = Share(
                    Connection(log, self._run, job.store(), self._workers, job.partitions),
                    self._keys(),
                    self,
                    self._account,
                    self._take,
                    self._heed,
                    config=self._config,
                    events=self._events,
                )
            except (ValueError, RunError):  # a version that is to answer here cannot be loaded: nobody else may
                self._waits = True
                raise
            undo.pop_all()
        self._events.log("log_joined", run=self._run)

    def _keys(self) -> dict[Key, Asked]:
        """Every stream of every ring that this worker serves."""
        keys = {}
        for consumer in [*self._consumers]:
            for stream, variable in consumer.region.layout.variables.items():
                name = self._streams[stream]
                keys[stream, consumer.rank] = Asked(name, self._analyses[name].model, Variable(*variable))
        return keys


def _resident_mb() -> float:
    """Memory that this process takes now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * PAGE / 2**20
