"""What a coupling costs a simulation, how soon and how fast it answers, beside other ways to do it. JSON lines.

    python benchmarks/coupling.py [--sections '[ladder,latency,throughput,peers,charged,device]'] [--steps 500]
                                  [--step_s 0.02] [--sizes '[1048576,8388608]'] [--works '[sleep,compute]'] [--ranks 1]
                                  [--repeats 3] [--frames 96] [--device cuda] [--seed 0]

ladder      added time of a step, largest over the ranks: without a coupling, a bare copy of the same bytes, no-op
            (attached, nothing published), publish (the analysis never ends), a null analysis, the shipped network, an
            analysis three times slower than a step under every policy that does not block, and five frames every fifth
            step. All arms live through one job and take turns, block by block; the first five steps of a block are
            not counted. ``added`` is against ``none`` in the same job: median and 99th percentile in per cent of a
            step, with 95 % intervals by resampling blocks. ``calls`` times the coupling's own calls.
latency     from the scheduled publication to the answer, at fixed rates; a late publication counts from its schedule.
            A rate is ``sustained`` where every frame is answered and the second half waits no longer than the first.
throughput  patterns a second through the coupling against the same network alone, on the same core (and on the GPU,
            where there is one), in turns.
peers       the producer's time for a step beside ADIOS2 SST and a Redis exchange of the same arrays, where installed.
charged     the core that inference takes: the same work by all cores without a coupling, by one fewer and a dedicated
            core, and by all with the worker among them.
device      arrays on a GPU: the time of the coupling's calls by each path, beside bare copies of the same bytes to the
            host; ``reusable`` is until anything may overwrite the array, whatever its stream. With --device cpu the
            same arrays of the host.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from machine import emit, machine

sys.path.insert(0, str(Path(__file__).parent / "coupling_parts"))

from figures import added, described_ms
from jobs import run_ranks

BLOCK = 25
NULL: dict[str, Any] = {"plugin": "analyses:null"}
NETWORK: dict[str, Any] = {"plugin": "analyses:Network"}
ON_DEVICE: dict[str, Any] = {"plugin": "analyses:OnDevice"}
BUSY: dict[str, Any] = {"plugin": "analyses:busy", "options": {"seconds": 0.2}}
NULL_RATES = (50.0, 200.0, 1000.0, 3000.0)
NETWORK_RATES = (1.0, 2.0, 3.0, 4.0, 6.0)


def main(
    sections: tuple[str, ...] = ("ladder", "latency", "throughput", "peers", "charged", "device"),
    steps: int = 500,
    step_s: float = 0.02,
    sizes: tuple[int, ...] = (1 << 20, 8 << 20),
    works: tuple[str, ...] = ("sleep", "compute"),
    ranks: int = 1,
    repeats: int = 3,
    frames: int = 96,
    device: str = "cuda",
    seed: int = 0,
) -> None:
    emit(benchmark="coupling", machine=machine(), steps=steps, step_s=step_s, ranks=ranks, seed=seed)
    if "ladder" in sections:
        for size in sizes:
            for work in works:
                ladder(size, work, steps, step_s, ranks, seed)
    if "latency" in sections:
        for name, analysis, rates in (("null", NULL, NULL_RATES), ("network", NETWORK, NETWORK_RATES)):
            for rate in rates:
                latency(name, analysis, rate)
    if "throughput" in sections:
        throughput(repeats, frames)
    if "peers" in sections:
        for size in sizes:
            peers(size, steps, step_s, seed)
    if "charged" in sections:
        charged(step_s)
    if "device" in sections:
        for size in sizes:
            on_device(size, steps, step_s, device)


def ladder(size: int, work: str, steps: int, step_s: float, ranks: int, seed: int) -> None:
    arms = ladder_arms(step_s)
    blocks = -(-steps // BLOCK)
    given = {"arms": arms, "bytes": size, "work": work, "step_s": step_s, "blocks": blocks, "block_steps": BLOCK}
    expected_s = len(arms) * (blocks * (BLOCK + 5) * step_s * 1.5 + 20)
    times = run_ranks("ladder.py", ranks, given, timeout_s=120 + 3 * expected_s)
    none, copy_ms = times["none"][0], described_ms(times["copy"][1])["p50"]
    for name, (whole, calls) in times.items():
        own = described_ms(calls)
        emit(
            section="ladder",
            bytes=size,
            work=work,
            arm=name,
            steps=len(whole),
            step_ms=described_ms(whole),
            calls_ms=own,
            times_a_copy=round(own["p50"] / copy_ms, 3),
            **added(whole, none, block=BLOCK, step_s=step_s, seed=seed),
        )


def ladder_arms(step_s: float) -> dict[str, dict[str, Any]]:
    slow = {"plugin": "analyses:slow", "options": {"seconds": 3 * step_s}}
    policies: dict[str, dict[str, Any]] = {
        "latest": {"kind": "latest"},
        "drop_newest": {"kind": "drop_newest"},
        "sample": {"kind": "sample", "every": 2},
        "degrade": {"kind": "degrade", "factor": 2},
        "spill": {"kind": "spill", "spill_bytes": 1 << 28},
    }
    return {
        "none": {"does": "nothing"},
        "copy": {"does": "copy"},
        "no-op": {"does": "end_step", "config": configured(NULL)},
        "publish": {"does": "publish", "config": configured({"plugin": "analyses:slow", "options": {"seconds": 3600}})},
        "null": {"does": "publish", "config": configured(NULL)},
        "network": {"does": "publish", "config": configured(NETWORK)},
        **{f"slow, {name}": {"does": "publish", "config": configured(slow, one)} for name, one in policies.items()},
        "burst": {"does": "publish", "config": configured(NULL), "every": 5, "frames": 5},
    }


def latency(name: str, analysis: dict[str, Any], rate: float) -> None:
    frames = int(min(2000, max(40, 10 * rate)))
    given = {"config": configured(analysis, {"kind": "drop_newest"}, steps=64), "shape": [32] * 3, "frames": frames}
    found = run_ranks("rates.py", 1, given | {"rate": rate}, timeout_s=300 + 4 * frames / rate)
    first, second = found["latency_first_half_s"], found["latency_second_half_s"]
    emit(
        section="latency",
        analysis=name,
        rate_per_s=rate,
        bytes=4 * 32**3,
        frames=frames,
        fates=found["fates"],
        latency_ms=described_ms(found["latency_s"]) if found["latency_s"] else None,
        median_ms_by_halves=[None if half is None else round(1e3 * half, 3) for half in (first, second)],
        sustained=found["inferred"] == frames and second < 1.5 * first + 0.002,
    )


def throughput(repeats: int, frames: int) -> None:
    """A blocking policy keeps the worker busy all the time; frames of the first batch warm both sides up alike."""
    batch = 8
    analysis = NETWORK | {"batch": {"size": batch, "delay_s": 0.05}}
    config = configured(analysis, {"kind": "block", "timeout_s": 600.0}, steps=3 * batch)
    config["on_inference_failure"]["drain_timeout_s"] = 600.0
    given = {"shape": [32] * 3, "frames": frames}
    for repeat in range(repeats):
        alone = run_ranks("alone.py", 1, given | {"batch": batch}, timeout_s=900)
        coupled = run_ranks("rates.py", 1, given | {"config": config, "rate": None}, timeout_s=900)
        emit(
            section="throughput",
            repeat=repeat,
            batch=batch,
            frames=frames,
            device=alone["device"],
            alone_per_s=round(alone["answers_per_s"], 3),
            coupled_per_s=round(coupled["answers_per_s"], 3),
            part=round(coupled["answers_per_s"] / alone["answers_per_s"], 3),
            inferred=coupled["inferred"],
        )


def peers(size: int, steps: int, step_s: float, seed: int) -> None:
    blocks = -(-steps // BLOCK)
    given = {"config": configured(NULL), "bytes": size, "step_s": step_s, "blocks": blocks, "block_steps": BLOCK}
    found = run_ranks("peers.py", 1, given, timeout_s=300 + 20 * blocks * BLOCK * step_s)
    for name, calls in found["calls"].items():
        emit(section="peers", bytes=size, arm=name, steps=len(calls), calls_ms=described_ms(calls))
    for name, why in found["missing"].items():
        emit(section="peers", bytes=size, arm=name, missing=why)


def charged(step_s: float) -> None:
    """As much work a step for all as ``shares`` of ``step_s`` on one core."""
    cores = len(os.sched_getaffinity(0))
    shares = cores * max(cores - 1, 1)
    given = {"bytes": 1 << 20, "step_s": step_s, "steps": 100, "shares": shares}
    arms = {
        "all cores, no coupling": (cores, None),
        "one fewer, dedicated core": (max(cores - 1, 1), configured(BUSY)),
        "all cores, worker among them": (cores, configured(BUSY)),
    }
    plain, sweeps = None, None
    for name, (ranks, config) in arms.items():
        found = run_ranks("charged.py", ranks, given | {"config": config, "sweeps": sweeps}, timeout_s=600)
        seconds, sweeps = found["step_s"], found["sweeps"]
        plain = plain or seconds
        emit(section="charged", arm=name, cores=cores, ranks=ranks, step_ms=round(1e3 * seconds, 3),
             times=round(seconds / plain, 3))  # fmt: skip


def on_device(size: int, steps: int, step_s: float, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        emit(section="device", bytes=size, missing="torch.cuda.is_available() is False")
        return
    paths = ("plain", "pinned", "ipc") if device == "cuda" else ("auto",)
    arms = {
        f"publish, {path}": configured(ON_DEVICE if path == "ipc" else NULL) | {"device": path} for path in paths
    }  # fmt: skip
    blocks = -(-steps // BLOCK)
    given = {"arms": arms, "bytes": size, "step_s": step_s, "blocks": blocks, "block_steps": BLOCK, "device": device}
    found = run_ranks("on_device.py", 1, given, timeout_s=120 + 10 * blocks * BLOCK * step_s)
    bare = {name: described_ms(found["calls"][name])["p50"] for name in ("copy", "copy, page-locked")}
    for name, calls in found["calls"].items():
        own = described_ms(calls)
        emit(
            section="device",
            device=device,
            bytes=size,
            arm=name,
            steps=len(calls),
            calls_ms=own,
            reusable_ms=described_ms(found["whole"][name]),
            times_a_copy=round(own["p50"] / bare["copy"], 3),
            times_a_page_locked_copy=round(own["p50"] / bare["copy, page-locked"], 3),
            **found["told"].get(name, {}),
        )


def configured(analysis: dict[str, Any], policy: dict[str, Any] | None = None, **stream: Any) -> dict[str, Any]:
    """A coupling of one stream; a worker that is stopped in the middle of an answer is not waited for at the end."""
    batch = {"batch": {"size": 1, "delay_s": 0.0}}
    return {
        "streams": {"pattern": {"analysis": "answer", "policy": policy or {"kind": "latest"}, "steps": 4} | stream},
        "analyses": {"answer": batch | analysis},
        "placement": {"kind": "process"},
        "on_inference_failure": {"drain_timeout_s": 1.0, "hang_timeout_s": 7200.0},
    }


if __name__ == "__main__":
    auto_cli(main)
