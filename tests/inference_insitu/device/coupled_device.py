"""A coupling of one rank, its ring, a worker in the same thread and a fake device, for tests."""

import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_device import FakeRuntime

sys.path.insert(0, str(Path(__file__).parents[1] / "ring"))

from rings import RecordingLedger

from inference_insitu.coupling import Coupling, Parts
from inference_insitu.coupling_config import AnalysisConfig, CouplingConfig, FailureConfig, StreamConfig
from inference_insitu.device import probe
from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.batching import BatchConfig, Batcher
from inference_insitu.inference.frame import Frame, Variable
from inference_insitu.inference.located import FrameMaker
from inference_insitu.inference.outputs import Outputs
from inference_insitu.inference.service import Served, Service
from inference_insitu.inference.sinks import AnswersFile
from inference_insitu.placement.plan import ring_plan
from inference_insitu.reduction.group import Alone
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.filling import FillingProducer
from inference_insitu.ring.layout import Side
from inference_insitu.ring.region import Region
from inference_insitu.steering.collective import Alone as OneRank
from inference_insitu.watching.events import EventLog
from inference_insitu.watching.metrics import Metrics

SHAPE = (4, 6)
STREAM = 7
"""On which the simulation computes."""


class OnGpu:
    """The simulation's array on the device."""

    def __init__(self, runtime: FakeRuntime, stream: int | None = STREAM) -> None:
        self.memory = np.zeros(SHAPE)
        self.runtime = runtime
        self.__cuda_array_interface__ = {
            "shape": SHAPE, "typestr": "<f8", "data": (runtime.adopt(self.memory), False), "version": 3,
            "strides": None, "stream": stream,
        }  # fmt: skip

    def compute(self, value: float) -> None:
        self.runtime.give(STREAM, lambda: self.memory.fill(value))


class Seen(Analysis):
    """Remembers the frames, copied; ``wants_device`` as told."""

    def __init__(self, runtime: FakeRuntime, *, wants_device: bool) -> None:
        self.runtime, self.wants_device = runtime, wants_device
        self.frames: list[tuple[str, int, np.ndarray, Mapping[str, Any]]] = []
        self.on_device = 0

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        for frame in frames:
            array = frame.array
            if frame.device is not None:
                self.on_device += 1
                held = self.runtime.memory[frame.device.pointer][: array.nbytes]
                np.testing.assert_array_equal(held.view(array.dtype).reshape(frame.device.shape), array)
            self.frames.append((frame.stream, frame.step, array.copy(), frame.attributes))
        return [{"mean": float(frame.array.mean())} for frame in frames]


class Coupled:
    """``publish`` as a simulation would; ``serve`` is the worker's turn."""

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        device: Any = "auto",
        *,
        wants_device: bool = False,
        runtime: FakeRuntime | None = None,
        drain_timeout_s: float = 0.1,
        **stream: Any,
    ) -> None:
        self.runtime = runtime or FakeRuntime()
        self.runtime.pageable_allowed = True  # plain copies; of the others it is tested elsewhere
        self.runtime.streams.setdefault(STREAM, type(self.runtime.streams[1])())
        self.opened = 0

        def driver(*_: Any, **__: Any) -> FakeRuntime:
            self.opened += 1
            return self.runtime

        monkeypatch.setattr(probe, "Driver", driver)
        monkeypatch.setattr(probe, "_share", lambda _: None)
        streams = {name: StreamConfig("seen", **{"steps": 3, **stream}) for name in "ab"}
        config = CouplingConfig(
            streams, {"seen": AnalysisConfig("x:y")}, device=device,
            on_inference_failure=FailureConfig(drain_timeout_s=drain_timeout_s),
        )  # fmt: skip
        variables = {name: Variable("float64", SHAPE) for name in "ab"}
        plan = ring_plan(config, variables, is_root=True, spill_file=folder / "spill")
        assert plan.layout is not None
        self.region = Region.create(plan.layout, rank=0)
        self.ledger = RecordingLedger()
        self.producer = FillingProducer(self.region, plan.streams, self.ledger)
        self.seen = Seen(self.runtime, wants_device=wants_device)
        self.consumer = Consumer(self.region, pid=0)
        self.consumer.on_device(wants_device)
        self.consumer.state = Side.READY
        self.events = EventLog(folder / "events-simulation0.jsonl", "simulation0")
        outputs = Outputs(AnswersFile(folder / "results-0.0.jsonl"), EventLog(None, ""), Metrics(None, worker="0"))
        served = {name: Served("seen") for name in "ab"}
        self.service = Service(
            [self.consumer], {"seen": self.seen}, served, Batcher({"seen": BatchConfig(size=4, delay_s=0.0)}), outputs,
            frames=FrameMaker(lambda: self.runtime),
        )  # fmt: skip
        self.drains = True
        self.coupling = Coupling(self._parts(config, folder, plan.reductions))
        self.array = OnGpu(self.runtime)
        self.step = {"a": -1, "b": -1}

    def _parts(self, config: CouplingConfig, folder: Path, reductions: Any) -> Parts:
        nothing = lambda *_: None  # noqa: E731
        carrier = SimpleNamespace(carries=False, progress=self._drain, failed=False, state=Side.READY, close=nothing)
        return Parts(
            SimpleNamespace(rank=0), Alone(), config, folder, self.ledger, self.producer, reductions, carrier,  # type: ignore[arg-type]
            SimpleNamespace(close=nothing, abandon=nothing), self.events, lambda data: [data], lambda: True, nothing,  # type: ignore[arg-type]
            nothing, OneRank(),  # type: ignore[arg-type]
        )  # fmt: skip

    def _drain(self) -> None:
        if self.drains and self.consumer.producer_state is not Side.READY:
            self.serve()

    def publish(self, name: str = "a", attributes: Mapping[str, Any] | None = None, value: float | None = None) -> Any:
        """Compute on the device, publish, overwrite."""
        step = self.step[name] = self.step[name] + 1
        self.array.compute(value_of(name, step) if value is None else value)
        published = self.coupling.publish(name, self.array, step, attributes)
        self.array.compute(-1.0)
        return published

    def publish_host(self, name: str = "a") -> Any:
        step = self.step[name] = self.step[name] + 1
        return self.coupling.publish(name, np.full(SHAPE, value_of(name, step)), step)

    def work(self) -> None:
        """Let the device do all that it was given."""
        while self.runtime.step():
            pass

    def serve(self) -> None:
        while self.service.serve_once():
            pass

    def close(self) -> None:
        self.runtime.eager = random.Random(0)
        self.coupling.close()

    def waiting(self) -> list[tuple[str, int]]:
        return [(ready.stream, ready.step) for ready in self.consumer.ready()]

    def steps(self, name: str = "a") -> list[int]:
        return [step for stream, step, _, _ in self.seen.frames if stream == name]

    def fates(self) -> dict[int, str]:
        """Outcome of each step; for tests with the stream ``a`` alone."""
        return dict(self.ledger.rows)

    def assert_whole(self) -> None:
        """What was seen is what was published, in order, and every frame has one row."""
        for name, step, array, _ in self.seen.frames:
            blocks = self.array.memory.size // array.size  # of a coarser frame are added up
            np.testing.assert_array_equal(array, blocks * value_of(name, step))
        for name in "ab":
            assert self.steps(name) == sorted(self.steps(name))
        books = self.ledger.summary()
        assert all(one["open"] == 0 for one in books.values())
        assert sum(one["published"] for one in books.values()) == len(self.ledger.rows)
        assert len(self.ledger.rows) == sum(step + 1 for step in self.step.values())


def value_of(name: str, step: int) -> float:
    return step + (0.25 if name == "a" else 0.5)
