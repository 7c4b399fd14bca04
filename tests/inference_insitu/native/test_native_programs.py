"""Programs in C and Fortran, coupled: built and run the way a user does."""

import json
import re
import sys

import numpy as np
import pytest
from building import EXAMPLES, example, probe

from inference_insitu.books.outcomes import OUTCOMES
from inference_insitu.watching.events import read_events

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(300)]

STEPS = 60
VARIABLES = "density: float64 [16, 16]"
CONFIG = """
streams:
  density: {analysis: watch, policy: {kind: block, timeout_s: 30}, steps: 4}
analyses:
  watch: {plugin: moments, batch: {size: 1, delay_s: 0}}
placement: {kind: cores, ranks: 1}
steering:
  rules:
    - {when: "maximum > 0", then: interval, value: 7, once: true}
    - {when: "maximum > 0", then: snapshot, once: true}
"""


@pytest.fixture(scope="module")
def strips():
    """The final state as one process computes it, without MPI and a coupling, on the strips of two ranks."""
    field = np.zeros((256 + 2, 256))
    field[1:129, 128], field[129:257, 128] = 100.0, 200.0
    for _ in range(STEPS):
        field[1:-1, 1:-1] += 0.1 * (
            field[:-2, 1:-1] + field[2:, 1:-1] + field[1:-1, :-2] + field[1:-1, 2:] - 4 * field[1:-1, 1:-1]
        )
    return np.split(field[1:-1], 2)


@pytest.fixture(scope="module", params=["c", "fortran"])
def stencil(request, tmp_path_factory):
    return example(request.param, tmp_path_factory.mktemp(request.param))


def check_whole(done, folder):
    """It ended well, and its books hold every frame."""
    assert done.returncode == 0, done.stderr
    assert "2 simulate, 1 given up" in done.stderr
    books = json.loads((folder / "coupling" / "books.json").read_text())
    assert books["balanced"]
    assert books["published"] == 2 * STEPS
    assert books["inferred"] > 0


def test_the_example_computes_what_one_process_does_and_its_books_balance(stencil, mpirun_program, strips, tmp_path):
    check_whole(mpirun_program(3, stencil, tmp_path, EXAMPLES / "stencil.yaml", str(STEPS)), tmp_path)
    for rank, strip in enumerate(strips):
        assert (np.fromfile(tmp_path / f"strip-{rank}.f64").reshape(strip.shape) == strip).all()


def test_the_example_in_python_does_so_too(mpirun, strips, tmp_path):
    check_whole(mpirun(3, "-m", "mpi4py", EXAMPLES / "stencil.py", tmp_path, "--steps", str(STEPS)), tmp_path)
    for rank, strip in enumerate(strips):
        assert (np.load(tmp_path / f"strip-{rank}.npy") == strip).all()


def test_a_configuration_that_is_not_there_ends_the_example_with_the_line(stencil, mpirun_program, tmp_path):
    # To a file of its own: MPICH's launcher at times loses what a rank wrote right before its abort.
    said = tmp_path / "said"
    done = mpirun_program(2, "sh", "-c", 'exec "$@" 2>> "$0"', said, stencil, tmp_path, tmp_path / "absent.yaml")
    assert done.returncode != 0
    assert re.search(r"stencil: .*absent\.yaml", said.read_text())


@pytest.fixture(scope="module")
def built_probe(tmp_path_factory):
    return probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def told(built_probe, mpirun_program, tmp_path_factory):
    """What each wrong or odd call of ``probe.c`` gave, and the folder of the run."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "coupling.yaml").write_text(CONFIG)
    done = mpirun_program(2, built_probe, folder / "coupling.yaml", VARIABLES, folder / "output")
    assert done.returncode == 0, done.stderr
    return lines(done.stdout), folder / "output"


def lines(text: str) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for line in text.splitlines():
        what, code, words = line.split(": ", 2)
        found.setdefault(what, []).append((int(code), words))
    return found


def test_a_rank_given_up_serves_and_the_others_close(told):
    found, _ = told
    assert found["attach"] == [(1, "")]
    assert found["close"] == [(0, "")]


def test_frames_are_accepted_whole_smaller_empty_and_from_another_thread(told):
    found, _ = told
    assert [found[what] for what in ("whole", "half", "empty", "thread")] == [[(0, "")]] * 4


def test_a_dropped_frame_says_its_reason(told):
    found, _ = told
    assert found["repeated"] == [(1, "repeated")]
    assert found["cut"] == [(1, "rep")]  # in room for three letters


def test_a_wrong_call_is_an_error_in_one_line_and_the_run_goes_on(told):
    found, _ = told
    for what, line in {
        "too early": "between MPI_Init and MPI_Finalize",
        "unknown": "got 'densty'; did you mean 'density'?",
        "too long": "2 numbers of at most [16, 16], got [17, 16]",
        "line": "got [16]",
        "no object": "attributes must be a JSON object",
        "no json": "attributes must be a JSON object",
        "no text": "utf-8",
        "null": "data of 'density' must be an address, got NULL",
        "no coupling": "must be given a coupling",
    }.items():
        for code, words in found[what]:
            assert code == -1
            assert line in words


def test_commands_reach_the_simulation_one_at_a_time(told):
    found, _ = told
    assert sorted(found["command"]) == [(1, "interval 1 7"), (1, "snapshot 0 0")]


def test_a_reason_to_leave_may_be_in_any_letters(told):
    _, output = told
    (left,) = [event for event in read_events(f"{output}-again") if event.event == "abandoned"]
    assert left.fields["error"] == "RunError: the m\ufffdsh is tangled"


def test_signals_locale_and_error_handlers_are_left_alone(told):
    found, _ = told
    assert [found[what][0][0] for what in ("signals", "locale", "errors")] == [1, 1, 1]


def test_the_books_hold_every_frame(told):
    _, output = told
    books = json.loads((output / "books.json").read_text())
    assert books["balanced"]
    assert books["dropped"]["repeated"] == 2
    assert set(books["dropped"]) <= set(OUTCOMES) | {"repeated"}


@pytest.mark.parametrize(
    ("variables", "config", "line"),
    [
        ("densitty: float64 [16, 16]", CONFIG, "streams.density must be a variable .* did you mean 'densitty'"),
        pytest.param("density: flot64 [16, 16]", CONFIG, "did you mean 'float64'", marks=pytest.mark.slow),
        pytest.param(
            VARIABLES,
            CONFIG.replace("policy", "polcy"),
            "unknown key .*polcy.*did you mean '.*policy'",
            marks=pytest.mark.slow,
        ),
        (VARIABLES, None, "No such file.*coupling.yaml"),
    ],
)
def test_what_is_wrong_at_the_start_is_every_ranks_error(
    built_probe, mpirun_program, tmp_path, variables, config, line
):
    if config is not None:
        (tmp_path / "coupling.yaml").write_text(config)
    done = mpirun_program(2, built_probe, tmp_path / "coupling.yaml", variables, tmp_path / "output")
    assert done.returncode == 0, done.stderr
    answers = lines(done.stdout)["attach"]
    assert [code for code, _ in answers] == [-1, -1]
    assert all(re.search(line, words) for _, words in answers)


@pytest.mark.parametrize(
    ("python", "line"), [("/nowhere", "CDI_PYTHON must be .* got '/nowhere'"), ("bare", "must be able to import")]
)
def test_a_python_that_cannot_couple_is_an_error(built_probe, mpirun_program, tmp_path, python, line):
    if python == "bare":  # the interpreter without the environment's packages
        if sys.prefix == sys.base_prefix:
            pytest.skip("the tests run without a virtual environment")
        python = sys._base_executable
    done = mpirun_program(
        1, built_probe, tmp_path / "coupling.yaml", VARIABLES, tmp_path / "output", CDI_PYTHON=python, PYTHONPATH=""
    )
    code, words = lines(done.stdout)["attach"][0]
    assert code == -1
    assert re.search(line, words)
