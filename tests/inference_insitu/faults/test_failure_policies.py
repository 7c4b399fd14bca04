"""What the configuration says of a failure happens, and each frame is in the books for its reason."""

import pytest
from fault_runs import Episode, Launched

pytest.importorskip("mpi4py")
pytestmark = [pytest.mark.mpi, pytest.mark.timeout(300)]

ROOMY = {"policies": {"heat": {"kind": "drop_newest"}}, "slots": 64, "steps": 20}
"""Every frame finds a slot."""
RINGS = {
    "blocked": {"kind": "block", "timeout_s": 0.01},
    "newest": {"kind": "latest"},
    "oldest": {"kind": "drop_newest"},
    "sampled": {"kind": "sample", "every": 3, "fallback": "spill", "spill_bytes": 1 << 20},
    "coarse": {"kind": "degrade"},
    "spilled": {"kind": "spill", "spill_bytes": 1 << 20},
}

EPISODES = [
    Episode(
        "continue", options={"frames": {"3": "once:kill"}}, failure={"action": "continue"}, awaits_failure=6, **ROOMY
    ),
    Episode(
        "restart",
        options={"frames": {"3": "always:segfault"}},
        failure={"action": "restart", "times": 1},
        awaits_failure=6,
        **ROOMY,
    ),
    Episode("missing", plugin="nowhere_at_all:nothing", failure={"action": "restart", "times": 5}),
    Episode("rings", policies=RINGS, options={"answer_s": 0.01, "awaits": "spill-0"}, slots=2, steps=18),
    Episode("sync", policies={"heat": {"kind": "sync"}}, slots=1, fault={"rank": 1, "step": 5, "what": "oversize"}),
    Episode("late", placement={"wait_ready": False}, options={"start_s": 1.0}),
    Episode(
        "never",
        placement={"wait_ready": False},
        options={"start_s": 100.0},
        failure={"drain_timeout_s": 0.5},
        slots=64,
    ),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Launched(tmp_path_factory.mktemp("policies"), 3, EPISODES).wait()


def test_the_run_ends_well(run):
    assert run.code == 0, run.stderr
    assert run.stdout.count("played") == 3


@pytest.mark.parametrize("name", [episode.name for episode in EPISODES])
def test_the_simulation_is_untouched_and_its_books_are_whole(run, name):
    outcome = run.outcome(name)
    outcome.check_state()
    outcome.check_books(ranks=2)
    outcome.check_nothing_left()
    assert not list(outcome.folder.glob("spill-*"))


def test_continue_gives_up_at_the_first_death(run):
    outcome = run.outcome("continue")
    assert outcome.of(0)[:4] == ["inferred"] * 3 + ["lost"]
    assert set(outcome.of(0)[4:]) == {"no_inference"}
    assert outcome.of(1)[-1] == "no_inference"
    assert (outcome.counts["worker_died"], outcome.counts["gave_up"], outcome.counts["restart"]) == (1, 1, 0)
    assert outcome.counts["inference_failed"] == 2


def test_restart_gives_up_after_as_many_times(run):
    outcome = run.outcome("restart")
    assert outcome.of(0)[:4] == ["inferred"] * 3 + ["lost"]
    assert set(outcome.of(0)[4:]) == {"no_inference"}
    assert outcome.row(0, 3).attempts == 2
    assert (outcome.counts["worker_died"], outcome.counts["restart"], outcome.counts["gave_up"]) == (2, 1, 1)


def test_a_plugin_that_is_not_there_is_one_line_and_no_loop(run):
    outcome = run.outcome("missing")
    assert set(outcome.outcomes) == {"no_inference"}
    assert (outcome.counts["worker_unusable"], outcome.counts["restart"], outcome.counts["gave_up"]) == (1, 0, 1)
    lines = [line for line in run.stderr.splitlines() if "nowhere_at_all" in line]
    assert len(lines) == 1
    assert "plugin must name an importable module:object" in lines[0]
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("stream", "reason"),
    [("blocked", "timeout"), ("newest", "superseded"), ("oldest", "full"), ("coarse", "full")],
)
def test_a_full_ring_drops_for_its_policys_reason(run, stream, reason):
    outcome = run.outcome("rings")
    assert {*outcome.of(0, stream), *outcome.of(1, stream)} == {"inferred", reason}


def test_latest_infers_the_last_frame(run):
    assert [run.outcome("rings").of(rank, "newest")[-1] for rank in (0, 1)] == ["inferred"] * 2


def test_sample_takes_one_in_three(run):
    assert run.outcome("rings").of(1, "sampled") == ["inferred", "sampled", "sampled"] * 6


def test_spilled_frames_are_all_inferred(run):
    """Fewer than wait in memory: the worker has moved some to the file before it answered any."""
    assert set(run.outcome("rings").of(0, "spilled")) == {"inferred"}


def test_a_step_larger_than_its_slot_is_dropped_alone_and_a_wait_long_enough_infers_the_others(run):
    outcome = run.outcome("sync")
    assert outcome.of(0) == ["inferred"] * 12
    assert outcome.of(1) == ["inferred"] * 5 + ["too_large"] + ["inferred"] * 6


def test_a_worker_that_comes_after_the_end_was_announced_answers_what_waits(run):
    outcome = run.outcome("late")
    assert outcome.of(0) == ["superseded"] * 8 + ["inferred"] * 4


def test_a_worker_that_does_not_come_in_time_is_not_waited_for(run):
    outcome = run.outcome("never")
    assert set(outcome.outcomes) == {"undelivered"}
    assert outcome.counts["worker_ready"] == 0
