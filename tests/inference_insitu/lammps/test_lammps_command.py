"""``cdi insitu`` as a user starts it: real LAMMPS, a small untrained network, few steps."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import h5py
import pytest
from launching import environment, last_json
from small_network import write_untrained

from inference_insitu.waiting import wait_until
from inference_insitu.watching.ledger_files import read_ledger


def installed(package):
    """A folder of tests is called ``lammps`` too, and is no package."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


pytestmark = [
    pytest.mark.mpi,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not (installed("lammps") and installed("mpi4py")), reason="needs the group md"),
]

SMALL = ["crystal.radius_A=12", "load.steps=60", "load.closing_speed_A_per_ps=3", "coupling.every=20"]
"""627 atoms, four patterns."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def run(cdi, model, tmp_path_factory):
    """One run through our own launcher: two simulation ranks, one inference rank, DXA where OVITO is there."""
    output = tmp_path_factory.mktemp("insitu") / "run"
    dxa = "--dxa" if installed("ovito") else "--no-dxa"
    arguments = [*SMALL, f"inference.model={model}", "--output", output, "--ranks", "3", dxa]
    return output, cdi("insitu", "run", *arguments)


def one_line(completed, code=2):
    """The only line on stderr, after exit code ``code`` and an empty stdout."""
    lines = completed.stderr.splitlines()
    assert completed.returncode == code, completed.stderr
    assert len(lines) == 1, completed.stderr
    assert lines[0].startswith("cdi: ")
    assert completed.stdout == ""
    return lines[0]


def test_a_run_ends_with_one_json_line_and_balanced_books(run):
    output, completed = run
    figures = last_json(completed)
    assert figures["published"] == 4
    assert figures["published"] == figures["inferred"] + sum(figures["dropped"].values())
    assert figures["inferred"] >= 1
    assert 0 < figures["latency_s"]["p50"] <= figures["latency_s"]["p95"] <= figures["latency_s"]["max"]
    assert 0 < figures["added_step_time"]["median_s"] <= figures["added_step_time"]["p95_s"]
    assert figures["output"] == str(output)
    assert json.loads((output / "summary.json").read_text()) == figures


def test_a_run_leaves_results_configuration_load_curve_and_picture(run):
    output, completed = run
    figures = last_json(completed)
    names = {path.name for path in output.iterdir()}
    assert {"config.yaml", "insitu.png", "lammps.log", "load.csv", "results-0.0.h5", "summary.json"} <= names
    assert {"coupling.yaml", "ledger-0.csv", "ledger-1.csv", "books.json", "results-0.0.jsonl"} <= names
    assert "atoms" not in names
    with h5py.File(output / "results-0.0.h5") as file:
        group = file["pattern/32x32x32"]
        assert len(group["step"]) == figures["inferred"]
        assert group["counts"].shape[1:] == (32, 32, 32)
        assert json.loads(group["prediction"].asstr()[0])["model"]["name"] == "untrained"
    assert len((output / "load.csv").read_text().splitlines()) == 1 + 7
    assert completed.stderr.count("P(defect)") == figures["inferred"]
    if installed("ovito"):
        assert figures["dxa"]["steps"] == figures["inferred"]
        assert len(json.loads((output / "dxa.json").read_text())) == 4


def test_each_pattern_of_the_root_has_an_end_and_the_other_rank_says_where_its_part_went(run):
    output, completed = run
    ledger = read_ledger(output)
    assert ledger.repeated() == 0
    for rank in (0, 1):
        assert sorted(ledger.step[ledger.rank == rank]) == [0, 20, 40, 60]
    assert ledger.fate.counts(ledger.rank == 1) == {"reduced": 4}
    assert ledger.fate.counts(ledger.rank == 0)["inferred"] == last_json(completed)["inferred"]


def test_an_answer_holds_plain_values_for_rules(run):
    output, _ = run
    first = json.loads((output / "results-0.0.jsonl").read_text().splitlines()[0])
    values = first["values"]
    assert (first["stream"], first["analysis"], first["step"]) == ("pattern", "defects", 0)
    assert first["model"].startswith("untrained sha256:")
    assert 0.5 <= values["confidence"] <= 1
    assert values["count"] == len(values["lines"])
    assert isinstance(values["undetermined"], bool)


def test_the_account_of_a_run_is_printed_and_checked(run, cdi_here, tmp_path):
    """Exit code 1 where a row is missing."""
    output, _ = run
    told = cdi_here("insitu", "books", output)
    assert told.returncode == 0, told.stderr
    assert "pattern: published 8" in told.stdout
    assert "the books balance" in told.stdout
    figures = last_json(cdi_here("insitu", "books", output, "--json"))
    assert figures["published"] == 8 == figures["inferred"] + sum(figures["dropped"].values())
    for name in ("books.json", "ledger-0.csv"):
        (tmp_path / name).write_bytes((output / name).read_bytes())
    wrong = cdi_here("insitu", "books", tmp_path)
    assert wrong.returncode == 1
    assert "THE BOOKS DO NOT BALANCE" in wrong.stdout
    assert wrong.stderr.startswith("cdi: the books do not balance: ")


def test_a_run_that_has_ended_can_be_watched_and_reported(run, cdi_here):
    output, _ = run
    watched = cdi_here("insitu", "watch", output, "--once")
    assert watched.returncode == 0, watched.stderr
    assert "the books balance" in watched.stdout
    reported = cdi_here("insitu", "report", output)
    assert reported.returncode == 0, reported.stderr
    assert reported.stdout.strip() == str(output / "report.html")
    assert (output / "report.html").stat().st_size > 10_000


def test_a_run_is_not_overwritten_by_accident(run, cdi_here, model):
    output, _ = run
    line = one_line(cdi_here("insitu", *SMALL, f"inference.model={model}", "--output", output, "--ranks", "3"))
    assert "--overwrite replaces a run" in line
    assert (output / "results-0.0.h5").exists()


def test_a_log_is_not_overwritten_by_the_run_that_replays_it(run, cdi_here, model):
    output, _ = run
    again = [f"inference.model={model}", f"steering.replay={output / 'steering.jsonl'}", "--output", output]
    line = one_line(cdi_here("insitu", "run", *SMALL, *again, "--overwrite"))
    assert "steering.replay must lie outside the output" in line
    assert (output / "steering.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ranks", "1"], "ranks must be at least 2 (one for the simulation, 1 for the inference), got 1"),
        (["crystal.potential=Cu_mishin2"], "got 'Cu_mishin2'; near names: Cu_mishin1"),
        (["coupling.evry=5"], "unknown key 'coupling.evry'; did you mean 'coupling.every'?"),
        (["pattern.reflection=[1,1,0]"], "reflection must be allowed in fcc"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["inference.model=nowhere"], "model must be a checkpoint file or one of"),
        (["steering.rules=[{when: 'count > 0', then: stp}]"], "no command 'stp'; did you mean 'stop'"),
        (["--once"], "--once is no option of cdi insitu run"),
    ],
)
def test_the_launcher_refuses_in_one_line(cdi_here, tmp_path, arguments, message):
    output = tmp_path / "run"
    assert message in one_line(cdi_here("insitu", "run", *arguments, "--output", output))
    assert not output.exists()


@pytest.mark.parametrize(
    ("ranks", "arguments", "message"),
    [
        pytest.param(1, [], "ranks must be at least 2", marks=pytest.mark.slow),
        (3, ["crystal.potential=Cu_mishin2"], "got 'Cu_mishin2'; near names: Cu_mishin1"),
        pytest.param(3, ["coupling.evry=5"], "did you mean 'coupling.every'?", marks=pytest.mark.slow),
        pytest.param(
            3, ["inference.model=nowhere"], "model must be a checkpoint file or one of", marks=pytest.mark.slow
        ),
        pytest.param(
            2,
            ["--ranks", "3"],
            "ranks must be what the launcher started, 2, got --ranks 3",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_ranks_refuse_in_one_line_told_once(mpirun, tmp_path, ranks, arguments, message):
    """All ranks leave, before any output."""
    output = tmp_path / "run"
    small = ["crystal.radius_A=10"] if "--ranks" not in arguments else []
    assert message in one_line(mpirun(ranks, "-m", "cdi", "insitu", *small, *arguments, "--output", output))
    assert not output.exists()


@pytest.mark.parametrize("arguments", [["watch"], ["report", "a", "b"], ["books", "nowhere"], ["look", "a"]])
def test_an_action_wants_its_folder(cdi_here, arguments):
    one_line(cdi_here("insitu", *arguments))


def test_a_network_that_does_not_load_ends_the_run_before_step_0(mpirun, tmp_path):
    """The worker says why; all ranks leave with code 2, and nothing is left behind."""
    broken, output = tmp_path / "broken.safetensors", tmp_path / "run"
    broken.write_bytes(b"no network")
    completed = mpirun(2, "-m", "cdi", "insitu", *SMALL, f"inference.model={broken}", "--output", output)
    assert completed.returncode == 2, completed.stderr
    assert "cdi: worker 0 cannot start: ValueError" in completed.stderr
    assert "broken.safetensors must be a safetensors checkpoint" in completed.stderr
    assert "cdi: inference cannot start, the lines above say why; nothing was simulated" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert not output.exists()


@pytest.mark.slow
def test_who_wants_the_simulation_anyway_gets_it(mpirun, tmp_path):
    broken, output = tmp_path / "broken.safetensors", tmp_path / "run"
    broken.write_bytes(b"no network")
    arguments = [*SMALL, f"inference.model={broken}", "on_inference_failure.action=continue", "--output", output]
    completed = mpirun(2, "-m", "cdi", "insitu", *arguments)
    assert completed.returncode == 1
    assert "no pattern was inferred out of 4" in completed.stderr
    figures = json.loads(completed.stdout.splitlines()[-1])
    assert figures["dropped"] == {"no_inference": 4}
    assert figures["steps"] == 60
    assert len((output / "load.csv").read_text().splitlines()) == 1 + 7


@pytest.mark.slow
def test_lammps_that_refuses_the_crystal_ends_the_run_before_step_0(mpirun, model, tmp_path):
    """No small lattice direction is perpendicular to the axis: a problem of the simulation's ranks alone."""
    output = tmp_path / "run"
    arguments = [*SMALL, f"inference.model={model}", "crystal.axis=[1,10,100]", "--output", output]
    completed = mpirun(3, "-m", "cdi", "insitu", *arguments)
    assert completed.returncode == 2, completed.stderr
    assert completed.stderr.count("LAMMPS does not accept the crystal") == 1
    assert "Traceback" not in completed.stderr
    assert not output.exists()


@pytest.mark.slow
def test_a_failure_while_running_ends_every_rank_with_code_1(mpirun, model, tmp_path):
    """Planes closing at 4 km/s blow the particle up: LAMMPS stops, nobody hangs, what there was is kept."""
    arguments = ["crystal.radius_A=10", "load.steps=400", "load.closing_speed_A_per_ps=4000", "coupling.every=1"]
    output = tmp_path / "run"
    completed = mpirun(3, "-m", "cdi", "insitu", *arguments, f"inference.model={model}", "--output", output)
    assert completed.returncode == 1
    assert "LAMMPS stopped after step" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert len((output / "ledger-0.csv").read_text().splitlines()) > 1


def started(arguments, output, ranks="3"):
    command = [sys.executable, "-m", "cdi", "insitu", "run", *arguments, "--output", output, "--ranks", ranks]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def worker_pid(output):
    events = [json.loads(line) for line in (output / "events-worker0.jsonl").read_text().splitlines()]
    return next(event["pid"] for event in reversed(events) if event["event"] == "worker_started")


def bereft(arguments, output, ranks="3"):
    """What a run says in the end whose worker was killed at its first answer."""
    child = started(arguments, output, ranks)
    try:
        assert any("P(defect)" in line for line in iter(child.stderr.readline, ""))
        os.kill(worker_pid(output), signal.SIGKILL)
        out, rest = child.communicate(timeout=240)
    finally:
        child.kill()
    assert child.returncode == 0, rest
    assert '"worker_died"' in "".join(path.read_text() for path in output.glob("events-*.jsonl"))
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("placement", "ranks", "steps"), [("cores", 3, 200), ("process", 1, 1500)])
def test_a_killed_worker_leaves_the_trajectory_as_it_was(mpirun, cdi, model, tmp_path, placement, ranks, steps):
    """SIGKILL at its first answer; the load curve and every atom at the end are those of a run left alone.

    That one is started under mpiexec, without an action, into an existing empty folder.
    """
    log = steering_log(tmp_path / "snapshot.jsonl", [(steps, "snapshot", None)])
    arguments = ["crystal.radius_A=10", f"load.steps={steps}", "coupling.every=20", f"placement.kind={placement}"]
    arguments += [f"inference.model={model}", f"steering.replay={log}"]
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    figures = last_json(mpirun(ranks, "-m", "cdi", "insitu", *arguments, "--output", alone))
    assert figures["published"] == steps // 20 + 1 == figures["inferred"] + sum(figures["dropped"].values())
    figures = bereft(arguments, killed, str(ranks))
    assert (figures["steps"], figures["published"]) == (steps, steps // 20 + 1)
    for name in ("load.csv", f"snapshot-{steps:09d}.dump"):
        assert (killed / name).read_bytes() == (alone / name).read_bytes()
    assert cdi("insitu", "books", killed).returncode == 0
    events = "".join(path.read_text() for path in killed.glob("events-*.jsonl"))
    assert '"SIGKILL"' in events


def steering_log(path, commands):
    """A log by hand: (step, name, value) of what is applied."""
    opened = {"time": "2000-01-01T00:00:00.000+00:00", "event": "opened", "version": 1, "commands": {}}
    entries = [
        opened | {"event": "applied", "step": step, "name": name, "value": value, "step_proposed": 0,
                  "origin": "by hand", "once": False, "rank": 0, "reason": ""}
        for step, name, value in commands
    ]  # fmt: skip
    for entry in entries:
        del entry["version"], entry["commands"]
    path.write_text("".join(json.dumps(line) + "\n" for line in (opened, *entries)))
    return path


def test_what_rules_asked_for_is_done_again_from_the_log(mpirun, model, tmp_path):
    """Two simulation ranks, four rules, the last of which ends the run; the replay is the same run bit by bit.

    The replay's worker is killed at its first answer, and the trajectory is the same all the same.
    """
    when = "defect_probability >= 0"
    rules = [
        {"when": when, "then": "rate", "value": 6, "once": True},
        {"when": when, "then": "interval", "value": 15, "once": True},
        {"when": when, "then": "snapshot", "cooldown_steps": 15},
        {"when": when, "then": "stop", "hold": 2, "once": True},
    ]
    load = ["load.steps=100000", "load.closing_speed_A_per_ps=1", "coupling.every=20"]
    common = ["crystal.radius_A=12", *load, f"inference.model={model}"]
    first, again = tmp_path / "first", tmp_path / "again"
    asked = last_json(
        mpirun(3, "-m", "cdi", "insitu", *common, f"steering.rules={json.dumps(rules)}", "--output", first)
    )
    log = [json.loads(line) for line in (first / "steering.jsonl").read_text().splitlines()]
    applied = [(entry["step"], entry["name"]) for entry in log if entry["event"] == "applied"]
    assert {name for _, name in applied} >= {"rate", "stop"}
    assert asked["steps"] == applied[-1][0] < 100000
    assert asked["steered"] == len(applied)
    replayed = bereft([*common, f"steering.replay={first / 'steering.jsonl'}"], again)
    assert (replayed["steps"], replayed["steered"]) == (asked["steps"], asked["steered"])
    written = sorted(path.name for path in first.glob("snapshot-*"))
    assert len(written) == sum(name == "snapshot" for _, name in applied)
    for name in ("load.csv", *written):
        assert (again / name).read_bytes() == (first / name).read_bytes()


@pytest.mark.slow
def test_commands_are_obeyed_at_their_steps(mpirun, model, tmp_path):
    """A log by hand: patterns come at another interval, planes close, open, and the atoms are written."""
    log = steering_log(
        tmp_path / "log.jsonl", [(10, "rate", 4.5), (20, "interval", 7), (30, "rate", -2), (60, "snapshot", None)]
    )
    output = tmp_path / "run"
    arguments = [*SMALL, f"inference.model={model}", f"steering.replay={log}", "--output", output]
    figures = last_json(mpirun(3, "-m", "cdi", "insitu", *arguments))
    assert (figures["steps"], figures["steered"]) == (60, 4)
    ledger = read_ledger(output)
    assert sorted(ledger.step[ledger.rank == 0]) == [0, 20, 27, 34, 41, 48, 55]
    gaps = [float(line.split(",")[2]) for line in (output / "load.csv").read_text().splitlines()[1:]]
    assert min(gaps) < gaps[-1] < gaps[0]
    assert (output / "snapshot-000000060.dump").read_text().count(" Cu ") == 627


def test_an_interrupt_ends_launcher_and_ranks(model, tmp_path):
    output = tmp_path / "run"
    child = started(["crystal.radius_A=16", "load.steps=1000000", f"inference.model={model}"], output, "2")
    try:
        lines = iter(child.stderr.readline, "")
        assert any("P(defect)" in line for line in lines)
        assert len(processes_of(output)) >= 4
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) == 130
        rest = child.stderr.read()
    finally:
        child.kill()
    assert "Traceback" not in rest
    assert rest.splitlines()[-1].startswith("cdi: interrupted; the folder keeps what was answered")
    assert wait_until(lambda: not processes_of(output), timeout_s=20)


def processes_of(output):
    """Ids of the processes, launcher, ranks and worker, whose command line names ``output``."""
    return subprocess.run(["pgrep", "-f", str(output)], capture_output=True, text=True, check=False).stdout.split()
