"""Inference on nodes of its own: the same behaviour as on the simulation's, by messages."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from launching import environment

HERE = Path(__file__).parent

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Run:
    folder: Path
    stderr: str
    ledger: list[dict[str, str]]
    results: list[dict[str, Any]]
    books: dict[str, Any]
    events: list[dict[str, Any]]

    def outcomes(self, stream: str = "a") -> dict[tuple[int, int], str]:
        return {(int(row["rank"]), int(row["step"])): row["outcome"] for row in self.ledger if row["stream"] == stream}

    def happened(self, event: str) -> int:
        return sum(one["event"] == event for one in self.events)


def open_mpi() -> bool:
    pytest.importorskip("mpi4py")
    from mpi4py import MPI

    return MPI.get_vendor()[0] == "Open MPI"


def run(
    folder: Path, ranks: int, config: dict[str, Any], told: dict[str, Any], *, launcher: tuple[str, ...] = ()
) -> Run:
    pytest.importorskip("mpi4py")
    from inference_insitu.placement.launcher import mpiexec

    output, path = folder / "run", folder / "coupling.yaml"
    path.write_text(yaml.safe_dump(config))
    known = environment()
    known["PYTHONPATH"] = os.pathsep.join([str(HERE), known["PYTHONPATH"]])
    if open_mpi():
        known |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        launcher = ("--oversubscribe", *launcher)
    command = [str(mpiexec()), *launcher, "-n", str(ranks), sys.executable, str(HERE / "relay_run.py")]
    command += [str(output), str(path), json.dumps(told)]
    child = subprocess.Popen(
        command, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, stderr = child.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        raise AssertionError(f"the run did not end: {child.communicate()[1]}") from None
    simulating = ranks - config["placement"]["ranks"]
    assert len(list(output.glob("said-*.json"))) == simulating, stderr
    ledger = [row for file in sorted(output.glob("ledger-*.csv")) for row in csv.DictReader(file.open())]
    return Run(
        output,
        stderr,
        ledger,
        [json.loads(line) for file in output.glob("results-*.jsonl") for line in file.read_text().splitlines()],
        json.loads((output / "books.json").read_text()),
        [json.loads(line) for file in output.glob("events-*.jsonl") for line in file.read_text().splitlines()],
    )


def coupling(kind: str = "nodes", *, keepers: int = 1, policies: dict[str, Any] | None = None, **options) -> dict:
    policies = policies or {"a": {"kind": "block", "timeout_s": 60.0}}
    failure = options.pop("failure", {"action": "restart", "times": 2, "backoff_s": 0.1})
    placement = options.pop("placement", {})
    return {
        "streams": {name: {"analysis": "sums", "policy": policy, "steps": 3} for name, policy in policies.items()},
        "analyses": {"sums": {"plugin": "relay_analyses:Sums", "options": options, "batch": {"delay_s": 0.0}}},
        "placement": {"kind": kind, "ranks": keepers} | placement,
        "on_inference_failure": failure,
    }


def checked(run: Run, told: dict[str, Any], ranks: int) -> None:
    """Every frame has one row and ended; every answer is that of the frame as it was published."""
    names = told["streams"]
    keys = [(row["stream"], int(row["rank"]), int(row["step"])) for row in run.ledger]
    assert sorted(keys) == sorted(
        (name, rank, step) for name in names for rank in range(ranks) for step in range(told["steps"])
    )
    assert run.books["balanced"]
    assert run.books["published"] == len(keys)
    answered = {(one["stream"], one["rank"], one["step"]) for one in run.results}
    inferred = {key for key, row in zip(keys, run.ledger, strict=True) if row["outcome"] == "inferred"}
    assert inferred == answered
    for one in run.results:
        size = one["values"]["size"]
        whole = names[one["stream"]]
        first = 1000.0 * one["step"] + 7.0 * one["rank"]
        assert one["values"]["sum"] == pytest.approx(whole * (whole - 1) / 2 + first * whole)
        assert one["values"]["time_ps"] == 0.5 * one["step"]
        if size == whole:
            assert one["values"]["last"] == first + whole - 1
    leftovers = [path for path in Path("/dev/shm").glob("cdi-*") if _run_id(run) in path.name]
    assert not leftovers


def _run_id(run: Run) -> str:
    return next(one["run"] for one in run.events if one["event"] == "attach")


def test_five_simulate_and_two_keep(tmp_path):
    told = {"steps": 12, "streams": {"a": 20_000}}
    found = run(tmp_path, 7, coupling(keepers=2), told)
    checked(found, told, 5)
    assert set(found.outcomes().values()) == {"inferred"}
    by_keeper = [
        {json.loads(line)["rank"] for file in found.folder.glob(f"results-{keeper}.*") for line in file.open()}
        for keeper in (0, 1)
    ]
    assert by_keeper == [{0, 1}, {2, 3, 4}]


def test_results_are_those_of_the_placement_on_cores(tmp_path):
    """Frames of 2.4 MB, beyond what any MPI sends eagerly."""
    told = {"steps": 8, "streams": {"a": 300_000}}
    answers = []
    for kind in ("cores", "nodes"):
        (tmp_path / kind).mkdir()
        found = run(tmp_path / kind, 3, coupling(kind), told)
        checked(found, told, 2)
        answers.append({(one["rank"], one["step"]): one["values"] for one in found.results})
    assert answers[0] == answers[1]
    assert len(answers[0]) == 16


def test_books_balance_with_every_policy(tmp_path):
    policies = {
        "latest": {"kind": "latest"},
        "newest": {"kind": "drop_newest"},
        "sample": {"kind": "sample", "every": 3},
        "degrade": {"kind": "degrade"},
        "spill": {"kind": "spill", "spill_bytes": 1 << 22},
        "block": {"kind": "block", "timeout_s": 60.0},
    }
    told = {"steps": 20, "streams": dict.fromkeys(policies, 8192)}
    found = run(tmp_path, 3, coupling(policies=policies, answers_s=0.01), told)
    checked(found, told, 2)
    ended = {name: set(found.outcomes(name).values()) for name in policies}
    assert ended["block"] == ended["spill"] == {"inferred"}
    assert ended["latest"] <= {"inferred", "superseded", "full"}
    assert ended["newest"] <= {"inferred", "full"}
    assert ended["degrade"] <= {"inferred", "full"}
    assert "sampled" in ended["sample"]


@pytest.mark.slow
def test_a_late_worker_is_not_waited_for(tmp_path):
    """Frames published before it is ready wait or are replaced; nothing is unaccounted for."""
    told = {"steps": 30, "streams": {"a": 5000}, "pause_s": 0.05}
    config = coupling(policies={"a": {"kind": "latest"}}, starts_s=1.0, placement={"wait_ready": False})
    found = run(tmp_path, 3, config, told)
    checked(found, told, 2)
    outcomes = found.outcomes()
    assert outcomes[0, 0] == "superseded"
    assert outcomes[0, 29] == outcomes[1, 29] == "inferred"


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_anew(tmp_path):
    told = {"steps": 15, "streams": {"a": 20_000}}
    found = run(tmp_path, 3, coupling(dies_at=6, mark=str(tmp_path / "mark")), told)
    checked(found, told, 2)
    # A ring that is full while nobody infers is not waited for.
    assert set(found.outcomes().values()) <= {"inferred", "timeout"}
    assert found.outcomes()[0, 6] == "inferred"
    assert found.happened("worker_died") == found.happened("restart") == 1
    assert next(row["attempts"] for row in found.ledger if (row["rank"], row["step"]) == ("0", "6")) == "2"


def test_a_frame_that_kills_every_worker_is_lost_alone(tmp_path):
    told = {"steps": 10, "streams": {"a": 2000}}
    found = run(tmp_path, 3, coupling(dies_at=4), told)
    checked(found, told, 2)
    assert found.outcomes()[0, 4] == "lost"
    assert list(found.outcomes().values()).count("lost") == 1


@pytest.mark.parametrize(
    "options",
    [pytest.param({"raises": True}, marks=pytest.mark.slow, id="never-ready"), pytest.param({"dies_at": 3}, id="dies")],
)
def test_the_simulation_goes_on_without_inference(tmp_path, options):
    told = {"steps": 10, "streams": {"a": 2000}, "pause_s": 0.05}
    found = run(tmp_path, 3, coupling(failure={"action": "continue"}, **options), told)
    checked(found, told, 2)
    assert "no_inference" in found.outcomes().values()
    assert found.happened("gave_up") == 1


@pytest.mark.slow
def test_a_stream_that_is_summed_up_leaves_one_rank_alone(tmp_path):
    """The other ranks have no ring, and the second keeper nobody to serve."""
    told = {"steps": 6, "streams": {"a": 3000}}
    config = coupling(keepers=2)
    config["streams"]["a"]["operators"] = [{"kind": "sum_to_root"}]
    found = run(tmp_path, 5, config, told)
    outcomes = found.outcomes()
    assert [outcomes[0, step] for step in range(6)] == ["inferred"] * 6
    assert {outcomes[rank, step] for rank in (1, 2) for step in range(6)} == {"reduced"}
    assert found.books["balanced"]
    assert sorted(one["values"]["last"] for one in found.results) == [
        3 * (2999 + 1000.0 * step) + 7.0 * (1 + 2) for step in range(6)
    ]


@pytest.mark.parametrize("action", ["restart", "local"])
def test_a_keeper_that_is_killed_costs_no_step(tmp_path, action):
    """Under Open MPI's fault tolerance; other launchers end the job. The other keeper serves on."""
    if not open_mpi():
        pytest.skip("this MPI ends the job where a rank dies")
    told = {"steps": 80, "streams": {"a": 20_000}, "pause_s": 0.1, "kill_keeper_at": 10, "keeper": 2}
    config = coupling(policies={"a": {"kind": "latest"}}, keepers=2, failure={"action": action, "backoff_s": 0.1})
    found = run(tmp_path, 4, config, told, launcher=("--with-ft", "ulfm"))
    outcomes = found.outcomes()
    assert len(outcomes) == 160
    assert found.books["balanced"]
    assert outcomes[1, 79] == "inferred"
    assert outcomes[0, 79] == ("inferred" if action == "local" else "no_inference")
    assert "no_inference" not in [outcome for (rank, _), outcome in outcomes.items() if rank == 1]
