"""The folder of a run that never was: two streams, several ranks, a worker that dies once and comes back."""

import csv
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from inference_insitu.books.ledger import COLUMNS
from inference_insitu.watching.metrics import Metrics

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
MODEL = "unrolled-2:3f9ac1"
DEATH_S, READY_AGAIN_S = 20.0, 24.5


@dataclass
class SyntheticRun:
    """Writes a run of ``ranks`` × ``steps`` × two streams to ``folder``."""

    folder: Path
    ranks: int = 4
    steps: int = 300
    streams: tuple[str, ...] = ("pattern", "stress")
    step_s: float = 0.15
    seed: int = 3
    rows: list[dict[str, Any]] = field(default_factory=list)

    def write(self, *, finished: bool = True) -> "SyntheticRun":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._draw_rows()
        self.write_ledgers()
        self.write_events(finished)
        self._write_answers()
        self._write_metrics()
        self._write_steering()
        (self.folder / "coupling.yaml").write_text(
            "policy: latest\nslots: 4\nplacement: cores\nwatch:\n  report: true\n"
        )
        if finished:
            self.write_books(self.books())
        return self

    def _draw_rows(self) -> None:
        generator = np.random.default_rng(self.seed)
        for stream in self.streams:
            for rank in range(self.ranks):
                for step in range(0, self.steps * 10, 10):
                    published_s = step / 10 * self.step_s + 0.01 * rank + generator.uniform(0, 0.01)
                    self.rows.append(self._row(stream, rank, step, published_s, generator))

    def _row(
        self, stream: str, rank: int, step: int, published_s: float, generator: np.random.Generator
    ) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        row |= {"stream": stream, "rank": rank, "step": step, "published_s": f"{published_s:.6f}", "attempts": 0}
        outcome = self._outcome(published_s, generator.uniform())
        row |= {"outcome": outcome, "status": "dropped" if outcome in ("full", "sampled") else "accepted"}
        queued_s = generator.exponential(0.02) + (0.3 if READY_AGAIN_S < published_s < READY_AGAIN_S + 2 else 0)
        if outcome == "inferred":
            inferred_s = generator.lognormal(math.log(0.03), 0.3)
            row |= {"queued_s": f"{queued_s:.6f}", "inferred_s": f"{inferred_s:.6f}", "attempts": 1, "model": MODEL}
            row["latency_s"] = f"{queued_s + inferred_s:.6f}"
        elif outcome == "failed":
            row |= {"reason": "ValueError: the pattern is empty", "attempts": 1, "model": MODEL}
        return row

    def _outcome(self, published_s: float, chance: float) -> str:
        if DEATH_S <= published_s < DEATH_S + 0.2:
            return "lost"
        if DEATH_S <= published_s < READY_AGAIN_S:
            return "superseded"
        if published_s > self.steps * self.step_s - 0.3:
            return "undelivered"
        for bound, outcome in ((0.02, "sampled"), (0.035, "full"), (0.038, "failed"), (0.04, "nonfinite")):
            if chance < bound:
                return outcome
        return "inferred"

    def write_ledgers(self) -> None:
        for rank in range(self.ranks):
            with (self.folder / f"ledger-{rank}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                # A row is written when it is settled, which is not the order of publishing.
                writer.writerows(sorted((row for row in self.rows if row["rank"] == rank), key=_settled_s))

    def books(self) -> dict[str, Any]:
        latencies = [float(row["latency_s"]) for row in self.rows if row["latency_s"]]
        p50, p95, p99, longest = np.percentile(latencies, (50, 95, 99, 100))
        return {
            **_counts(self.rows),
            "streams": {name: _counts([row for row in self.rows if row["stream"] == name]) for name in self.streams},
            "latency_s": {"p50": p50, "p95": p95, "p99": p99, "max": longest},
            "balanced": True,
            "wall_s": self.steps * self.step_s + 0.4,
        }

    def write_books(self, books: dict[str, Any]) -> None:
        (self.folder / "books.json").write_text(json.dumps(books))

    def write_events(self, finished: bool = True) -> None:
        end_s = self.steps * self.step_s
        machine = {"host": "node17", "cores": 64, "memory_GB": 256, "mpi": "MPICH 5.0.2", "python": "3.11"}
        worker = [
            (0.2, "worker_started", {"pid": 4711, "incarnation": 0, "again": 0, "lost": 0}),
            (1.4, "worker_ready", {"model": MODEL}),
            (DEATH_S + 1.1, "worker_started", {"pid": 4802, "incarnation": 1, "again": 0, "lost": 8}),
            (READY_AGAIN_S, "worker_ready", {"model": MODEL}),
        ]
        keeper: list[tuple[float, str, dict[str, Any]]] = [
            (DEATH_S, "worker_died", {"code": -11, "signal": "SIGSEGV"}),
            (DEATH_S + 0.01, "restart", {"attempt": 1, "wait_s": 1.0}),
        ]
        simulation = [
            (0.0, "attach", {"ranks": self.ranks, "placement": "cores", "machine": machine}),
            (3.0, "drop", {"stream": "pattern", "reason": "sampled"}),
            (DEATH_S + 0.3, "drop", {"stream": "pattern", "reason": "superseded"}),
            (30.0, "steering", {"command": "load.rate", "value": 0.5, "decision": "applied"}),
        ]
        if finished:
            worker.append((end_s + 0.2, "drained", {}))
            keeper.append((end_s + 0.4, "closed", {}))
            simulation += [(end_s, "end", {}), (end_s + 0.4, "closed", {})]
        self._write_event_file("events-worker0.jsonl", "worker0", worker)
        self._write_event_file("events-keeper0.jsonl", "keeper0", keeper)
        self._write_event_file("events-simulation0.jsonl", "simulation0", simulation)

    def _write_event_file(self, name: str, who: str, events: list[tuple[float, str, dict[str, Any]]]) -> None:
        with (self.folder / name).open("w") as file:
            for seconds, event, fields in events:
                time = (START + timedelta(seconds=seconds)).isoformat(timespec="microseconds")
                row = {"time": time, "monotonic_s": 5000 + seconds, "who": who, "event": event, **fields}
                file.write(json.dumps(row) + "\n")

    def _write_answers(self) -> None:
        generator = np.random.default_rng(self.seed)
        with (self.folder / "results-0.0.jsonl").open("w") as file:
            for row in sorted(self.rows, key=_settled_s):
                if row["outcome"] != "inferred":
                    continue
                strain = row["step"] / (self.steps * 10) * 0.05
                values = {
                    "confidence": round(min(1.0, 0.6 + 6 * strain + generator.normal(0, 0.02)), 4),
                    "dislocations": int(strain * 100),
                    "class": "screw",
                    "burgers": [0.5, 0.5, 0.0],
                }
                answer = {name: row[name] for name in ("stream", "rank", "step", "model")}
                answer |= {"analysis": "defects", "values": values, "batch": 4}
                answer |= {name: float(row[name]) for name in ("queued_s", "inferred_s")}
                file.write(json.dumps(answer) + "\n")

    def _write_metrics(self) -> None:
        metrics = Metrics(self.folder / "metrics-0.prom", worker="0")
        for row in self.rows:
            latency_s = float(row["latency_s"]) if row["latency_s"] else None
            metrics.settled(row["stream"], row["outcome"], latency_s, step=row["step"])
        for _ in range(50):
            metrics.batch(4, 0.12)
        metrics.queue(3)
        metrics.said(self.streams[0], {"confidence": 0.93, "dislocations": 4})
        assert metrics.write(0.0)

    def _write_steering(self) -> None:
        at = {"time": (START + timedelta(seconds=30)).isoformat(timespec="milliseconds")}
        asked = {"name": "interval", "value": 5.0, "step_proposed": 1980, "origin": "rule:nucleation", "rank": 0}
        commands = [
            {**at, "event": "opened", "version": 1, "commands": {"interval": "interval from 1 to 50"}},
            {**at, "event": "proposed", "step": 1990, **asked, "reason": ""},
            {**at, "event": "applied", "step": 2000, **asked, "reason": ""},
            {**at, "event": "vetoed", "step": 2200, **asked, "reason": "the simulation is equilibrating"},
        ]
        (self.folder / "steering.jsonl").write_text("".join(json.dumps(row) + "\n" for row in commands))


def _settled_s(row: dict[str, Any]) -> float:
    return float(row["published_s"]) + float(row["latency_s"] or 0)


def _counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    dropped = Counter(row["outcome"] for row in rows)
    inferred = dropped.pop("inferred", 0)
    return {"published": len(rows), "inferred": inferred, "dropped": dict(dropped), "open": 0}


if __name__ == "__main__":
    import sys

    SyntheticRun(Path(sys.argv[1])).write(finished="--running" not in sys.argv)
