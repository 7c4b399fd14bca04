"""One simulation three ways: written to the disk and analysed afterwards, in situ, in transit. JSON lines.

    python benchmarks/workflow.py [--steps 1000] [--every 25] [--radius_A 20] [--engine flink] [--repeats 1]

LAMMPS compresses a copper nanoparticle on one rank; every 25 steps its diffraction pattern is answered by the same
network (``defects``, batches of one, one thread). The answers must be equal, value for value and, by checksum, voxel
for voxel. ``alone`` simulates and makes the patterns, and nobody looks at them: what the others add is against that.

``wall_s``           of the simulation's loop; ``added_percent`` against ``alone``
``first_defect_s``   from the loop's beginning until the first answer "a defect, more likely than not" is there
``all_answers_s``    until the last answer is there
``behind_s``         median and largest time from a pattern to its answer
``core_hours``       cores set aside x time: one for the simulation; in situ one for the worker; in transit that one and
                     one for log and engine; offline one for the analysis afterwards
``atoms``            of the particle
``cpu_s``            what the processes really computed, by part
``written_MB``       to the disk, by all processes; ``stored_MB``: what lies in the run's folder in the end
``spent_s``          where the time went, of the simulation (loop) and of the answers (sums)
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from jsonargparse import auto_cli
from machine import emit, load, machine

sys.path.insert(0, str(Path(__file__).parent / "workflow_parts"))

from parts import Part, mpi

from cdi.config import read_object
from inference_insitu.inference.batching import BatchConfig
from inference_insitu.inference.results import read_results
from inference_insitu.lammps.config import InsituConfig
from inference_insitu.lammps.coupled import ANALYSIS, coupling_config
from inference_insitu.transit.migration.request import migrate
from inference_insitu.waiting import wait_until
from inference_insitu.watching.account import account
from inference_insitu.watching.events import read_events
from inference_insitu.watching.run_files import read_run

START_S = 600.0
WAYS = ("alone", "offline", "in situ", "in transit")
CORES = {"alone": 1, "offline": 1, "in situ": 2, "in transit": 3}
Answers = dict[int, Mapping[str, Any]]


def main(steps: int = 1000, every: int = 25, radius_A: float = 20.0, engine: str = "flink", repeats: int = 1) -> None:
    insitu = configuration(steps, every, radius_A)
    emit(benchmark="workflow", machine=machine(), steps=steps, patterns=steps // every + 1, load=load())
    for repeat in range(repeats):
        alone_s, answers = 0.0, dict[str, Answers]()
        for way in WAYS:
            with tempfile.TemporaryDirectory() as folder:
                at_start = load()
                found, answers[way] = run(way, Path(folder), insitu, engine)
                alone_s = alone_s or found["wall_s"]
                added = round(100 * (found["wall_s"] / alone_s - 1), 1)
                emit(way=way, repeat=repeat, added_percent=added, **found, load=at_start)
        emit(repeat=repeat, **compared({way: answers[way] for way in WAYS[1:]}))


def configuration(steps: int, every: int, radius_A: float) -> InsituConfig:
    """A sphere that yields before the end."""
    speed = 1.5 * 600 / steps
    return read_object(
        InsituConfig,
        {
            "crystal": {"radius_A": radius_A},
            "load": {"steps": steps, "closing_speed_A_per_ps": speed},
            "coupling": {"every": every, "queue": 256},
            "policy": {"kind": "drop_newest"},
        },
        origin="the benchmark",
    )


def run(way: str, folder: Path, insitu: InsituConfig, engine: str) -> tuple[dict[str, Any], Answers]:
    """One way; its figures and its answers by step."""
    coupling = coupling_config(insitu)
    one_by_one = replace(coupling.analyses[ANALYSIS], batch=BatchConfig(size=1, delay_s=0.0))
    one_by_one.options.pop("last_step")
    output = folder / "run"
    task = {
        "way": way,
        "output": str(output),
        "result": str(folder / "result.json"),
        "insitu": asdict(insitu),
        "coupling": asdict(replace(coupling, analyses={ANALYSIS: one_by_one})),
        "waits": way == "in transit",
    }
    (folder / "task.json").write_text(json.dumps(task))
    parts = {"simulation": mpi(1 if way in ("alone", "offline") else 2, "simulation.py", folder)}
    try:
        if way == "in transit":
            parts["log and engine"] = serve(folder, output, engine)
        parts["simulation"].wait()
        if way == "offline":
            parts["analysis"] = Part([sys.executable, "afterwards.py", folder / "task.json"], folder)
        for part in parts.values():
            part.wait()
    finally:
        for part in parts.values():
            part.clear()
    said = json.loads((folder / "result.json").read_text())
    answers, times = told(way, output, said)
    return figures(way, output, said, parts, times) | insight(said, answers, times), answers


def serve(folder: Path, output: Path, engine: str) -> Part:
    """Start log and engine, move the query there before the first step, and let the simulation begin."""
    part = Part([sys.executable, "-m", "cdi", "insitu", "transit", output, f"engine={engine}"], folder)
    needed = {"engine_running", "log_joined"}
    try:
        if not wait_until(
            lambda: needed <= {one.event for one in read_events(output)}, timeout_s=START_S, interval_s=0.1
        ):
            raise RuntimeError(f"log and engine did not start within {START_S:g} s")
        migrate(output, "in_transit", timeout_s=START_S)
    except BaseException:
        part.clear()
        raise
    (output / "go").touch()
    return part


def told(way: str, output: Path, said: dict[str, float]) -> tuple[Answers, dict[str, np.ndarray]]:
    """Answers by step, and of each when its pattern was published and when it was there (``time.monotonic``)."""
    rows = [json.loads(line) for path in sorted(output.glob("results-*.jsonl")) for line in path.open()]
    volumes = {one.step: crc32(one.counts, crc32(one.support, crc32(one.line_density))) for one in read_results(output)}
    answers: Answers = {
        row["step"]: {name: value for name, value in row["values"].items() if name != "seconds"}
        | {"volumes": volumes.get(row["step"])}
        for row in rows
    }
    if way in ("alone", "offline"):
        names = ("step", "published_s", "at_s", "inferred_s")
        return answers, {name: np.array([row[name] for row in rows]) for name in names}
    run_files = read_run(output)
    if problems := account(output)["problems"]:
        raise RuntimeError(f"{way}: {problems}")
    origin_s = next(one.fields["origin_monotonic_s"] for one in run_files.events if one.event == "attach")
    both = (run_files.ledger, run_files.transit.rows)
    kept = [rows.fate.where("inferred") for rows in both]

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(rows, name)[good] for rows, good in zip(both, kept, strict=True)])

    published_s = column("published_s") + origin_s
    return answers, {"step": column("step"), "published_s": published_s, "at_s": published_s + column("latency_s"),
                     "inferred_s": column("inferred_s"), "queued_s": column("queued_s")}  # fmt: skip


def figures(
    way: str, output: Path, said: dict[str, float], parts: dict[str, Part], times: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The line of one way."""
    wall_s = said["ended_s"] - said["began_s"]
    end_s = max([said["ended_s"], *times["at_s"].tolist()])
    analysis_s = parts["analysis"].wall_s if "analysis" in parts else 0.0
    held_s = CORES[way] * (end_s - said["began_s"]) if way in ("in situ", "in transit") else wall_s + analysis_s
    return {
        "atoms": said["atoms"],
        "wall_s": round(wall_s, 2),
        "all_answers_s": round(end_s - said["began_s"], 2) if len(times["at_s"]) else None,
        "core_hours": round(held_s / 3600, 4),
        "cpu_s": {name: round(part.cpu_s, 1) for name, part in parts.items()},
        "written_MB": round(sum(part.written_bytes for part in parts.values()) / 1e6, 1),
        "stored_MB": round(stored(output) / 1e6, 1),
        "spent_s": {
            "simulation": round(said["simulation_s"], 2),
            "patterns, and handing them over": round(said["patterns_s"], 2),
            "waiting for inference": round(float(times["queued_s"].sum()), 2) if "queued_s" in times else None,
            "inference": round(float(times["inferred_s"].sum()), 2),
        },
    }


def insight(said: dict[str, float], answers: Answers, times: dict[str, np.ndarray]) -> dict[str, Any]:
    """When what was known."""
    if not len(times["step"]):
        return {}
    defect = np.array([answers[step]["defect_probability"] > 0.5 for step in times["step"].tolist()])
    behind_s = times["at_s"] - times["published_s"]
    return {
        "first_defect_s": round(float(times["at_s"][defect].min()) - said["began_s"], 2) if defect.any() else None,
        "behind_s": {"median": round(float(np.median(behind_s)), 3), "largest": round(float(behind_s.max()), 3)},
    }


def stored(output: Path) -> int:
    """Bytes of the files below it."""
    return sum(path.stat().st_size for path in output.rglob("*") if path.is_file())


def compared(answers: dict[str, Answers]) -> dict[str, Any]:
    """Whether all ways said the same, value for value."""
    first, *others = answers.values()
    return {
        "answers": {way: len(one) for way, one in answers.items()},
        "equal": all(one == first for one in others),
        "largest_difference": max(
            (abs(one[step]["defect_probability"] - first[step]["defect_probability"]) for one in others for step in
             first.keys() & one.keys()), default=None,
        ),
    }  # fmt: skip


if __name__ == "__main__":
    auto_cli(main)
