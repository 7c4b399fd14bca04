"""Workers that come and go beside a simulation: what two answer that one does not, and what a change costs.

    python benchmarks/sharing.py

Three ranks publish 128 KB every 50 ms, which is 60 frames/s; an answer takes 25 ms and no core, so that one worker can
give at most 40/s and two 80/s. ``one`` and ``two`` have as many from the beginning to the end; ``rule`` begins with one
and brings the second where 12 frames wait for 0.5 s; ``asked`` is told 2, 1, 2 and 1 in turn. JSON lines:

``answered``, ``dropped``  of the frames published (rings of 16 steps, ``drop_newest``)
``wrong``                  answers before which the rank had not just as many: lost, twice, out of turn, or a lost count
``waited_s``               median and 95 % of the time from a frame to its answer
``change_s``               from the decision until every ring has its reader: the second worker starts, loads, warms up
``handed_ms``              from a ring's being given to its being taken
``longest_call_ms``        of ``publish`` and ``end_step``, on any rank
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from machine import emit, environment, load, machine

from inference_insitu.placement.launcher import mpiexec
from inference_insitu.sharing.wish import ask_for_workers
from inference_insitu.watching.events import read_events
from inference_insitu.watching.run_files import read_run

PARTS = Path(__file__).parent / "sharing_parts"
RANKS, KEEPERS, STEPS, PERIOD_S, ANSWER_S = 3, 2, 500, 0.05, 0.025
ARMS: dict[str, dict[str, Any]] = {
    "one": {"least": 1, "most": 1},
    "two": {"least": 2, "most": 2},
    "rule": {"least": 1, "most": 2, "behind": 12, "ahead": 0, "for_s": 0.5, "pause_s": 5.0},
    "asked": {"least": 1, "most": 2, "behind": 100_000},
}
START_S, CHANGE_S, END_S = 120.0, 60.0, 300.0


def main() -> None:
    emit(machine=machine(), load=load(), ranks=RANKS, period_s=PERIOD_S, answer_s=ANSWER_S)
    for arm, scaling in ARMS.items():
        with tempfile.TemporaryDirectory() as folder:
            measure(arm, scaling, Path(folder))


def measure(arm: str, scaling: dict[str, Any], folder: Path) -> None:
    config, output, task = folder / "coupling.yaml", folder / "run", folder / "task.json"
    config.write_text(yaml.safe_dump(coupling(scaling)))
    told = {"config": str(config), "output": str(output), "bytes": 128 << 10, "steps": STEPS, "period_s": PERIOD_S}
    task.write_text(json.dumps(told))
    command = [mpiexec(), "-n", RANKS + KEEPERS, sys.executable, "-m", "mpi4py", PARTS / "simulation.py", task]
    at_start = load()
    with subprocess.Popen([*map(str, command)], env=environment(PARTS)) as run:
        if arm == "asked":
            ask(output)
        if run.wait(END_S):
            raise RuntimeError(f"the run {arm} failed")
    emit(arm=arm, **figures(output), load=at_start)


def ask(output: Path) -> None:
    """Two, one, two and one worker, some seconds each."""
    end_s = time.monotonic() + START_S
    while not any(one.event == "worker_ready" for one in read_events(output)):
        if time.monotonic() > end_s:
            raise RuntimeError("no worker is ready")
        time.sleep(0.05)
    for count in ("2", "1", "2", "1"):
        time.sleep(2.0)
        ask_for_workers(output, count, timeout_s=CHANGE_S)


def figures(output: Path) -> dict[str, Any]:
    run = read_run(output)
    answers = [json.loads(line) for path in output.glob("results-*.jsonl") for line in path.read_text().splitlines()]
    waited_s = np.array([one["queued_s"] + one["inferred_s"] for one in answers])
    calls = np.concatenate([np.load(path) for path in output.glob("calls-*.npy")])
    events = run.events
    decided = [one.monotonic_s for one in events if one.event == "workers" and one.fields["rings"]]
    changed = [one.monotonic_s for one in events if one.event == "workers_changed"]
    given = sorted((one.fields["rank"], one.monotonic_s) for one in events if one.event == "ring_given")
    taken = sorted((one.fields["rank"], one.monotonic_s) for one in events if one.event == "ring_taken")
    handed_ms = [1e3 * (after - before) for (_, before), (_, after) in zip(given, taken, strict=True)]
    books = json.loads((output / "books.json").read_text())
    return {
        "published": books["published"],
        "answered": len(answers),
        "dropped": sum(books["dropped"].values()),
        "wrong": wrong(answers),
        "waited_s": [round(float(np.percentile(waited_s, q)), 3) for q in (50, 95)],
        "change_s": [round(after - before, 2) for before, after in zip(decided, changed, strict=False)],
        "handed_ms": [round(one, 1) for one in handed_ms],
        "longest_call_ms": round(1e3 * float(calls[:, 1].max()), 2),
    }


def wrong(answers: list[dict[str, Any]]) -> int:
    """In the order of steps each rank's answers must count 1, 2, 3, … over the frames that were not dropped."""
    count = 0
    for rank in range(RANKS):
        seen = [one["values"]["seen"] for one in sorted(answers, key=lambda one: one["step"]) if one["rank"] == rank]
        count += sum(got != expected for expected, got in enumerate(seen, 1))
    return count


def coupling(scaling: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run."""
    return {
        "streams": {"frame": {"analysis": "slow", "policy": {"kind": "drop_newest"}, "steps": 16}},
        "analyses": {
            "slow": {
                "plugin": "slow:Slow",
                "options": {"answer_s": ANSWER_S},
                "batch": {"size": 4, "delay_s": 0.0},
            }
        },
        "placement": {"kind": "cores", "ranks": KEEPERS, "scaling": scaling},
    }


if __name__ == "__main__":
    main()
