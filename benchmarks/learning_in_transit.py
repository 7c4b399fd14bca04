"""A network is fine-tuned beside a run in transit, and what it has learnt takes over while the run goes on. JSON lines.

    python benchmarks/learning_in_transit.py [--engine flink] [--crystals 100] [--frozen 64] [--replay 64]
                                             [--period_s 1] [--nice 19]

A simulation publishes patterns of crystals that the shipped network knows badly (tungsten, dim, strained, with screws
alone), and says what they are. Their query moves to the engine; ``cdi insitu learn`` collects them, fine-tunes the
layers that answer, and judges the new version on held-out crystals and on a frozen set of the network's own kind.

version   scores (1 − Brier/2) before and after with the interval of their difference, on both; what was trained on.
takeover  ``prepared_s``: from the request until it is committed; ``gap_periods``: the longest time between two answers
          around the cut; answers by each model; frames lost and twice.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jsonargparse import auto_cli
from machine import emit, environment, load, machine

sys.path.insert(0, str(Path(__file__).parent / "transit_parts"))
sys.path.insert(0, str(Path(__file__).parent / "learning_parts"))

from learning_simulation import PUBLISHED, STOP
from measured import answered, books

from cdi.config import read_object
from data.generation import generate
from data.recipe import Recipe
from data.sampling import draw_samples
from inference_insitu.placement.launcher import mpiexec
from inference_insitu.transit.migration.request import migrate
from inference_insitu.watching.events import Event, read_events
from inference_insitu.watching.run_files import read_run
from models.checkpoint import load as checkpoint

HERE = Path(__file__).parent
START_S, LEARN_S, END_S = 600.0, 900.0, 300.0
AFTER_S = 20.0
"""How long the run goes on behind a takeover."""
ENDED = ("version_took_over", "version_refused", "version_not_taken")


def main(
    engine: str = "flink",
    crystals: int = 100,
    frozen: int = 64,
    replay: int = 64,
    period_s: float = 1.0,
    nice: int = 19,
) -> None:
    emit(benchmark="learning_in_transit", machine=machine(), engine=engine, load=load())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started_s = time.monotonic()
        kind = own_kind()
        for what, number, first in (("frozen", frozen, 1 << 41), ("replay", replay, 1 << 42)):
            stored(replace(kind, samples=number, first_index=first), folder / what)
        patterns(folder / "patterns.npz", crystals)
        emit(section="prepared", seconds=round(time.monotonic() - started_s, 1))
        run = Learning(folder, engine, crystals, period_s, nice)
        try:
            run.play()
        finally:
            run.clear()
        run.report(period_s)


def own_kind() -> Recipe:
    """What the shipped network was trained on, one exposure of each crystal."""
    told = checkpoint("default").training["config"]["recipe"]
    return replace(read_object(Recipe, told, origin="the checkpoint"), reflection_count=1, hidden_fraction=0.0)


def stored(recipe: Recipe, folder: Path) -> None:
    generate(replace(recipe, samples_per_file=recipe.samples), folder, progress=False)


def patterns(path: Path, number: int) -> None:
    """Patterns of the run, and what is told of each."""
    recipe = replace(
        own_kind(), seed=7, first_index=0, elements=("W",), reflections=((1, 1, 0),), crystal_shapes=("sphere",),
        peak_counts=(150.0, 400.0), strain_rad=(2.0, 3.0), class_fractions=(0.5, 0.0, 0.5), max_lines=2,
        diameter_A=(300.0, 900.0),
    )  # fmt: skip
    counts, told, index = [], [], 0
    while len(counts) < number:
        sample, index = draw_samples(recipe, index)[0], index + 1
        grid, truth = sample.exposure.grid, sample.truth
        if grid is not None and truth.determined:
            counts.append(sample.exposure.counts)
            shown = {"class": truth.defect, "count": sum(line.visible for line in truth.lines), "crystal": index}
            told.append({"q_centre": grid.centre.tolist(), "q_step": grid.step.tolist(), "truth": shown})
    np.savez(path, counts=np.stack(counts), told=np.array(json.dumps(told)))


class Learning:
    """The run, its log and engine, and who learns beside it."""

    def __init__(self, folder: Path, engine: str, crystals: int, period_s: float, nice: int) -> None:
        self.folder, self.output = folder, folder / "run"
        self._said = folder / "said"
        config, task = folder / "coupling.yaml", folder / "task.json"
        config.write_text(yaml.safe_dump(COUPLING))
        given = {"config": str(config), "output": str(self.output), "period_s": period_s}
        task.write_text(json.dumps(given | {"patterns": str(folder / "patterns.npz")}))
        self._simulation = self._started(
            mpiexec(), "-n", 2, sys.executable, "-m", "mpi4py", HERE / "learning_parts/learning_simulation.py", task
        )
        cdi = [sys.executable, "-m", "cdi", "insitu"]
        self._serving = self._started(*cdi, "transit", self.output, f"engine={engine}", "memory_bytes=536870912")
        learning = {
            "frozen": str(folder / "frozen"),
            "every": crystals,
            "nice": nice,
            "options": {"replay": str(folder / "replay")},
            "reservoir": {"frames": crystals, "held_out": crystals // 2, "held_out_share": 0.35},
        }
        (folder / "learning.yaml").write_text(yaml.safe_dump(learning))
        self._learner = self._started(*cdi, "learn", self.output, "--config", folder / "learning.yaml")

    def play(self) -> None:
        """Until a version has taken over, or was refused, and some time more."""
        self._until(lambda: self.happened("engine_running"), START_S, "the engine")
        self._until(lambda: self.happened("learning_started"), START_S, "the learner")
        migrate(self.output, "in_transit", timeout_s=START_S)
        self._until(lambda: self.happened(*ENDED), LEARN_S, "a version")
        time.sleep(AFTER_S)
        (self.output / STOP).touch()
        self._learner.terminate()
        for process in (self._simulation, self._serving, self._learner):
            process.wait(END_S)

    def happened(self, *names: str) -> list[Event]:
        """What was told of these."""
        return [one for one in read_events(self.output) if one.event in names]

    def report(self, period_s: float) -> None:
        made = {one.fields["version"]: one.fields for one in self.happened("version_made")}
        for one in self.happened("version_accepted", "version_refused"):
            figures = {"why": one.fields.get("why", ""), **one.fields["figures"]}
            number = one.fields["version"]
            trained_on = made.get(number, {}).get("trained_on")
            emit(section="version", version=number, outcome=one.event, trained_on=trained_on, **figures)
        told = json.loads((self.output / PUBLISHED).read_text())
        shown = read_run(self.output)
        whole = {**books(self.output, range(told["steps"])), "longest_call_ms": round(1e3 * told["longest_call_s"], 1)}
        models = Counter[str]()
        for path in self.output.glob("results-*.jsonl"):
            models.update(json.loads(line)["model"] for line in path.read_text().splitlines())
        for one in self.happened("version_took_over"):
            found, cut = answered(shown), one.fields["cut"]
            near = np.sort(found.answered_s[(found.step >= cut - 5) & (found.step < cut + 5)])
            begun = next(each for each in self.happened("version_prepared") if each.fields["id"] == one.fields["id"])
            emit(
                section="takeover",
                prepared_s=round(one.monotonic_s - begun.monotonic_s, 2),
                gap_periods=round(float(np.diff(near).max()) / period_s, 2),
                cut=cut,
            )
        emit(section="takeover", answers=dict(models), **whole, load=load())
        for one in self.happened("version_watched"):
            emit(section="since", **one.fields)

    def clear(self) -> None:
        """Leave nothing behind, whatever has happened."""
        for process in (self._simulation, self._learner):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        self._serving.terminate()
        self._serving.wait(END_S)

    def _until(self, ask: Any, timeout_s: float, what: str) -> None:
        end_s = time.monotonic() + timeout_s
        while not ask():
            ended = [one for one in (self._simulation, self._serving, self._learner) if one.poll() is not None]
            if ended or time.monotonic() > end_s:
                raise RuntimeError(f"{what} did not come: {self._said.read_text()[-3000:]}")
            time.sleep(0.2)

    def _started(self, *command: object) -> "subprocess.Popen[bytes]":
        with self._said.open("ab") as said:
            return subprocess.Popen(
                [*map(str, command)],
                env=environment(HERE / "learning_parts"),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )


COUPLING = {
    "streams": {"pattern": {"analysis": "defects", "policy": {"kind": "drop_newest"}, "steps": 512}},
    "analyses": {
        "defects": {
            "plugin": "defects",
            "options": {"threads": 1, "device": "cpu"},
            "batch": {"size": 4, "delay_s": 0.0},
        }
    },
    "placement": {"kind": "cores"},
    "migration": {"timeout_s": 600.0},
    "on_inference_failure": {"drain_timeout_s": 120.0},
}

if __name__ == "__main__":
    auto_cli(main)
