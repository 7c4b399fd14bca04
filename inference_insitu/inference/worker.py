"""The worker process: ``python -m inference_insitu.inference.worker SPEC INCARNATION``.

It is no MPI rank and imports no MPI. It ends by itself when every simulation rank has said that it
ends, or has died; what a dead one left is then accounted for and removed.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cdi.config import read_config
from cdi.errors import RunError
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.analysis import Analysis, build_analysis
from inference_insitu.inference.batching import Batcher
from inference_insitu.inference.elsewhere import Elsewhere, Nowhere
from inference_insitu.inference.estate import settle_estate
from inference_insitu.inference.frame import Variable
from inference_insitu.inference.heartbeat import Heartbeat
from inference_insitu.inference.mover import Mover
from inference_insitu.inference.outputs import Outputs
from inference_insitu.inference.service import ReadyFrame, Served, Service
from inference_insitu.inference.sinks import AnswersFile, answers_name
from inference_insitu.inference.spec import LEFT, UNUSABLE, WorkerSpec
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.region import Region
from inference_insitu.sharing.handing import Handing, Kept
from inference_insitu.sharing.holding import is_heir, reads
from inference_insitu.steering.start import proposer
from inference_insitu.transit.answers_of_others import AnswersOfOthers
from inference_insitu.transit.migration.moving_worker import MovingWorker
from inference_insitu.watching.events import EventLog
from inference_insitu.watching.metrics import Metrics

SHORTEST_NAP_S, LONGEST_NAP_S = 0.0002, 0.002
FAILED = 1
"""Exit code of a worker that could not start now, and might another time."""
TRANSIENT = (MemoryError, RuntimeError, TimeoutError, ConnectionError, BlockingIOError, InterruptedError, SystemExit)
"""What may go well another time: memory of a device, say, that a killed worker still holds."""


def main(spec_path: str, incarnation: str) -> int:
    """Serve until the end; the exit code."""
    spec, life = WorkerSpec.read(Path(spec_path)), int(incarnation)
    events = EventLog(Path(spec.output) / f"events-worker{spec.worker}.jsonl", f"worker{spec.worker}")
    regions = _regions(spec)
    consumers = [Consumer(region, pid=os.getpid()) for region in regions if reads(region, spec.worker)]
    if not consumers and not any(is_heir(region, spec.worker) for region in regions):
        events.log("worker_stopped", why="no ring is to be read here" if regions else "every ring is gone")
        return LEFT if regions else 0
    return Worker(spec, life, regions, consumers, events).run()


class Worker:
    """The ``life``-th life of a worker: reads ``consumers``, which are of some of the rings ``regions``."""

    def __init__(
        self, spec: WorkerSpec, life: int, regions: Sequence[Region], consumers: list[Consumer], events: EventLog
    ) -> None:
        self._spec, self._life, self._regions, self._consumers = spec, life, regions, consumers
        self._config, self._output, self._events = read_config(CouplingConfig, spec.config), Path(spec.output), events
        self._metrics = self._output / f"metrics-{spec.worker}.prom"
        self._streams = {name: one.analysis for name, one in self._config.streams.items()}
        self._stop = threading.Event()
        self._ending = threading.Lock()  # taken once, by whoever ends the books

    def run(self) -> int:
        """Serve until the end; the exit code."""
        signal.signal(signal.SIGTERM, lambda number, frame: self._stop.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the simulation's; its end is ours
        failure = self._config.on_inference_failure
        Heartbeat(
            self._consumers,
            self._regions,
            self._stop,
            hang_timeout_s=failure.hang_timeout_s,
            alone_timeout_s=failure.drain_timeout_s,
            sign=self._metrics,
            leave=self._leave,
        )
        if any(region.stagings for region in self._regions):
            Mover(self._consumers, self._stop)
        recovered = [one.recover() for one in self._consumers]
        again, lost = (sum(one[place] for one in recovered) for place in (0, 1))
        self._events.log("worker_started", pid=os.getpid(), incarnation=self._life, again=again, lost=lost)
        try:
            analyses = _analyses(self._config, self._regions, self._spec, self._life)
            answers = AnswersFile(self._output / answers_name(self._spec.worker, self._life))
        except (Exception, SystemExit) as error:
            return self._unable(error)
        return self._serve(analyses, self._outputs(answers))

    def _leave(self) -> None:
        if self._ending.acquire(blocking=False):
            self._events.log("worker_stopped", why="nobody is left")
            self._settle()
            os._exit(0)

    def _unable(self, error: BaseException) -> int:
        line = _line(error)
        for_good = isinstance(error, RunError) or not isinstance(error, TRANSIENT)
        self._events.log("worker_unusable" if for_good else "worker_failed", error=line)
        print(f"cdi: worker {self._spec.worker} cannot start: {line}", file=sys.stderr, flush=True)
        return UNUSABLE if for_good else FAILED

    def _outputs(self, answers: AnswersFile) -> Outputs:
        spec, events = self._spec, self._events
        outputs = Outputs(
            answers,
            events,
            Metrics(self._metrics, worker=str(spec.worker)),
            proposer(self._config.steering, spec.commands, lambda line: events.first("rule", line, line=line)),
        )
        outputs.metrics.restarts(max((one.region.words[Word.RESTARTS] for one in self._consumers), default=0))
        return outputs

    def _elsewhere(self, analyses: dict[str, Analysis], outputs: Outputs) -> Elsewhere:
        if self._config.placement.scaling is not None:  # a log's accounts are those of workers that keep their ranks
            return Nowhere()
        others = AnswersOfOthers({one.rank: one.region for one in self._consumers}, outputs)
        return MovingWorker(
            self._output,
            self._spec.run,
            self._consumers,
            analyses,
            self._streams,
            worker=self._spec.worker,
            workers=self._spec.workers,
            config=self._config.migration,
            take=others.take,
            heed=others.heed,
            events=self._events,
        )

    def _serve(self, analyses: dict[str, Analysis], outputs: Outputs) -> int:
        config, events = self._config, self._events
        elsewhere = self._elsewhere(analyses, outputs)
        service = Service(
            self._consumers,
            analyses,
            {name: Served(one.analysis, one.priority, one.deadline_s) for name, one in config.streams.items()},
            Batcher[ReadyFrame]({name: one.batch for name, one in config.analyses.items()}),
            outputs,
            elsewhere=elsewhere,
        )
        model = "; ".join(analysis.model for analysis in analyses.values() if analysis.model)
        on_device = any(analysis.wants_device for analysis in analyses.values())

        def ready(consumer: Consumer) -> None:
            consumer.region.model = model
            consumer.on_device(on_device)
            consumer.state = Side.READY

        kept = Kept(self._output, analyses, self._streams)
        handing = Handing(self._spec.worker, self._regions, service, kept, ready, events)
        handing.begin()
        for consumer in self._consumers:
            ready(consumer)
        events.log("worker_ready", model=model)
        _serve(service, elsewhere, handing, outputs, self._stop, drain_s=config.on_inference_failure.drain_timeout_s)
        if self._stop.is_set() and not service.ending:
            events.log("worker_stopped")  # not the simulation's end: whoever asked, another one is to take over
            return FAILED
        for name, analysis in analyses.items():
            try:
                analysis.close()
            except (Exception, SystemExit) as error:
                events.log("close_failed", analysis=name, error=_line(error))
        elsewhere.close()
        return self._end(outputs)

    def _end(self, outputs: Outputs) -> int:
        outputs.answers.close()
        self._ending.acquire()  # for ever where the heartbeat is at it, which ends the process
        self._settle()
        outputs.metrics.write(time.monotonic(), force=True)
        if self._consumers:
            self._events.log("drained")
        else:
            self._events.log("worker_stopped", why="no ring is to be read here any more")
        self._events.close()
        return 0 if self._consumers else LEFT

    def _settle(self) -> None:
        """The end of every ring: what a dead simulation rank left is accounted for and removed."""
        for consumer in self._consumers:
            settle_estate(consumer, self._output, self._events)
            consumer.state = Side.CLOSED


def _regions(spec: WorkerSpec) -> list[Region]:
    """The rings that are still there: a rank that gave up has taken its own away."""
    found = []
    for path in map(Path, spec.regions):
        with suppress(FileNotFoundError):
            found.append(Region.open(path))
    return found


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _serve(
    service: Service,
    elsewhere: Elsewhere,
    handing: Handing,
    outputs: Outputs,
    stop: threading.Event,
    *,
    drain_s: float,
) -> None:
    """Until no frame will come and none waits; for answers from elsewhere no longer than ``drain_s``."""
    nap, finished_s = SHORTEST_NAP_S, float("inf")
    while not stop.is_set():
        if service.finished and not handing.expects:
            finished_s = min(finished_s, time.monotonic())
            if elsewhere.settled or time.monotonic() > finished_s + drain_s:
                break
        busy = handing.progress() or elsewhere.progress()
        if service.serve_once() or busy:
            nap = SHORTEST_NAP_S
        else:
            # Longer naps while nothing comes: the core may be the simulation's too.
            time.sleep(nap)
            nap = min(2 * nap, LONGEST_NAP_S)
        outputs.metrics.write(time.monotonic())


def _analyses(
    config: CouplingConfig, regions: Sequence[Region], spec: WorkerSpec, incarnation: int
) -> dict[str, Analysis]:
    """Built, told where they are, and warmed up with the largest frame of every stream that they answer."""
    analyses = {name: build_analysis(one.plugin, one.options) for name, one in config.analyses.items()}
    for name, analysis in analyses.items():
        analysis.batching = config.analyses[name].batch
        analysis.open(Path(spec.output), spec.worker, incarnation)
    for name, stream in config.streams.items():
        layouts = [region.layout for region in regions]
        # A stream that is summed up is in one ring alone.
        for variable in {layout.variable(name) for layout in layouts if name in layout.variables}:
            analyses[stream.analysis].warm_up(Variable(*variable))
    return analyses


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads that an analysis left behind do not keep us
