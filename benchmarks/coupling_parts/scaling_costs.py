"""The costs of single messages, measured here with the coupling's own parts.

A machine may be shared, and a cluster's core is not: what is computed is told in the thread's own processor time, and
as minima, since other processes' use of caches only adds.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from inference_insitu.books.ledger import Ledger
from inference_insitu.inference.analysis import Analysis, build_analysis
from inference_insitu.inference.batching import BatchConfig, Batcher
from inference_insitu.inference.frame import Frame, Variable
from inference_insitu.inference.outputs import Outputs
from inference_insitu.inference.service import ReadyFrame, Served, Service
from inference_insitu.inference.sinks import AnswersFile
from inference_insitu.placement.carrier import SharedMemory
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Kind, Layout, Side, SlotGroup
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.producer import Producer
from inference_insitu.ring.region import Region
from inference_insitu.ring.stream import StreamPlan
from inference_insitu.watching.events import EventLog
from inference_insitu.watching.metrics import Metrics

STREAM = "frames"
WAITS = BatchConfig(size=4096, delay_s=3600.0)
"""A batch that is never formed."""


def simulation_costs(
    sizes: tuple[int, ...], *, repeats: int = 60
) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
    """``publish`` and ``end_step`` of a rank whose frames are answered between; costs, and microseconds by size."""
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, size in enumerate(sizes):
            ring = _Ring(number, size, 4, Path(folder))
            carrier = SharedMemory(ring.region)
            array = np.ones(size // 4, np.float32)
            publishing, ending, copying = [], [], []
            spare = np.zeros((4, size // 4), np.float32)
            for step in range(repeats + 5):
                began = time.thread_time()
                ring.producer.publish(STREAM, array, step)
                carrier.progress()
                published = time.thread_time()
                ring.answer()
                answered = time.thread_time()
                ring.producer.poll()
                carrier.progress()
                ended = time.thread_time()
                np.copyto(spare[step % 4], array)
                copied = time.thread_time()
                publishing.append(published - began)
                ending.append(ended - answered)
                copying.append(copied - ended)
            table[size] = {
                name: round(1e6 * min(values[5:]), 3)
                for name, values in (("publish_us", publishing), ("end_step_us", ending), ("copy_us", copying))
            }
    fixed, byte = _line(sizes, [1e-6 * table[size]["publish_us"] for size in sizes])
    ending_s = 1e-6 * min(row["end_step_us"] for row in table.values())
    return {"publish_s": fixed, "copy_s_byte": byte, "end_step_s": ending_s}, table


def worker_costs(*, served: tuple[int, ...] = (8, 64, 256), repeats: int = 5) -> tuple[dict[str, float], float]:
    """Costs of a worker's passes over its rings, fitted to many of them, and the median relative error of the fit."""
    rows, times = [], []
    for count in served:
        rings = [_Ring(rank, 4096, 4, None) for rank in range(count)]
        for size in (1, 8, 32):
            if count // size > 40:  # as many turns that differ little
                continue
            found: dict[tuple[float, ...], list[float]] = {}
            for step in range(repeats):
                for row, seconds in _turns(rings, size, 1000 * size + step):
                    found.setdefault(row, []).append(seconds)
            rows += list(found)
            times += [min(values) for values in found.values()]
    table, seconds = np.array(rows, np.float64), np.array(times)
    weights = 1 / seconds  # small turns count as much as large ones
    solution, _ = nnls(table * weights[:, None], seconds * weights)
    error = float(np.median(np.abs(table @ solution / seconds - 1)))
    names = (
        "look_s",
        "look_ring_s",
        "look_frame_s",
        "new_frame_s",
        "batch_s",
        "batch_ring_s",
        "batch_frame_s",
        "frame_s",
    )
    costs = dict(zip(names, map(float, solution), strict=True))
    sizes = (1 << 12, 1 << 20)
    small, large = (_answering(size, repeats) for size in sizes)
    costs["frame_s_byte"] = max(0.0, large - small) / 8 / (sizes[1] - sizes[0])
    return costs, error


def service_times(
    plugin: str, shape: tuple[int, ...], *, counts: tuple[int, ...] = (1, 4, 8), repeats: int = 3
) -> tuple[float, float, dict[int, float]]:
    """a and b of an analysis whose batch of c takes a + b c, and seconds by c."""
    analysis: Analysis = build_analysis(plugin, {})
    analysis.warm_up(Variable("float32", shape))
    pattern = np.random.default_rng(0).exponential(10.0, shape).astype(np.float32)
    found = {}
    for count in counts:
        batch = [Frame(STREAM, rank, 0, pattern) for rank in range(count)]
        analysis.answer(batch)
        found[count] = min(_timed(lambda batch=batch: analysis.answer(batch)) for _ in range(repeats))
    batch_s, frame_s = _line(counts, list(found.values()))
    return batch_s, frame_s, found


def file_costs(*, files: int = 200) -> dict[str, float]:
    """Microseconds to create a file, and to append a row to it, in the temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        creating, appending = [], []
        for number in range(files):
            began = time.thread_time()
            descriptor = os.open(Path(folder) / f"{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            created = time.thread_time()
            os.write(descriptor, b"x" * 100)
            appending.append(time.thread_time() - created)
            creating.append(created - began)
            os.close(descriptor)
    return {"create_us": 1e6 * min(creating), "append_us": 1e6 * min(appending)}


class _Ring:
    """Both sides of one ring in this process; ``latest``, four slots."""

    def __init__(self, rank: int, size: int, slots: int, folder: Path | None) -> None:
        layout = Layout((SlotGroup(STREAM, Kind.MEMORY, slots, size),), "", {STREAM: ("float32", (size // 4,))})
        self.region = Region.create(layout, rank=rank)
        ledger = Ledger(folder, rank, origin_ns=time.monotonic_ns(), journal=self.region.journal)
        self.producer = Producer(self.region, {STREAM: StreamPlan(PolicyConfig(kind="latest"))}, ledger)
        self.consumer = Consumer(self.region, pid=os.getpid())
        self.consumer.state = Side.READY

    def answer(self) -> None:
        for ready in self.consumer.ready():
            claimed = self.consumer.claim(ready)
            if claimed is not None:
                self.consumer.settle(claimed, "inferred")


def _answering(size: int, repeats: int) -> float:
    """One batch of eight frames of ``size`` bytes."""
    rings = [_Ring(rank, size, 4, None) for rank in range(8)]
    turns = [turn for step in range(repeats) for turn in _turns(rings, 8, step)]
    return min(seconds for row, seconds in turns if row[7])


def _turns(rings: list["_Ring"], size: int, step: int) -> list[tuple[tuple[float, ...], float]]:
    """Turns of a service until one frame of every ring is answered, batches of ``size``: what each did, and seconds.

    A row is 1, rings, waiting, new; the same for a pass that formed a batch: 1, rings, waiting; and the batch.
    """
    served = len(rings)
    found: list[tuple[tuple[float, ...], float]] = []
    with tempfile.TemporaryDirectory() as folder:
        outputs = Outputs(AnswersFile(Path(folder) / "answers"), EventLog(None, "worker"), Metrics(None, worker="0"))

        def turn(batcher: Batcher[ReadyFrame], service: Service, new: int) -> None:
            waiting = batcher.depth + new
            seconds = _timed(service.serve_once)
            count = waiting - batcher.depth
            formed = float(count > 0)
            found.append(((1, served, waiting, new, formed, formed * served, formed * waiting, count), seconds))

        def service(config: BatchConfig) -> tuple[Batcher[ReadyFrame], Service]:
            batcher = Batcher[ReadyFrame]({"null": config})
            consumers = [ring.consumer for ring in rings]
            return batcher, Service(
                consumers, {"null": build_analysis("analyses:null", {})}, {STREAM: Served("null")}, batcher, outputs
            )

        idle = service(WAITS)
        turn(*idle, 0)
        array = np.ones(rings[0].region.slots[0].place.capacity // 4, np.float32)
        for ring in rings:
            ring.producer.publish(STREAM, array, step)
        turn(*idle, served)
        turn(*idle, 0)
        batcher, answering = service(BatchConfig(size=size, delay_s=0.0))
        turn(batcher, answering, served)
        while batcher.depth:
            turn(batcher, answering, 0)
        outputs.answers.close()
    return found


def _timed(act: Callable[[], Any]) -> float:
    began = time.thread_time()
    act()
    return time.thread_time() - began


def _line(sizes: tuple[int, ...], seconds: list[float]) -> tuple[float, float]:
    """The line through the times, errors relative, neither part negative."""
    weights = 1 / np.array(seconds)
    table = np.stack([np.ones(len(sizes)), np.array(sizes, np.float64)], axis=1)
    solution, _ = nnls(table * weights[:, None], np.ones(len(sizes)))
    return float(solution[0]), float(solution[1])
