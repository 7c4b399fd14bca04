"""Real runs that the scaling model is held against: ranks under ``mpiexec``, and one process that plays many ranks.

The second has as many rings as a keeper would serve, and a real worker process that reads them; it lacks the ranks.
"""

import json
import os
import secrets
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jobs import HERE, run_ranks
from scaling_case import Case, ServiceTime

from cdi.config import read_object, write_config
from inference_insitu.books.ledger import Ledger
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.inference.supervisor import Supervisor
from inference_insitu.ring.layout import Kind, Layout, Side, SlotGroup, Word
from inference_insitu.ring.producer import Producer
from inference_insitu.ring.region import PREFIX, SHARED_MEMORY, Region
from inference_insitu.ring.stream import StreamPlan
from inference_insitu.waiting import wait_until
from inference_insitu.watching.events import EventLog
from inference_insitu.watching.ledger_files import read_ledger

NETWORK = {"plugin": "analyses:Network"}
USUAL_S = 0.001
"""What the coupling's calls take at most where no policy waits: what is beyond is waiting, and no part of a period."""


def asleep(service: ServiceTime) -> dict[str, Any]:
    """An analysis that takes as long as ``service`` says."""
    return {"plugin": "scaling_service:Asleep", "options": asdict(service)}


def configuration(case: Case, analysis: dict[str, Any]) -> dict[str, Any]:
    """A coupling of one keeper."""
    policy = {"kind": case.policy.kind, "every": case.policy.every, "timeout_s": case.policy.timeout_s}
    batch = {"size": case.batch.size, "delay_s": case.batch.delay_s}
    return {
        "streams": {"frames": {"analysis": "answer", "policy": policy, "steps": case.slots}},
        "analyses": {"answer": analysis | {"batch": batch}},
        "placement": {"kind": case.placement, "ranks": 1},
    }


def side(case: Case) -> tuple[int, ...]:
    """Shape of its frames: a cube if they make one."""
    edge = round((case.bytes / 4) ** (1 / 3))
    return (edge,) * 3 if 4 * edge**3 == case.bytes else (case.bytes // 4,)


def coupled(case: Case, analysis: dict[str, Any], frames: int) -> dict[str, Any]:
    """``case.served`` simulation ranks and a keeper under ``mpiexec``."""
    given = {
        "what": "run", "config": configuration(case, analysis), "frames": frames, "period_s": case.period_s,
        "calls": case.calls, "shape": side(case), "usual_s": USUAL_S,
    }  # fmt: skip
    found: dict[str, Any] = run_ranks("scaling_ranks.py", case.served + 1, given, timeout_s=300)
    return found


def many_rings(case: Case, analysis: dict[str, Any], frames: int) -> dict[str, Any]:
    """``case.served`` rings, all written by this process, and a worker of their own."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
    name = f"{PREFIX}scaling{secrets.token_hex(4)}"
    slots = SlotGroup("frames", Kind.MEMORY, case.slots, case.bytes)
    layout = Layout((slots,), "", {"frames": ("float32", side(case))})
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        config = read_object(CouplingConfig, configuration(case, analysis), origin="scaling")
        write_config(config, folder / "coupling.yaml")
        paths = [SHARED_MEMORY / f"{name}-{rank}" for rank in range(case.served)]
        origin_ns = time.monotonic_ns()
        try:
            regions = [Region.create(layout, rank=rank, path=path) for rank, path in enumerate(paths)]
            producers = [
                Producer(region, {"frames": StreamPlan(case.policy)}, Ledger(folder, rank, origin_ns=origin_ns))
                for rank, region in enumerate(regions)
            ]
            task = folder / "worker.json"
            WorkerSpec(0, tuple(map(str, paths)), str(folder / "coupling.yaml"), str(folder)).write(task)
            supervisor = Supervisor(
                task, [Region.open(path) for path in paths], failure=config.on_inference_failure,
                placement=config.placement, events=EventLog(None, "scaling"),
            )  # fmt: skip
            if not wait_until(lambda: _ready(supervisor, regions[0]), timeout_s=60):
                raise RuntimeError("the worker is not ready")
            period_s, share = _publish(case, producers, frames)
            for producer in producers:
                producer.announce_end()
            wait_until(lambda: _drained(supervisor, producers), timeout_s=120)
            for producer in producers:
                producer.close()
            supervisor.stop(timeout_s=10)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)
        return books(folder) | {"period_s": period_s, "worker_core_share": share}


def books(output: Path) -> dict[str, Any]:
    """What the ledgers in ``output`` say, and how many files there are."""
    rows = read_ledger(output)
    inferred = rows.fate.where("inferred")
    answered_s = rows.published_s[inferred] + rows.latency_s[inferred]
    return {
        "published": len(rows),
        "fates": rows.fate.counts(),
        "throughput": float(inferred.sum() / (answered_s.max() - rows.published_s.min())) if inferred.any() else 0.0,
        "latency_s": np.percentile(rows.latency_s[inferred], (50, 99)).tolist() if inferred.any() else None,
        "files": len(list(output.iterdir())),
        "batches": batches(output),
    }


def batches(output: Path) -> list[tuple[int, float]]:
    """Size and seconds of every batch, as its answers say."""
    found = {}
    for path in output.glob("results-*.jsonl"):
        for line in path.read_text().splitlines():
            answer = json.loads(line)
            # One duration to the microsecond is one batch.
            found[answer["inferred_s"]] = int(answer["batch"])
    return [(size, seconds) for seconds, size in found.items()]


def _ready(supervisor: Supervisor, region: Region) -> bool:
    supervisor.poll()
    return bool(region.words[Word.CONSUMER_STATE] == Side.READY)


def _publish(case: Case, producers: list[Producer], frames: int) -> tuple[float, float]:
    """The mean period as it was, and how much of a core the worker had meanwhile."""
    array = np.ones(case.bytes // 4, np.float32)
    worker = producers[0].region.words[Word.CONSUMER_PID]
    began_s, used_s = time.monotonic(), _processor_s(worker)
    due_s = began_s
    for step in range(frames):
        time.sleep(max(0.0, due_s - time.monotonic()))
        due_s += case.period_s
        for producer in producers:
            producer.publish("frames", array, step)
        for producer in producers:
            producer.poll()
    passed_s = time.monotonic() - began_s
    return passed_s / frames, (_processor_s(worker) - used_s) / passed_s


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _drained(supervisor: Supervisor, producers: list[Producer]) -> bool:
    supervisor.poll()
    for producer in producers:
        producer.poll()
    return not any(producer.open for producer in producers)
