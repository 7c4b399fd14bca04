"""Stream engines behind the log: end-to-end latency and throughput of frames of 128 KB and 2 MB, start and recovery.

    python benchmarks/transit_engines.py [flink] [spark]

The analysis is ``moments``, so that what is measured is the way there. Latency is from before the append (durable:
flushed to the disk) to the answer's being made, one frame every 0.1 s; throughput is of frames that are appended one
after the other as fast as the log acknowledges, from the first append to the last answer, and how far the engine then
is behind. Recovery is from a kill -9 to the next answer, the start of the program included. ``load``: the machine's
average of the last minute. JSON lines.
"""

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
from machine import emit, load, machine

from cdi.errors import MissingDependencyError
from inference_insitu.transit.engines.engine import RunningEngine, engine
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.log.codec import decoded, encoded
from inference_insitu.transit.log.records import Answer, FrameRecord
from inference_insitu.transit.log.redis_server import RedisServer
from inference_insitu.transit.log.stream_log import ANSWERS, StreamLog, Topic, frames_topic
from inference_insitu.waiting import wait_until

KILOBYTES = (128, 2048)
FRAMES = {128: 200, 2048: 60}
PERIOD_S = 0.1
START_S, ANSWER_S = 600.0, 300.0
COUPLING = "streams: {pattern: {analysis: moments}}\nanalyses: {moments: {plugin: moments, batch: {size: 8}}}\n"


class Frames:
    """Appends frames one after the other and waits for their answers."""

    def __init__(self, job: TransitJob, log: StreamLog) -> None:
        self._job, self._log, self._store = job, log, job.store()
        self._topic, self._answers = frames_topic(job.run, "pattern", 0, 1), Topic(job.run, ANSWERS)
        self._step = 0

    @property
    def answered(self) -> int:
        return self._log.standing(self._answers).last

    def append(self, array: np.ndarray) -> None:
        self._step += 1
        data = memoryview(array).cast("B")
        told = {"sent_ns": time.time_ns(), "data": data}
        one = FrameRecord(self._job.run, "pattern", self._step, 0, array.dtype.str, array.shape, **told)
        self._log.append(self._topic, encoded(self._store.laid_out(one)), once=one.once)

    def wait(self, count: int, timeout_s: float = ANSWER_S) -> None:
        if not wait_until(lambda: self.answered >= count, timeout_s=timeout_s, interval_s=0.01):
            raise TimeoutError(f"{count} answers must come within {timeout_s:g} s, got {self.answered}")

    def since(self, after: int) -> list[Answer]:
        found = [decoded(one) for one in self._log.read(self._answers, after=after, count=10_000)]
        return [one for one in found if isinstance(one, Answer)]


def measure(kind: str, folder: Path) -> None:
    coupling = folder / "coupling.yaml"
    coupling.write_text(COUPLING)
    with RedisServer(folder / "log") as server:
        job = TransitJob("bench", str(coupling), str(folder / "job"), log=server.address)
        program = RunningEngine(engine(kind), job)
        with closing(job.open_log()) as log:
            try:
                started = time.monotonic()
                program.start()
                program.wait_running(START_S)
                say(kind, "start", seconds=round(time.monotonic() - started, 1))
                frames = Frames(job, log)
                for size in KILOBYTES:
                    array = np.random.default_rng(0).random(size * 128)
                    latency(kind, size, frames, array)
                    throughput(kind, size, frames, array)
                recovery(kind, frames, program)
            finally:
                program.kill()


def latency(kind: str, size: int, frames: Frames, array: np.ndarray) -> None:
    before = frames.answered
    appended = []
    for _ in range(60):
        started = time.monotonic()
        frames.append(array)
        appended.append(time.monotonic() - started)
        time.sleep(max(0.0, PERIOD_S - appended[-1]))
    frames.wait(before + 60)
    delays = [1e-6 * (one.answered_ns - one.sent_ns) for one in frames.since(before)][10:]
    say(kind, "latency", size, **quantiles("", delays), **quantiles("append_", [1e3 * one for one in appended[10:]]))


def quantiles(name: str, milliseconds: list[float]) -> dict[str, float]:
    return {f"{name}p{q}_ms": round(float(np.quantile(milliseconds, q / 100)), 2) for q in (50, 90, 99)}


def throughput(kind: str, size: int, frames: Frames, array: np.ndarray) -> None:
    before, count = frames.answered, FRAMES[size]
    for _ in range(count):
        frames.append(array)
    frames.wait(before + count)
    answers = frames.since(before)
    last = max(one.answered_ns for one in answers)
    seconds = 1e-9 * (last - min(one.sent_ns for one in answers))
    behind = 1e-9 * (last - max(one.sent_ns for one in answers))
    say(
        kind,
        "throughput",
        size,
        frames=count,
        frames_per_s=round(count / seconds, 1),
        MB_per_s=round(count * size * 1.024e-3 / seconds, 1),
        behind_s=round(behind, 3),
    )


def recovery(kind: str, frames: Frames, program: RunningEngine) -> None:
    array, before = np.zeros(16), frames.answered
    program.kill()
    killed = time.monotonic()
    frames.append(array)
    program.start()
    frames.wait(before + 1, START_S)
    say(kind, "recovery", seconds=round(time.monotonic() - killed, 1))


def say(kind: str, what: str, kilobytes: int | None = None, **figures: float) -> None:
    size = {} if kilobytes is None else {"kilobytes": kilobytes}
    emit(engine=kind, what=what, **size, **figures, load=load())


def main(kinds: list[str]) -> None:
    emit(machine=machine(), load=load())
    for kind in kinds or ["flink", "spark"]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                measure(kind, Path(folder))
            except MissingDependencyError as error:
                emit(engine=kind, skipped=str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
