"""The process beside a run that learns from it: ``cdi insitu learn FOLDER``.

It collects frames with truth, trains on them once enough are new, judges what comes of it, and has a better version
take over by the protocol by which frames move (``migration.protocol``). It then compares what the version answers with
what the one before would have, and has that one take over again where it was better. It steps back before the
simulation, and a run does not miss it when it dies: started again it goes on from its reservoirs and from what the
moves say.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cdi.config import write_config
from cdi.errors import RunError
from inference_insitu.transit.engines.job import NAME, TransitJob
from inference_insitu.transit.learning.background import Background
from inference_insitu.transit.learning.collecting import Collecting
from inference_insitu.transit.learning.config import LearningConfig
from inference_insitu.transit.learning.examples import Example
from inference_insitu.transit.learning.frozen_set import FrozenSet
from inference_insitu.transit.learning.judgement import Verdict, compared, regressed, verdict
from inference_insitu.transit.learning.plugin import build_trainer
from inference_insitu.transit.learning.scoring import Scoring
from inference_insitu.transit.learning.watching_version import WatchedVersion
from inference_insitu.transit.log.codec import decoded
from inference_insitu.transit.log.records import Answer, PoisonedRecordError
from inference_insitu.transit.log.stream_log import ANSWERS, LogAway, StreamLog, Topic
from inference_insitu.transit.migration.moves import Moves
from inference_insitu.transit.migration.moving_worker import FOLDER
from inference_insitu.transit.migration.protocol import Ended
from inference_insitu.transit.migration.request import BusyError, take_over
from inference_insitu.transit.operators.versions import Version, Versions, file_sha256
from inference_insitu.waiting import wait_until
from inference_insitu.watching.events import EventLog

LEARNING = "learning"
"""In the job's folder: reservoirs, the resolved configuration, the frozen set's hash."""
LOOK_S = 0.5
AGAIN_S = 2.0
"""Before a takeover is asked for again that could not begin, because the query moves just then."""
PATIENCE_S = 5.0
_AT_A_TIME = 256


class Learner:
    """Learns beside the run in ``output``; ``say`` tells a person what happens.

    Raises
    ------
    ValueError
        If plugin, its options or the frozen set do not fit.
    RunError
        If there is no run with a log.
    """

    def __init__(self, output: Path, config: LearningConfig, say: Callable[[str], None]) -> None:
        self._output, self._config, self._say = output.absolute(), config, say
        self._trainer = build_trainer(config.plugin, config.options)
        path = self._output / FOLDER / NAME
        if not wait_until(path.exists, timeout_s=config.timeout_s, interval_s=0.1):
            raise RunError(f"{output} must be a run with a log, got none; start one with: cdi insitu transit {output}")
        self._job = TransitJob.read(path)
        coupling = self._job.coupling_config()
        if config.analysis not in coupling.analyses:
            raise ValueError(f"analysis must be one of {', '.join(coupling.analyses)}, got {config.analysis!r}")
        self._options = coupling.analyses[config.analysis].options
        self._versions: Versions = self._job.versions()
        self._folder = Path(self._job.folder) / LEARNING
        self._folder.mkdir(parents=True, exist_ok=True)
        write_config(config, self._folder / "config.yaml")
        self._frozen = FrozenSet(Path(config.frozen), self._folder, self._trainer)
        self._scoring = Scoring(coupling, self._versions, config.analysis, self._trainer)
        self._events = EventLog(self._output / "events-learner.jsonl", "learner")
        self._moves = Moves(self._log_of(PATIENCE_S), self._job.run, margin=coupling.migration.margin)
        self._tried, self._answers_read = 0, 0
        self._watched: WatchedVersion | None = None

    def learn(self, stop: threading.Event) -> None:
        """Until the run is over, its log has been away for ``timeout_s``, or ``stop``.

        Raises
        ------
        RunError
            If the frozen set has changed.
        OSError
            If the disk does not take what is kept.
        """
        os.nice(self._config.nice)
        background = Background(self._collecting, 2 * self._config.rule.regression_frames, self._events)
        self._tried = background.came
        self._events.log("learning_started", pid=os.getpid(), frozen=self._frozen.sha256[:16], **background.figures)
        self._say(f"learns beside run {self._job.run}: {len(self._frozen.examples)} frames in the frozen set")
        there_s = time.monotonic()
        with closing(background), closing(self._log_of(PATIENCE_S)) as log:
            while not stop.wait(LOOK_S):
                try:
                    if self._look(background, log):
                        break
                    there_s = time.monotonic()
                except LogAway as error:
                    self._events.first("log_away", "learning", error=str(error))
                    if time.monotonic() - there_s > self._config.timeout_s:
                        break
            self._events.log("learning_stopped", **background.figures)

    def _look(self, background: Background, log: StreamLog) -> bool:
        """Do what is due; whether the run is over."""
        background.check()
        while self._moves.poll():
            pass
        if self._moves.agreement.over:
            return True
        self._watch(background, log)
        enough = background.came - self._tried >= self._config.every
        if enough and background.figures["held_out"] >= self._config.rule.least:
            self._tried = background.came
            self._attempt(background)
        return False

    def _attempt(self, background: Background) -> None:
        """Train, judge, and let a version that is better take over."""
        current = self._moves.agreement.version(self._config.analysis)
        training, held_out = background.kept()
        number = self._versions.next_number(self._config.analysis)
        self._say(f"version {number} is trained on {len(training)} frames")
        started = time.monotonic()
        try:
            version = self._made(number, current, training)
            self._versions.write(version)
            self._events.log("version_made", **self._named(number), of=current, trained_on=len(training))
            found = self._judged(number, current, held_out)
        except Exception as error:  # whatever a plugin raises, and a model that does not load
            self._refuse(number, f"{type(error).__name__}: {' '.join(str(error).split())}", {})
            self._frozen.check()  # what has changed there is no reason to train again
            return
        figures = {**found.to_json(), "seconds": round(time.monotonic() - started, 1)}
        if found.why:
            self._refuse(number, found.why, figures)
            return
        self._events.log("version_accepted", **self._named(number), of=current, figures=figures)
        self._say(f"version {number} is better: {_shown(found)}")
        self._take_over(number, "version_not_taken")

    def _made(self, number: int, current: int, training: Sequence[Example]) -> Version:
        analysis = self._config.analysis
        options = self._versions.read(analysis, current).over(self._options) if current else self._options
        self._versions.folder.mkdir(parents=True, exist_ok=True)
        output = self._versions.path(analysis, number, "")
        made, files = self._trainer.trained(options, training, output, seed=number, threads=self._config.threads)
        hashes = {str(path): file_sha256(path) for path in files}
        record = {"trained_on": len(training), "frozen_sha256": self._frozen.sha256}
        return Version(analysis, number, dict(made), hashes, current, record)

    def _judged(self, number: int, current: int, held_out: Sequence[Example]) -> Verdict:
        self._frozen.check()
        sets = []
        for examples in (held_out, self._frozen.examples):
            old, new = (self._scoring.scores(version, examples) for version in (current, number))
            sets.append(compared(old, new, [one.group for one in examples], self._config.rule))
        self._scoring.forget((current, number), [*held_out, *self._frozen.examples])
        return verdict(sets[0], sets[1], self._config.rule)

    def _refuse(self, number: int, why: str, figures: dict[str, Any]) -> None:
        """Tell why, and let the disk have its weights back."""
        self._events.log("version_refused", **self._named(number), why=why, figures=figures)
        self._say(f"version {number} is refused: {why}")
        stem = self._versions.path(self._config.analysis, number, "")
        for path in stem.parent.glob(f"{stem.name}.*"):
            if path.suffix != ".json":
                path.unlink()

    def _take_over(self, number: int, failed: str, **more: Any) -> Ended | None:
        """Ask until ``number`` has taken over; None where it could not within the time."""
        end_s = time.monotonic() + self._config.timeout_s
        while True:
            left_s = max(end_s - time.monotonic(), 1.0)
            try:
                return take_over(self._output, self._config.analysis, number, timeout_s=left_s, say=self._say)
            except (RunError, ValueError, LogAway) as error:
                if time.monotonic() + AGAIN_S > end_s or not isinstance(error, BusyError):
                    self._events.log(failed, **self._named(number), why=str(error), **more)
                    self._say(str(error))
                    return None
            time.sleep(AGAIN_S)

    def _watch(self, background: Background, log: StreamLog) -> None:
        """Compare what a version answers since it took over with what the one before would have."""
        self._begin_watch()
        watched = self._watched
        fresh = background.fresh()
        if watched is None:
            return
        for one in fresh:
            watched.see(one)
        self._hear(watched, log)
        since = watched.since(self._scoring)
        if since is None:
            return
        self._events.log("version_watched", **self._named(watched.version), of=watched.before, **since.to_json())
        if regressed(since, self._config.rule):
            told = {"to": watched.before, "figures": since.to_json()}
            ended = self._take_over(watched.before, "version_not_taken", **told)
            if ended is not None:
                self._events.log("version_rolled_back", **self._named(watched.version), cut=ended.cut, **told)
                self._say(f"version {watched.version} was worse than {watched.before}, which answers again")

    def _begin_watch(self) -> None:
        """The version that answers is watched where it is a later one than the one that it was made of."""
        moved = [one for one in self._moves.ended if isinstance(one, Ended) and one.committed and one.analysis]
        self._moves.ended.clear()
        for ended in moved:
            if ended.analysis != self._config.analysis:
                continue
            self._watched = None
            if ended.version and ended.cut is not None:
                before = self._versions.read(ended.analysis, ended.version).of
                if before < ended.version:
                    self._watched = WatchedVersion(ended.version, before, ended.cut, self._config.rule)

    def _hear(self, watched: WatchedVersion, log: StreamLog) -> None:
        while stored := log.read(Topic(self._job.run, ANSWERS), after=self._answers_read, count=_AT_A_TIME):
            for one in stored:
                self._answers_read = one.offset
                try:
                    record = decoded(one)
                except PoisonedRecordError:  # told by the worker, which reads it too
                    continue
                if isinstance(record, Answer) and record.analysis == self._config.analysis:
                    watched.hear(record)

    def _collecting(self, see: Callable[[Example], None]) -> Collecting:
        log, config = self._log_of(PATIENCE_S), self._config
        return Collecting(
            self._job, log, self._folder, config.analysis, config.reservoir, self._trainer, see, self._events
        )

    def _log_of(self, patience_s: float) -> StreamLog:
        return self._job.open_log(patience_s)

    def _named(self, number: int) -> dict[str, Any]:
        return {"analysis": self._config.analysis, "version": number}


def _shown(found: Verdict) -> str:
    one, two = found.held_out, found.frozen
    return f"{one.old:.3f} → {one.new:.3f} on held-out frames, {two.old:.3f} → {two.new:.3f} on the frozen set"
