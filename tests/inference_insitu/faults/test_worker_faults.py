"""Whatever an analysis does to its worker process, the simulation does not know: same state, whole books."""

import pytest
from fault_runs import Episode, Launched

pytest.importorskip("mpi4py")
pytestmark = [pytest.mark.mpi, pytest.mark.timeout(300)]

FRAMES = {
    1: ("once:kill", "inferred"),
    2: ("always:raise", "failed"),
    3: ("always:segfault", "lost"),
    4: ("once:stop", "inferred"),
    5: ("once:loop", "inferred"),
    6: ("always:memory", "failed"),
    7: ("always:nan", "nonfinite"),
    8: ("always:exit", "failed"),
    9: ("once:vanish", "inferred"),
    10: ("always:object", "failed"),
    11: ("once:segfault", "inferred"),
}
STEPS = len(FRAMES) + 1
READY_TIMEOUT_S = 8.0
"""On a busy machine a worker without fault may need longer, is killed and started anew."""
NOT_READY = f"not ready within {READY_TIMEOUT_S:g} s"
"""By step: what the analysis does with the frame of rank 0, and how the frame ends. The last is met in the drain."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Starts that fail, then a fault at almost every step, then an end that fails."""
    episode = Episode(
        "faults",
        steps=STEPS,
        options={
            "frames": {str(step): what for step, (what, _) in FRAMES.items()},
            "starts": ["kill", "memory", "loop"],
            "at_close": "segfault",
        },
        failure={"action": "local", "times": 100, "backoff_s": 1e-6, "hang_timeout_s": 2.0},
        placement={"ready_timeout_s": READY_TIMEOUT_S},
        batch=4,
        settles=True,
    )
    return Launched(tmp_path_factory.mktemp("faults"), 3, [episode]).wait()


def test_the_simulation_is_untouched(run):
    assert run.code == 0, run.stderr
    run.outcome().check_state()


def test_the_books_are_whole(run):
    run.outcome().check_books(ranks=2)


def test_a_frame_ends_as_its_fault_deserves(run):
    assert run.outcome().of(0) == ["inferred", *(ends for _, ends in FRAMES.values())]


def test_another_ranks_frame_of_the_same_batch_is_never_lost(run):
    assert run.outcome().of(1) == ["inferred"] * STEPS


def test_attempts_are_counted(run):
    attempts = {step: run.outcome().row(0, step).attempts for step in range(STEPS)}
    assert attempts == dict.fromkeys(range(STEPS), 1) | dict.fromkeys((1, 3, 4, 5, 9, 11), 2)


def test_every_death_is_told_with_its_cause(run):
    died, why = [], ""
    for event in run.outcome().events:
        if event.event == "worker_hung":
            why = event.fields["why"]
        if event.event == "worker_died":
            if why != NOT_READY:
                died.append(event.fields["signal"] or event.fields["code"])
            why = ""
    while_starting = ["SIGKILL", 1]
    while_serving = ["SIGKILL", "SIGSEGV", "SIGSEGV", "SIGKILL", "SIGKILL", 0, "SIGSEGV"]
    at_close = ["SIGSEGV"]
    assert died == while_starting + while_serving + at_close
    assert run.outcome().counts["restart"] == run.outcome().counts["worker_died"] - len(at_close)


def test_hangs_are_told_with_what_hung(run):
    reasons = [event.fields["why"] for event in run.outcome().named("worker_hung")]
    assert NOT_READY in reasons
    stopped, loops = [why for why in reasons if why != NOT_READY]
    assert stopped.startswith(("no sign of life", "busy"))
    assert loops.startswith("busy")


def test_what_the_analysis_raised_is_in_the_books_in_one_line(run):
    assert run.outcome().row(0, 2).reason == "RuntimeError: the analysis raises; in two lines"
    assert "SystemExit: 3" in run.outcome().row(0, 8).reason


def test_nothing_is_left(run):
    run.outcome().check_nothing_left()
