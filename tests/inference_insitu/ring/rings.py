"""Rings for tests: private memory, a small stream, and both sides in one process."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference_insitu.books.ledger import Ledger
from inference_insitu.ring.consumer import Claimed, Consumer
from inference_insitu.ring.layout import Kind, Layout, Side, SlotGroup
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.producer import Producer
from inference_insitu.ring.region import Region
from inference_insitu.ring.stream import StreamPlan

SHAPE = (6, 4)
CAPACITY = 8 * SHAPE[0] * SHAPE[1]


def frame(step: int) -> np.ndarray:
    return np.arange(24, dtype=np.float64).reshape(SHAPE) + 1000 * step


def blocks_added(array: np.ndarray) -> np.ndarray:
    return array.reshape(3, 2, 2, 2).sum((1, 3))


@dataclass
class Ring:
    region: Region
    producer: Producer
    consumer: Consumer
    ledger: Ledger

    def fate(self) -> dict[int, str]:
        """What the ledger says of each step of stream ``a``, open frames left out."""
        return dict(self.ledger.rows)

    def infer(self, most: int = 100) -> list[Claimed]:
        """Answer what waits; the arrays are copies."""
        taken = []
        for ready in self.consumer.ready()[:most]:
            claimed = self.consumer.claim(ready)
            if claimed is not None:
                taken.append(claimed)
                assert (claimed.array == (frame(claimed.step) if claimed.array.shape == SHAPE else
                                          blocks_added(frame(claimed.step)))).all()  # fmt: skip
                self.consumer.settle(claimed, "inferred")
        return taken


class RecordingLedger(Ledger):
    """A ledger that also remembers its rows: (step, outcome)."""

    def __init__(self) -> None:
        super().__init__(None, 0, origin_ns=0)
        self.rows: list[tuple[int, str]] = []

    def refuse(self, stream, step, published_ns, reason, *, status="dropped"):
        super().refuse(stream, step, published_ns, reason, status=status)
        self.rows.append((step, reason))

    def refused(self, stream, step, reason):
        super().refused(stream, step, reason)
        self.rows.append((step, reason))

    def settle(self, stream, step, settled):
        super().settle(stream, step, settled)
        self.rows.append((step, settled.outcome))

    def answered(self, stream, step, latency_s):
        super().answered(stream, step, latency_s)
        self.rows.append((step, "inferred"))

    def replaced(self, stream, step):
        super().replaced(stream, step)
        self.rows.append((step, "superseded"))


def make_ring(
    policy: PolicyConfig | None = None,
    *,
    slots: int = 2,
    capacity: int = CAPACITY,
    staged: int = 0,
    path: Path | None = None,
    spill: Path | None = None,
    **options,
) -> Ring:
    policy = policy or PolicyConfig(kind="drop_newest")
    groups = [SlotGroup("a", Kind.MEMORY, slots, capacity)]
    if policy.when_full == "degrade":
        groups.append(SlotGroup("a", Kind.COARSE, slots, CAPACITY // 4))
    if policy.when_full == "spill":
        groups.append(SlotGroup("a", Kind.SPILL, 3, capacity, staged))
    layout = Layout(tuple(groups), str(spill or ""), {"a": ("float64", SHAPE)})
    region = Region.create(layout, rank=0, path=path)
    ledger = RecordingLedger()
    producer = Producer(region, {"a": StreamPlan(policy, blocks_added)}, ledger, **options)
    consumer = Consumer(region if path is None else Region.open(path), pid=1)
    consumer.state = Side.READY
    return Ring(region, producer, consumer, ledger)


@contextmanager
def no_larger_files(size: int) -> Iterator[None]:
    """No file takes a byte beyond ``size`` meanwhile: as a disk that is full in the middle of a frame."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Clock:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now_ns = time.monotonic_ns()

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)
