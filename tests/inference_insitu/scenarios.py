"""Scenarios of the coupling protocol, each played on queues between threads and on MPI between processes.

A scenario is what the simulation does with its publisher, and which predictor and sink each
inference rank has. It returns plain figures, on which the same assertions hold for both.
Run as a script under mpiexec: rank 0 simulates, the others infer, rank 0 prints the figures.
"""

import json
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fakes
import numpy as np

from inference_insitu.config import PatternConfig
from inference_insitu.frame import Frame
from inference_insitu.publisher import Publisher
from inference_insitu.service import serve
from inference_insitu.transport import Link, QueueLink, wait_until

TIMEOUT_S = 60.0
DETECTOR = PatternConfig(shape=fakes.SHAPE, peak_counts=1e4)


@dataclass(frozen=True)
class Scenario:
    simulate: Callable[[Publisher, Path], None]
    predictor: Callable[[Path], Any]
    sink: Callable[[], Any] = fakes.CheckingSink
    drain_timeout_s: float = TIMEOUT_S


def _settled(publisher: Publisher) -> bool:
    publisher.poll()
    return publisher.books.open == 0


def _one_by_one(publisher: Publisher, frames: Sequence[Frame]) -> None:
    for frame in frames:
        publisher.publish(frame)
        assert wait_until(lambda: _settled(publisher), timeout_s=TIMEOUT_S)


def _steady(publisher: Publisher, gate: Path) -> None:
    # 64³ voxels are 1 MB: beyond what MPI sends eagerly.
    _one_by_one(publisher, [fakes.frame(0), fakes.frame(7, (64, 64, 64)), fakes.frame(9)])


def _while_busy(publisher: Publisher, gate: Path) -> None:
    # The gate opens only after the last publish: had one waited for the network, it never would.
    for step in range(6):
        publisher.publish(fakes.frame(step))
        publisher.poll()
    gate.touch()


def _with_faults(publisher: Publisher, gate: Path) -> None:
    broken = Frame(8, np.full(fakes.SHAPE, np.nan, np.float32), fakes.grid())
    dark = Frame(9, np.zeros(fakes.SHAPE, np.float32), fakes.grid())
    _one_by_one(publisher, [*(fakes.frame(step) for step in range(5)), broken, dark, fakes.frame(10)])


def _stuck(publisher: Publisher, gate: Path) -> None:
    for step in range(3):
        publisher.publish(fakes.frame(step))


SCENARIOS = {
    "steady": Scenario(_steady, lambda gate: fakes.FakePredictor()),
    "busy": Scenario(_while_busy, fakes.FakePredictor),
    "faults": Scenario(_with_faults, lambda gate: fakes.FaultyPredictor()),
    "full-disk": Scenario(_steady, lambda gate: fakes.FakePredictor(), sink=fakes.FullDisk),
    "stuck": Scenario(_stuck, fakes.FakePredictor, drain_timeout_s=0.5),
    "nothing": Scenario(lambda publisher, gate: None, fakes.FakePredictor),
}


def play_simulation(scenario: Scenario, links: Sequence[Link], gate: Path) -> dict[str, Any]:
    publisher = Publisher(links, heartbeat_s=0.05)
    publisher.connect(timeout_s=TIMEOUT_S)
    scenario.simulate(publisher, gate)
    books = publisher.finish(timeout_s=scenario.drain_timeout_s)
    gate.touch()
    fate = {str(step): outcome for step, outcome in books.fate.items()}
    return books.summary() | {"open": books.open, "fate": fate, "unanswering": publisher.unanswering}


def play_inference(scenario: Scenario, link: Link, gate: Path) -> dict[str, int]:
    sink = scenario.sink()
    counts = serve(link, scenario.predictor(gate), [sink], detector=DETECTOR, silence_timeout_s=TIMEOUT_S)
    return dict(counts)


def play_on_queues(name: str, inference_ranks: int, gate: Path) -> dict[str, Any]:
    scenario = SCENARIOS[name]
    pairs = [QueueLink.pair() for _ in range(inference_ranks)]
    threads = [threading.Thread(target=play_inference, args=(scenario, pair[1], gate), daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    figures = play_simulation(scenario, [pair[0] for pair in pairs], gate)
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
    return figures


def main(name: str, gate: Path) -> None:
    from inference_insitu import mpi

    world = mpi.world()
    if world.rank == 0:
        links = [mpi.MpiLink(world, peer) for peer in range(1, world.size)]
        print(json.dumps(play_simulation(SCENARIOS[name], links, gate)), flush=True)
    else:
        play_inference(SCENARIOS[name], mpi.MpiLink(world, 0), gate)
    mpi.wait_for_all(world, timeout_s=TIMEOUT_S)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
