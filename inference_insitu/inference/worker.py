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
from pathlib import Path

from cdi.config import read_config
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.analysis import Analysis, build_analysis
from inference_insitu.inference.batching import Batcher
from inference_insitu.inference.estate import settle_estate
from inference_insitu.inference.frame import Variable
from inference_insitu.inference.service import Outputs, ReadyFrame, Served, Service
from inference_insitu.inference.sinks import AnswersFile, answers_name
from inference_insitu.inference.spec import UNUSABLE, WorkerSpec
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Side
from inference_insitu.ring.region import Region
from inference_insitu.steering.start import proposer
from inference_insitu.watching.events import EventLog
from inference_insitu.watching.metrics import Metrics

BEAT_S = 0.2
SHORTEST_NAP_S, LONGEST_NAP_S = 0.0002, 0.002


def main(spec_path: str, incarnation: str) -> int:
    """Serve until the end; the exit code."""
    spec = WorkerSpec.read(Path(spec_path))
    config = read_config(CouplingConfig, spec.config)
    consumers = [
        Consumer(Region.open(Path(path)), incarnation=int(incarnation), pid=os.getpid()) for path in spec.regions
    ]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the simulation's; its end is ours
    threading.Thread(target=_beat, args=(consumers, stop), daemon=True).start()
    output = Path(spec.output)
    events = EventLog(output / f"events-worker{spec.worker}.jsonl", f"worker{spec.worker}")
    again, lost = (sum(counts) for counts in zip(*(one.recover() for one in consumers), strict=True))
    events.log("worker_started", pid=os.getpid(), incarnation=int(incarnation), again=again, lost=lost)
    try:
        analyses = _analyses(config, consumers, spec, int(incarnation))
    except Exception as error:
        line = f"{type(error).__name__}: {' '.join(str(error).split())}"
        events.log("worker_unusable", error=line)
        print(f"cdi: worker {spec.worker} cannot start: {line}", file=sys.stderr, flush=True)
        return UNUSABLE
    outputs = Outputs(
        AnswersFile(output / answers_name(spec.worker, int(incarnation))),
        events,
        Metrics(output / f"metrics-{spec.worker}.prom", worker=str(spec.worker)),
    )
    service = Service(
        consumers,
        analyses,
        {name: Served(one.analysis, one.priority, one.deadline_s) for name, one in config.streams.items()},
        Batcher[ReadyFrame]({name: one.batch for name, one in config.analyses.items()}),
        outputs,
        proposer(config.steering, spec.commands, lambda line: events.first("rule", line, line=line)),
    )
    model = "; ".join(analysis.model for analysis in analyses.values() if analysis.model)
    for consumer in consumers:
        consumer.region.model = model
        consumer.state = Side.READY
    events.log("worker_ready", model=model)
    _serve(service, outputs, stop)
    for analysis in analyses.values():
        analysis.close()
    outputs.answers.close()
    for consumer in consumers:
        settle_estate(consumer, output, events)
        consumer.state = Side.CLOSED
    outputs.metrics.write(time.monotonic(), force=True)
    events.log("drained" if not stop.is_set() else "worker_stopped")
    events.close()
    return 0


def _serve(service: Service, outputs: Outputs, stop: threading.Event) -> None:
    nap = SHORTEST_NAP_S
    while not (stop.is_set() or service.finished):
        if service.serve_once():
            nap = SHORTEST_NAP_S
        else:
            # Longer naps while nothing comes: the core may be the simulation's too.
            time.sleep(nap)
            nap = min(2 * nap, LONGEST_NAP_S)
        outputs.metrics.write(time.monotonic())


def _analyses(
    config: CouplingConfig, consumers: Sequence[Consumer], spec: WorkerSpec, incarnation: int
) -> dict[str, Analysis]:
    """Built, told where they are, and warmed up with the largest frame of every stream that they answer."""
    analyses = {name: build_analysis(one.plugin, one.options) for name, one in config.analyses.items()}
    for analysis in analyses.values():
        analysis.open(Path(spec.output), spec.worker, incarnation)
    for name, stream in config.streams.items():
        for variable in {consumer.region.layout.variable(name) for consumer in consumers}:
            analyses[stream.analysis].warm_up(Variable(*variable))
    return analyses


def _beat(consumers: Sequence[Consumer], stop: threading.Event) -> None:
    """Show a sign of life also while an answer takes long."""
    while not stop.wait(BEAT_S):
        for consumer in consumers:
            consumer.beat()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
