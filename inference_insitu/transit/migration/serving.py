"""What keeps a run's log and engine: a job of its own, on whatever machine, that the run may outlive and call back.

``cdi insitu transit FOLDER`` starts the log, tells the run's workers of it, starts the engine, and starts each anew
when it dies. It ends by itself when the engine has answered all, and every worker has said that nothing will follow, or
none has told anything for long.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from cdi.config import read_config
from cdi.errors import RunError
from cdi.requirements import require, require_positive
from inference_insitu.books.summary import BOOKS
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.scaling import Scaling, ScalingConfig
from inference_insitu.transit.engines.engine import DEAD, FAILED, RUNNING, RunningEngine, engine
from inference_insitu.transit.engines.job import NAME, TransitJob
from inference_insitu.transit.engines.partition import SEEN
from inference_insitu.transit.log.redis_log import RedisAddress
from inference_insitu.transit.log.redis_server import RedisServer
from inference_insitu.transit.log.stream_log import LogAway, StreamLog, lag
from inference_insitu.transit.migration.moves import Moves
from inference_insitu.transit.migration.moving_worker import FOLDER
from inference_insitu.transit.results.views import shipped_views
from inference_insitu.waiting import wait_until
from inference_insitu.watching.events import EventLog

SPECS = "worker-*.json"
METRICS = "metrics-*.prom"
LOOK_S = 0.2
SHIPPED = "shipped"
PATIENCE_S = 0.3
"""How long a call may wait for a log that is away: its server may have died, and who starts it anew is asking."""
LAST_WORD_S = 10.0
"""How long the workers of a run that has ended may tell nothing before they count as ended with it."""
LONGEST_BACKOFF_S = 30.0
"""Before an engine that keeps dying is started once more."""


@dataclass(frozen=True)
class TransitConfig:
    """How a run's frames are answered in transit.

    Parameters
    ----------
    engine : ``flink`` or ``spark``.
    log : a broker that runs already; None starts one on this machine, on loopback, with a password of its own.
    memory_bytes : of a log that is started here.
    partitions : of every stream; frames of a rank stay in one.
    parallelism, threads : how many partitions are dealt with at once, and threads that each computes with.
    scaling : bounds of the parallelism, and when it changes; it begins with ``parallelism`` within them.
    threshold_bytes : larger arrays are written once into ``payloads`` and referred to.
    payloads : folder that workers and engine see; '' for the run's folder.
    conditions : of the run (material, load, temperature), by which earlier runs are compared.
    history : folder with the tables of earlier runs; '' for none.
    views : SQL files over the answers; ``shipped`` stands for those that come with the program.
    timeout_s : how long the run may not be there, or its workers tell nothing, before it counts as ended.
    """

    engine: str = "flink"
    log: RedisAddress | None = None
    memory_bytes: int = 2 << 30
    partitions: int = 1
    parallelism: int = 1
    threads: int = 1
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    threshold_bytes: int = 1 << 18
    payloads: str = ""
    conditions: dict[str, str | float | int] = field(default_factory=dict)
    history: str = ""
    views: tuple[str, ...] = ()
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        engine(self.engine)
        require(self.memory_bytes >= 1 << 24, "memory_bytes", "be at least 16 MiB", self.memory_bytes)
        require_positive(self, "timeout_s")


class Silence:
    """Whether the workers of the run in ``output`` have told nothing for ``timeout_s``: killed, nobody says their end.

    Of a run that has closed its books, and nothing of which is ``waiting`` in the log, ``LAST_WORD_S``: a worker that
    dies when nothing is under way is not started anew. What waits and becomes no less has nobody either who says to the
    engine how a migration ended. What workers tell all the time, busy ones too, is the time of their metrics' files
    (another machine's clock: only that it changes counts).
    """

    def __init__(self, output: Path, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._output, self._timeout_s, self._clock = output, timeout_s, clock
        self._seen: tuple[dict[str, int], int] = {}, 0
        self._since_s = clock()

    def over(self, waiting: int) -> bool:
        """One look."""
        times = {path.name: path.stat().st_mtime_ns for path in self._output.glob(METRICS)}
        if not times or (times, waiting) != self._seen:  # workers that load for long tell nothing yet
            self._seen, self._since_s = (times, waiting), self._clock()
        ended = (self._output / BOOKS).exists() and not waiting
        return self._clock() - self._since_s > (min(LAST_WORD_S, self._timeout_s) if ended else self._timeout_s)


class Serving:
    """The log and the engine of the run in ``output``; ``say`` tells a person what happens."""

    def __init__(self, output: Path, config: TransitConfig, say: Callable[[str], None]) -> None:
        self._output, self._config, self._say = output.absolute(), config, say
        self._deaths = 0
        self._start_s: float | None = None

    def serve(self) -> None:
        """Until the run's workers have ended and everything is answered.

        Raises
        ------
        RunError
            If there is no run, or its workers do not come, or broker or engine cannot be started.
        ValueError
            If the folder holds the log of an earlier run, or the run's workers come and go.
        """
        spec, folder = self._spec(), self._output / FOLDER
        if read_config(CouplingConfig, spec.config).placement.scaling is not None:
            raise ValueError(
                f"{self._output} must be a run whose workers keep their ranks, got one with placement.scaling"
            )
        if (folder / NAME).exists() and (earlier := TransitJob.read(folder / NAME).run) != spec.run:
            raise ValueError(
                f"{folder} must be of run {spec.run}, got log and checkpoints of the earlier run {earlier}; remove it"
            )
        port = TransitJob.read(folder / NAME).log.port if (folder / NAME).exists() else None  # workers know it
        folder.mkdir(exist_ok=True)
        events = EventLog(self._output / "events-transit.jsonl", "transit")
        with ExitStack() as stack:
            address, server = self._config.log, None
            if address is None:
                server = RedisServer(folder / "log", memory_bytes=self._config.memory_bytes, port=port)
                stack.callback(server.stop)
                address = server.start()
            job = self._job(spec, address)
            self._running = self._program(job)
            stack.callback(lambda: self._running.kill())
            self._running.start()
            events.log("transit_started", engine=self._config.engine, run=spec.run)
            self._say(f"run {spec.run}: its log is there, the engine {self._config.engine} starts")
            with closing(job.open_log(PATIENCE_S)) as log:
                waiting = self._watch(job, log, server, events)
            status = self._running.stop()
            events.log("transit_stopped", state=status.state, problem=status.problem, waiting=waiting)
            told = f"nobody ends the wait of {waiting} records in its log" if waiting else "everything is answered"
            self._say(f"run {spec.run}: {told}, the engine has {status.state}")

    def _spec(self) -> WorkerSpec:
        """What any worker of the run is told."""

        def found() -> WorkerSpec | None:
            try:
                return WorkerSpec.read(min(self._output.glob(SPECS)))
            except (ValueError, OSError):  # not there, or not whole yet
                return None

        if not wait_until(found, timeout_s=self._config.timeout_s, interval_s=0.1):
            raise RunError(f"{self._output} must hold a coupled run, got none within {self._config.timeout_s:g} s")
        return WorkerSpec.read(min(self._output.glob(SPECS)))

    def _job(self, spec: WorkerSpec, address: RedisAddress) -> TransitJob:
        config, folder = self._config, self._output / FOLDER
        return TransitJob(
            run=spec.run,
            coupling=spec.config,
            folder=str(folder),
            log=address,
            partitions=config.partitions,
            payloads=config.payloads,
            threshold_bytes=config.threshold_bytes,
            conditions=config.conditions,
            parallelism=max(config.parallelism, config.scaling.least),
            threads=config.threads,
            views=tuple(path for one in config.views for path in (shipped_views() if one == SHIPPED else (one,))),
            history=config.history,
        )

    def _program(self, job: TransitJob) -> RunningEngine:
        return RunningEngine(engine(self._config.engine), job)

    def _watch(self, job: TransitJob, log: StreamLog, server: RedisServer | None, events: EventLog) -> int:
        """Start anew what dies, and scale, until nothing is left to be done; how many records are left behind."""
        moves = Moves(log, job.run, margin=0)  # asked for who takes part, and for no cut
        silence = Silence(self._output, self._config.timeout_s)
        scaling = Scaling(self._config.scaling, job.parallelism, time.monotonic())
        told = False
        while True:
            time.sleep(LOOK_S)
            if server is not None and server.pid is None:
                events.log("log_died")
                self._say("the log's server has died and is started anew")
                server.start()
            status = self._running.status()
            if status.state == RUNNING:
                if not told:
                    told = True
                    self._say(f"the engine runs; move a run there with: cdi insitu migrate {self._output} in_transit")
                    events.log("engine_running", pid=status.pid)
                self._deaths = 0
            elif status.state in (DEAD, FAILED):
                self._restart(status.problem, events)
            try:
                while moves.poll():
                    pass
                waiting = sum(lag(log, topic, SEEN) for topic in job.topics())
                silent = silence.over(waiting)
                if status.state == RUNNING and (silent or (moves.agreement.over and not waiting)):
                    return waiting
                if status.state == RUNNING and (wanted := scaling.due(waiting, time.monotonic())) is not None:
                    self._scale(job, wanted, waiting, events)
            except LogAway as error:
                events.first("log_away", "serving", error=str(error))

    def _scale(self, job: TransitJob, parallelism: int, waiting: int, events: EventLog) -> None:
        """Go on with another parallelism, from a savepoint."""
        events.log("engine_scales", parallelism=parallelism, waiting=waiting)
        self._say(f"{waiting} frames wait: the engine goes on with {parallelism} partitions at once")
        status = self._running.stop()
        self._running = self._program(replace(job, parallelism=parallelism))
        self._running.start(Path(status.savepoint) if status.savepoint else None)

    def _restart(self, problem: str, events: EventLog) -> None:
        """Start the engine from its last checkpoint, each time after a longer while."""
        now_s = time.monotonic()
        if self._start_s is None:
            wait_s = min(2.0**self._deaths - 1.0, LONGEST_BACKOFF_S)
            self._deaths += 1
            self._start_s = now_s + wait_s
            events.log("engine_died", problem=problem, wait_s=wait_s)
            self._say(f"the engine has ended and starts anew in {wait_s:g} s: {problem}")
        elif now_s >= self._start_s:
            self._start_s = None
            self._running.kill()
            self._running.start()
