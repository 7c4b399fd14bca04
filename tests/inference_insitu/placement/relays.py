"""Both ends of a relay in one process: a producer here, a worker there, and a wire of queues between."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from queue_wire import QueueWire

from inference_insitu.books.ledger import Ledger
from inference_insitu.placement.relay_receiver import Receiver
from inference_insitu.placement.relay_sender import Sender
from inference_insitu.ring.consumer import Claimed, Consumer
from inference_insitu.ring.layout import Kind, Layout, Side, SlotGroup, Word
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.producer import Producer
from inference_insitu.ring.region import Region
from inference_insitu.ring.stream import StreamPlan
from inference_insitu.watching.events import EventLog

SHAPE = (7, 30, 50)
CAPACITY = 8 * 7 * 30 * 50


def frame(step: int) -> np.ndarray:
    """84 kB that no other step has."""
    return np.arange(CAPACITY // 8, dtype=np.float64).reshape(SHAPE) + 1e6 * step


def coarser(array: np.ndarray) -> np.ndarray:
    return array.reshape(7, 15, 2, 25, 2).sum((2, 4))


class RecordingLedger(Ledger):
    """A ledger that also keeps how every frame ended."""

    def __init__(self, rank: int) -> None:
        super().__init__(None, rank, origin_ns=0)
        self.fate: dict[int, str] = {}
        self.settled: dict = {}

    def refuse(self, stream, step, published_ns, reason, *, status="dropped"):
        super().refuse(stream, step, published_ns, reason, status=status)
        self.fate[step] = reason

    def refused(self, stream, step, reason):
        super().refused(stream, step, reason)
        self.fate[step] = reason

    def settle(self, stream, step, settled):
        super().settle(stream, step, settled)
        assert step not in self.fate, "a frame ends once"
        self.fate[step] = settled.outcome
        self.settled[step] = settled

    def answered(self, stream, step, latency_s):
        super().answered(stream, step, latency_s)
        assert step not in self.fate, "a frame ends once"
        self.fate[step] = "inferred"

    def replaced(self, stream, step):
        super().replaced(stream, step)
        assert step not in self.fate, "a frame ends once"
        self.fate[step] = "superseded"


@dataclass
class Relay:
    """A simulation rank's end, a keeper's end, and what goes wrong between."""

    region: Region
    producer: Producer
    sender: Sender
    receiver: Receiver
    wires: tuple[QueueWire, QueueWire]
    ledger: RecordingLedger
    lines: list[str]
    path: Path
    consumer: Consumer | None = None
    seen: list[Claimed] = field(default_factory=list)

    def pump(self, times: int = 4) -> None:
        """Let messages come and go."""
        for _ in range(times):
            self.sender.progress()
            self.receiver.progress()

    @property
    def ring(self) -> Region:
        """What the worker reads."""
        return self.receiver._ring.region

    def start_worker(self, *, ready: bool = True) -> None:
        self.pump()
        self.consumer = Consumer(Region.open(self.path), pid=1)
        self.ring.words[Word.SUPERVISOR_STATE] = Side.STARTING
        if ready:
            self.consumer.region.model = "model 7"
            self.consumer.state = Side.READY
        self.pump()

    def work(self, most: int = 100, outcome: str = "inferred", detail: str = "") -> list[int]:
        """Answer what the worker sees; the steps."""
        steps = []
        for ready in self.consumer.ready()[:most]:
            claimed = self.consumer.claim(ready)
            whole = frame(claimed.step)
            assert (claimed.array == (whole if claimed.array.shape == SHAPE else coarser(whole))).all()
            self.seen.append(claimed)
            steps.append(claimed.step)
            self.consumer.settle(claimed, outcome, detail)
        return steps

    def publish(self, *steps: int, **attributes) -> list[str]:
        said = []
        for step in steps:
            said.append(self.producer.publish("a", frame(step), step, attributes or None).status)
            self.sender.progress()
        return said

    def until_settled(self, rounds: int = 200) -> None:
        for _ in range(rounds):
            self.pump()
            if self.consumer is not None:
                self.work()
            self.producer.poll()
            if self.producer.open == 0:
                return


def make_relay(
    folder: Path,
    policy: PolicyConfig | None = None,
    *,
    slots: int = 3,
    there: int | None = None,
    rank: int = 3,
    take_over=None,
    path: Path | None = None,
    **options,
) -> Relay:
    policy = policy or PolicyConfig(kind="drop_newest")
    groups = [SlotGroup("a", Kind.MEMORY, slots, CAPACITY)]
    if policy.when_full == "degrade":
        groups.append(SlotGroup("a", Kind.COARSE, slots, CAPACITY // 4))
    if policy.when_full == "spill":
        groups.append(SlotGroup("a", Kind.SPILL, 20, CAPACITY))
    spill = str(folder / "spill") if policy.when_full == "spill" else ""
    region = Region.create(Layout(tuple(groups), spill, {"a": ("float64", SHAPE)}), rank=rank)
    ledger, lines, path = RecordingLedger(rank), [], path or folder / "ring"
    here, far = QueueWire.pair()
    sender = Sender(region, here, events=EventLog(folder / "events-relay.jsonl", "relay"), take_over=take_over)
    receiver = Receiver(
        far, rank=3, path=path, slots_of=lambda stream, count: there or count, tell=lambda line: lines.append(line)
    )
    relay = Relay(region, None, sender, receiver, (here, far), ledger, lines, path)

    def progress() -> None:
        relay.pump(1)
        if options.get("busy"):
            relay.work(1)

    busy = {"sleep": lambda seconds: None} if options.get("busy") else {}
    relay.producer = Producer(
        region, {"a": StreamPlan(policy, coarser)}, ledger, progress=progress, carries=True, **busy
    )
    return relay
