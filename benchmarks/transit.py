"""A running query moves between a simulation's worker and a stream engine, under load: what it costs. JSON lines.

    python benchmarks/transit.py [--sections '[migration,restart,speed,faults]'] [--engine flink]
                                 [--states_MB '[0,1,10,100]'] [--sizes_KB '[128,2048,8192]']

migration   one simulation rank publishes frames of 128 KB every 50 ms; the query moves to the engine and back, with a
            memory of so many MB. ``longest_call_ms``: of publish and end_step, before and during the migration;
            ``gap_periods``: from the old side's last answer to the new side's first; ``recovered_s``: from the
            beginning until frames are answered within twice what the new side takes in the end.
restart     what there is without migration: the coupling is closed, log and engine are started, a new coupling begins
            there; and the same back. ``stalled_s``: how long the simulation published nothing; it would have lost the
            frames of that time had it gone on. The memory is lost.
speed       frames of each size: latency from publishing to answer in situ and in transit at a rate that both keep up
            with, and how many a second are answered of a simulation that publishes as fast as it may.
faults      kill -9 of the worker in situ, of engine and broker in transit: until answers come again; and an engine that
            stands still for eight seconds: how fast it catches up.

The analysis adds a frame up, so that what is measured is the way there. ``load``: the machine's average of the last
minute when a run begins.
"""

import signal
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse import auto_cli
from machine import emit, load, machine

sys.path.insert(0, str(Path(__file__).parent / "transit_parts"))

from measured import answered, books, longest_silence, migrations, move_figures, quantiles_ms
from moving import Moving, moving

from inference_insitu.watching.run_files import read_run

OUT, BACK = "in_transit", "in_situ"
PERIOD_S = {128: 0.05, 2048: 0.1, 8192: 0.4}
STAY_S = 8.0
"""How long the query stays on a side before it moves on."""
OUTAGE_S, RECOVER_S = 8.0, 300.0


def main(
    sections: tuple[Literal["migration", "restart", "speed", "faults"], ...] = (
        "migration",
        "restart",
        "speed",
        "faults",
    ),
    engine: str = "flink",
    states_MB: tuple[int, ...] = (0, 1, 10, 100),
    sizes_KB: tuple[int, ...] = (128, 2048, 8192),
) -> None:
    emit(benchmark="transit", machine=machine(), engine=engine, load=load())
    for state_MB in states_MB if "migration" in sections else ():
        migration(engine, state_MB)
    if "restart" in sections:
        restart(engine)
    for size_KB in sizes_KB if "speed" in sections else ():
        latency(engine, size_KB)
        throughput(engine, size_KB)
    if "faults" in sections:
        faults(engine)


def migration(engine: str, state_MB: int) -> None:
    given = {"bytes": 128 << 10, "period_s": PERIOD_S[128], "state_bytes": state_MB << 20}
    at_start = load()
    with moving(given, engine=engine) as run:
        until_s = there_and_back(run)
        calls = run.end()
        shown = read_run(run.outputs[0])
        for move, end_s in zip(migrations(shown), until_s, strict=True):
            figures = move_figures(shown, move, calls, given["period_s"], end_s)
            emit(section="migration", state_MB=state_MB, **figures, load=at_start)
        emit(section="migration", state_MB=state_MB, **books(run.outputs[0], calls[:, 0].astype(int)))


def there_and_back(run: Moving) -> list[float]:
    """Out, and back; when each stay has ended."""
    output, until_s = run.outputs[0], []
    run.serve(output)
    time.sleep(STAY_S)
    for to in (OUT, BACK):
        run.migrate(output, to)
        time.sleep(STAY_S)
        until_s.append(time.monotonic())
    run.stop(output)
    return until_s


def restart(engine: str) -> None:
    given = {"bytes": 128 << 10, "period_s": PERIOD_S[128]}
    at_start = load()
    with moving(given, engine=engine, episodes=3) as run:
        first, second, third = run.outputs
        run.until(lambda: run.happened(first, "worker_ready"), RECOVER_S, "the worker")
        time.sleep(STAY_S)
        run.stop(first)
        run.serve(second)
        run.migrate(second, OUT)
        run.go(second)
        time.sleep(STAY_S)
        run.stop(second)
        run.until(lambda: run.happened(third, "worker_ready"), RECOVER_S, "the worker")
        run.go(third)
        time.sleep(STAY_S)
        run.stop(third)
        calls = run.end()
        sides = [answered(read_run(output)) for output in run.outputs]
    between_s = np.diff(calls[:, 1])
    stalls_s = between_s[np.sort(np.argsort(between_s)[-2:])]  # the two longest, as they came
    for to, stalled_s, (old, new) in zip((OUT, BACK), stalls_s.tolist(), pairwise(sides), strict=True):
        silent_s = float(new.answered_s.min() - old.answered_s.max())
        emit(
            section="restart",
            to=to,
            stalled_s=round(stalled_s, 2),
            stalled_periods=round(stalled_s / given["period_s"]),
            gap_periods=round(silent_s / given["period_s"]),
            load=at_start,
        )


def latency(engine: str, size_KB: int) -> None:
    given = {"bytes": size_KB << 10, "period_s": PERIOD_S.get(size_KB, 0.4), "slots": 16}
    at_start = load()
    with moving(given, engine=engine) as run:
        there_and_back(run)
        calls = run.end()
        shown = read_run(run.outputs[0])
        found, (out, back) = answered(shown), migrations(shown)
        for site, first_s, last_s in (
            ("in situ", out.begun_s - STAY_S, out.begun_s),
            ("in transit", out.committed_s + 2.0, back.begun_s),
        ):
            seconds = found.within(first_s, last_s).latency_s
            emit(section="latency", site=site, size_KB=size_KB, period_s=given["period_s"], frames=len(seconds),
                 latency_ms=quantiles_ms(seconds), load=at_start)  # fmt: skip
        emit(section="latency", size_KB=size_KB, **books(run.outputs[0], calls[:, 0].astype(int)))


def throughput(engine: str, size_KB: int) -> None:
    blocking = {"policy": {"kind": "block", "timeout_s": 600.0}, "slots": 8}
    given = {"bytes": size_KB << 10, "period_s": 0.0} | blocking
    at_start = load()
    with moving(given, engine=engine) as run:
        there_and_back(run)
        run.end()
        shown = read_run(run.outputs[0])
        times, (out, back) = answered(shown).answered_s, migrations(shown)
        for site, first_s, last_s in (
            ("in situ", out.begun_s - 5.0, out.begun_s),
            ("in transit", out.committed_s + 2.0, back.begun_s),
        ):
            rate = float(((times >= first_s) & (times < last_s)).sum() / (last_s - first_s))
            emit(section="throughput", site=site, size_KB=size_KB, frames_per_s=round(rate, 1),
                 MB_per_s=round(rate * size_KB / 1024, 1), load=at_start)  # fmt: skip


def faults(engine: str) -> None:
    given = {"bytes": 128 << 10, "period_s": PERIOD_S[128], "slots": 4096}
    at_start = load()
    with moving(given, engine=engine) as run:
        output, killed = run.outputs[0], {}
        run.serve(output)
        time.sleep(STAY_S)
        killed["worker"] = run.signal("worker", signal.SIGKILL)
        wait_answered(run, killed["worker"])
        run.migrate(output, OUT)
        for part in ("engine", "broker"):
            time.sleep(STAY_S)
            killed[part] = run.signal(part, signal.SIGKILL)
            wait_answered(run, killed[part])
        time.sleep(STAY_S)
        run.signal("engine", signal.SIGSTOP)
        time.sleep(OUTAGE_S)
        back_s = run.signal("engine", signal.SIGCONT)
        wait_answered(run, back_s)
        run.migrate(output, BACK)
        time.sleep(STAY_S)
        run.stop(output)
        calls = run.end()
        found = answered(read_run(output))
        ends_s = [*killed.values(), back_s - OUTAGE_S][1:]
        for (part, at_s), end_s in zip(killed.items(), ends_s, strict=True):
            seconds = longest_silence(found, at_s, end_s)
            emit(section="faults", killed=part, answers_again_s=round(seconds, 2), load=at_start)
        emit(section="faults", **caught_up(found, back_s), arrivals_per_s=1 / given["period_s"], load=at_start)
        emit(section="faults", **books(output, calls[:, 0].astype(int)))


def wait_answered(run: Moving, since_s: float) -> None:
    """Until what was published in the two seconds after ``since_s`` has its answers."""

    def caught() -> bool:
        found = answered(read_run(run.outputs[0]))
        return bool((found.published_s > since_s + 2.0).any())

    time.sleep(3.0)
    run.until(caught, RECOVER_S, "answers after a fault")


def caught_up(found: Any, back_s: float) -> dict[str, float]:
    """How fast what had piled up was answered."""
    late = found.published_s <= back_s
    end_s = float(found.answered_s[late].max())
    count = int(((found.answered_s >= back_s) & (found.answered_s <= end_s)).sum())
    return {
        "outage_s": OUTAGE_S,
        "caught_up_s": round(end_s - back_s, 2),
        "answers_per_s": round(count / max(end_s - back_s, 1e-9), 1),
    }


if __name__ == "__main__":
    auto_cli(main)
