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
    config, output = read_config(CouplingConfig, spec.config), Path(spec.output)
    events = EventLog(output / f"events-worker{spec.worker}.jsonl", f"worker{spec.worker}")
    regions = _regions(spec)
    consumers = [Consumer(region, pid=os.getpid()) for region in regions if reads(region, spec.worker)]
    if not consumers and not any(is_heir(region, spec.worker) for region in regions):
        events.log("worker_stopped", why="no ring is to be read here" if regions else "every ring is gone")
        return LEFT if regions else 0
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the simulation's; its end is ours

    ending = threading.Lock()  # taken once, by whoever ends the books

    def leave() -> None:
        if ending.acquire(blocking=False):
            events.log("worker_stopped", why="nobody is left")
            _settle(consumers, output, events)
            os._exit(0)

    failure = config.on_inference_failure
    Heartbeat(
        consumers,
        regions,
        stop,
        hang_timeout_s=failure.hang_timeout_s,
        alone_timeout_s=failure.drain_timeout_s,
        leave=leave,
    )
    recovered = [one.recover() for one in consumers]
    again, lost = (sum(one[place] for one in recovered) for place in (0, 1))
    events.log("worker_started", pid=os.getpid(), incarnation=life, again=again, lost=lost)
    try:
        analyses = _analyses(config, regions, spec, life)
        answers = AnswersFile(output / answers_name(spec.worker, life))
    except (Exception, SystemExit) as error:
        line = _line(error)
        for_good = isinstance(error, RunError) or not isinstance(error, TRANSIENT)
        events.log("worker_unusable" if for_good else "worker_failed", error=line)
        print(f"cdi: worker {spec.worker} cannot start: {line}", file=sys.stderr, flush=True)
        return UNUSABLE if for_good else FAILED
    outputs = Outputs(
        answers,
        events,
        Metrics(output / f"metrics-{spec.worker}.prom", worker=str(spec.worker)),
        proposer(config.steering, spec.commands, lambda line: events.first("rule", line, line=line)),
    )
    outputs.metrics.restarts(max((one.region.words[Word.RESTARTS] for one in consumers), default=0))
    streams = {name: one.analysis for name, one in config.streams.items()}
    elsewhere: Elsewhere = Nowhere()
    if config.placement.scaling is None:  # a log's accounts are those of workers that keep their ranks
        others = AnswersOfOthers({one.rank: one.region for one in consumers}, outputs)
        elsewhere = MovingWorker(
            output,
            spec.run,
            consumers,
            analyses,
            streams,
            worker=spec.worker,
            workers=spec.workers,
            config=config.migration,
            take=others.take,
            heed=others.heed,
            events=events,
        )
    service = Service(
        consumers,
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

    handing = Handing(spec.worker, regions, service, Kept(output, analyses, streams), ready, events)
    handing.begin()
    for consumer in consumers:
        ready(consumer)
    events.log("worker_ready", model=model)
    _serve(service, elsewhere, handing, outputs, stop, drain_s=failure.drain_timeout_s)
    if stop.is_set() and not service.ending:  # not the simulation's end: whoever asked, another one is to take over
        events.log("worker_stopped")
        return FAILED
    for name, analysis in analyses.items():
        try:
            analysis.close()
        except (Exception, SystemExit) as error:
            events.log("close_failed", analysis=name, error=_line(error))
    elsewhere.close()
    outputs.answers.close()
    ending.acquire()  # for ever where the heartbeat is at it, which ends the process
    _settle(consumers, output, events)
    outputs.metrics.write(time.monotonic(), force=True)
    if consumers:
        events.log("drained")
    else:
        events.log("worker_stopped", why="no ring is to be read here any more")
    events.close()
    return 0 if consumers else LEFT


def _regions(spec: WorkerSpec) -> list[Region]:
    """The rings that are still there: a rank that gave up has taken its own away."""
    found = []
    for path in map(Path, spec.regions):
        with suppress(FileNotFoundError):
            found.append(Region.open(path))
    return found


def _settle(consumers: Sequence[Consumer], output: Path, events: EventLog) -> None:
    """The end of every ring: what a dead simulation rank left is accounted for and removed."""
    for consumer in consumers:
        settle_estate(consumer, output, events)
        consumer.state = Side.CLOSED


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
