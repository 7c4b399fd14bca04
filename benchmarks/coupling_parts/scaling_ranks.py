"""Ranks of the scaling benchmark: what messages cost between them, or a coupled run. ``coupling_scaling.py`` starts it.

The task's ``what`` is ``messages`` (two ranks), ``steering`` (any number) or ``run`` (a coupling as in its ``config``).
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from scaling_truth import books

from cdi.config import read_object
from inference_insitu import CouplingConfig, Variable, attach
from inference_insitu.books.ledger import Ledger
from inference_insitu.placement.mpi import SteeringCollective, agreed
from inference_insitu.placement.mpi_wire import MpiWire
from inference_insitu.placement.relay_receiver import Receiver
from inference_insitu.placement.relay_sender import Sender
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Kind, Layout, Side, SlotGroup, Word
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.producer import Producer
from inference_insitu.ring.region import PREFIX, SHARED_MEMORY, Region
from inference_insitu.ring.stream import StreamPlan
from inference_insitu.steering.config import SteeringConfig
from inference_insitu.steering.start import start_steering
from inference_insitu.waiting import wait_until
from inference_insitu.watching.events import EventLog

PAIRS = 8
"""Simulation ranks that one pair of processes plays, each with a wire of its own."""
STEPS = 40
TIMEOUT_S = 60.0


def summary(seconds: list[float]) -> dict[str, float]:
    """Minimum and median in microseconds."""
    return {"minimum": 1e6 * min(seconds), "median": 1e6 * statistics.median(seconds)}


def messages(world: MPI.Intracomm, given: dict[str, Any]) -> dict[str, Any]:
    """One way between two ranks by size, a maximum over both, and a relay's calls on either side."""
    found: dict[str, Any] = {"one_way_us": {size: summary(_one_way(world, size)) for size in given["sizes"]}}
    found["maximum_us"] = summary(_maxima(world))
    found["relay_us"] = {size: _relay(world, size) for size in given["relay_sizes"]}
    return found


def _one_way(world: MPI.Intracomm, size: int, repeats: int = 60) -> list[float]:
    """Half of there and back, by the relay's own wire; both sides look without sleeping."""
    wire, first = MpiWire(world, 1 - world.rank), world.rank == 0
    data, into = memoryview(bytearray(size)), memoryview(bytearray(size))
    receiving = wire.receiving(into, 9)
    seconds = []
    for _ in range(repeats + 5):
        receiving.start()
        began = time.perf_counter()
        sending = wire.send(data, 9) if first else None
        while receiving.received() is None:
            pass
        sending = sending or wire.send(data, 9)
        seconds.append((time.perf_counter() - began) / 2)
        while not sending.done():
            pass
    return seconds[5:]


def _maxima(world: MPI.Intracomm, repeats: int = 200) -> list[float]:
    seconds = []
    mine, largest = np.zeros(1, np.int64), np.empty(1, np.int64)
    for _ in range(repeats):
        began = time.perf_counter()
        request = world.Iallreduce(mine, largest, MPI.MAX)
        while not request.Test():
            pass
        seconds.append(time.perf_counter() - began)
    return seconds


def _relay(world: MPI.Intracomm, size: int) -> dict[str, Any]:
    wires = [MpiWire(world.Dup(), 1 - world.rank) for _ in range(PAIRS)]
    layout = Layout((SlotGroup("frames", Kind.MEMORY, 4, size),), "", {"frames": ("float32", (size // 4,))})
    mine = _send(world, wires, layout, size) if world.rank == 0 else _keep(world, wires)
    parts = world.gather(json.dumps(mine), 0)
    return {} if parts is None else json.loads(parts[0]) | json.loads(parts[1])


def _send(world: MPI.Intracomm, wires: list[MpiWire], layout: Layout, size: int) -> dict[str, Any]:
    array = np.ones(size // 4, np.float32)
    sides = []
    for rank, wire in enumerate(wires):
        region = Region.create(layout, rank=rank)
        sender = Sender(region, wire, events=EventLog(None, ""))
        ledger = Ledger(None, rank, origin_ns=time.monotonic_ns())
        sides.append((Producer(region, {"frames": StreamPlan(PolicyConfig(kind="drop_newest"))}, ledger), sender))
    wait_until(lambda: _all_ready([sender for _, sender in sides]), timeout_s=TIMEOUT_S)
    _meet(world)  # the keeper counts what its passes take while nothing comes
    time.sleep(0.5)
    _meet(world)
    publishing, ending = [], []
    for step in range(STEPS):
        time.sleep(0.004)
        for producer, sender in sides:
            began = time.thread_time()
            producer.publish("frames", array, step)
            sender.progress()
            published = time.thread_time()
            producer.poll()
            sender.progress()
            publishing.append(published - began)
            ending.append(time.thread_time() - published)
    wait_until(lambda: _settled(sides), timeout_s=TIMEOUT_S)
    _meet(world)
    for producer, sender in sides:
        producer.announce_end()
        producer.close()
        sender.close()
    refused = sum(producer.ledger.summary()["frames"]["dropped"].get("full", 0) for producer, _ in sides)
    return {"publish": summary(publishing), "end_step": summary(ending), "refused": refused}


def _meet(world: MPI.Intracomm) -> None:
    """A barrier that the other side may enter without blocking."""
    if not wait_until(world.Ibarrier().Test, timeout_s=TIMEOUT_S):
        raise TimeoutError("the other rank did not come")


def _all_ready(senders: list[Sender]) -> bool:
    for sender in senders:
        sender.progress()
    return all(sender.state == Side.READY for sender in senders)


def _settled(sides: list[tuple[Producer, Sender]]) -> bool:
    for producer, sender in sides:
        sender.progress()
        producer.poll()
    return not any(producer.open for producer, _ in sides)


def _keep(world: MPI.Intracomm, wires: list[MpiWire]) -> dict[str, Any]:
    """A keeper and its worker in one: passes over all receivers are timed, answers are not."""
    name = f"{PREFIX}scaling{time.monotonic_ns()}"
    receivers = [
        Receiver(
            wire, rank=rank, path=SHARED_MEMORY / f"{name}-{rank}", slots_of=lambda stream, slots: slots, tell=print
        )
        for rank, wire in enumerate(wires)
    ]
    wait_until(lambda: _pass(receivers) >= 0 and all(one.has_ring for one in receivers), timeout_s=TIMEOUT_S)
    consumers = [Consumer(Region.open(one.path), pid=1) for one in receivers]
    for consumer in consumers:
        consumer.region.words[Word.SUPERVISOR_STATE] = Side.STARTING
        consumer.state = Side.READY
    end = world.Ibarrier()
    while not end.Test():
        _pass(receivers)
    idle, ended = [], time.monotonic() + 0.4
    while time.monotonic() < ended:
        idle.append(_pass(receivers))
        time.sleep(0.0005)
    _meet(world)
    pass_s = statistics.median(idle)
    busy, answered = [], 0
    end = world.Ibarrier()
    while not end.Test():
        seconds, before = _pass(receivers), answered
        for consumer in consumers:
            for ready in consumer.ready():
                claimed = consumer.claim(ready)
                if claimed is not None:
                    consumer.settle(claimed, "inferred")
                    answered += 1
        busy.append(max(0.0, seconds - pass_s))
        if answered == before:
            time.sleep(0.0002)
    frame_s = sum(busy) / max(answered, 1)
    wait_until(lambda: _pass(receivers) >= 0 and all(one.over for one in receivers), timeout_s=TIMEOUT_S)
    for one in receivers:
        one.close()
    rings = {kind: value / PAIRS for kind, value in summary(idle).items()}
    return {"keeper_ring": rings, "keeper_frame": 1e6 * frame_s, "answered": answered}


def _pass(receivers: list[Receiver]) -> float:
    """Processor time of a pass over all of them."""
    began = time.thread_time()
    for receiver in receivers:
        receiver.progress()
    return time.thread_time() - began


def steering(world: MPI.Intracomm, given: dict[str, Any]) -> dict[str, Any]:
    """``poll_steering`` in a simulation that speaks to its neighbours between, and in one that does not."""
    found = {}
    for talks in (True, False):
        for lag in given["lags"]:
            with tempfile.TemporaryDirectory() as folder:
                collective = SteeringCollective(world)
                steered = start_steering(
                    SteeringConfig(lag=lag), collective, world.rank, Path(folder), EventLog(None, "")
                )
                seconds = []
                for step in range(given["steps"]):
                    time.sleep(given["step_s"])
                    if talks:
                        _neighbours(world)
                    began = time.perf_counter()
                    steered.step(step)
                    seconds.append(time.perf_counter() - began)
                steered.close()
            each = np.array(seconds[10:])
            middle = np.array([np.median(each), each.mean()])
            largest = np.empty_like(middle)
            world.Allreduce(middle, largest, MPI.MAX)
            found[f"{'talks' if talks else 'quiet'}, lag {lag}"] = {
                "median": 1e6 * largest[0], "mean": 1e6 * largest[1], "minimum": 1e6 * float(each.min())
            }  # fmt: skip
    began = time.perf_counter()
    for _ in range(5):
        agreed(world, lambda: None, timeout_s=TIMEOUT_S)
    return {"poll_us": found, "agreed_s": (time.perf_counter() - began) / 5}


def _neighbours(world: MPI.Intracomm) -> None:
    mine, theirs = np.zeros(64), np.zeros(64)
    for shift in (1, -1, 1, -1):
        world.Sendrecv(mine, (world.rank + shift) % world.size, 0, theirs, (world.rank - shift) % world.size, 0)


def run(world: MPI.Intracomm, given: dict[str, Any]) -> dict[str, Any]:
    """A bulk-synchronous simulation that sleeps for a step and publishes; what its ledger says."""
    output = Path(given["output"])
    pattern = np.random.default_rng(world.rank).exponential(10.0, tuple(given["shape"])).astype(np.float32)
    began = time.monotonic()
    coupling = attach(
        world, read_object(CouplingConfig, given["config"], origin="scaling"),
        variables={"frames": Variable("float32", pattern.shape)}, output=output,
    )  # fmt: skip
    attached_s = time.monotonic() - began
    comm = coupling.simulation_comm
    root = comm.rank == 0
    coupling_s = []
    waited_s = 0.0
    started = time.monotonic()
    for step in range(given["frames"]):
        began_s = time.monotonic()
        for call in range(given["calls"]):
            due_s = began_s + (call + 1) * given["period_s"] / given["calls"]
            time.sleep(max(0.0, due_s - time.monotonic()))
            if call < given["calls"] - 1:
                coupling.end_step(step * given["calls"] + call)
        wait_until(comm.Ibarrier().Test, timeout_s=TIMEOUT_S, interval_s=0.0003)
        entered = time.perf_counter()
        coupling.publish("frames", pattern, step)
        coupling.end_step((step + 1) * given["calls"] - 1)
        coupling_s.append(time.perf_counter() - entered)
        waited_s += max(0.0, coupling_s[-1] - given["usual_s"])
    period_s = (time.monotonic() - started - waited_s) / given["frames"]
    began = time.monotonic()
    coupling.close()
    closed_s = time.monotonic() - began
    found = {"period_s": period_s, "attach_s": attached_s, "close_s": closed_s, "coupling_us": summary(coupling_s)}
    return found | (books(output) if root else {})


def main(given: dict[str, Any]) -> None:
    world = MPI.COMM_WORLD
    found = {"messages": messages, "steering": steering, "run": run}[given["what"]](world, given)
    if world.rank == 0:
        Path(given["result"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
