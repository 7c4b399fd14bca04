"""Nodes of uneven size, several ranks given up, and no rank given up at all, each with a worker that dies."""

import pytest
from fault_runs import Episode, Launched

pytest.importorskip("mpi4py")
pytestmark = [pytest.mark.mpi, pytest.mark.timeout(300)]

DIES = {"options": {"frames": {"3": "once:kill"}}, "settles": True, "steps": 6}
EPISODES = [
    # Ranks 0 1 2 | 3 and 4 | 5, behind the bar who is given up.
    Episode("uneven", placement={"node_ranks": 4}, **DIES),
    # Ranks 0 1 2 3 | 4 5.
    Episode("two_given_up", placement={"ranks": 2}, **DIES),
    # Ranks 0 1 2 3 and 4 5; the first of each starts a process, and looks after it at its steps.
    Episode("process", placement={"kind": "process", "node_ranks": 4}, **DIES | {"settles": False, "slots": 8}),
    # Every node would lose its only rank.
    Episode("too_few", placement={"node_ranks": 1}),
]
SIMULATE = {"uneven": 4, "two_given_up": 4, "process": 6}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Launched(tmp_path_factory.mktemp("placed"), 6, EPISODES).wait()


def test_the_run_ends_well(run):
    assert run.code == 0, run.stderr


@pytest.mark.parametrize("name", SIMULATE)
def test_every_frame_of_every_rank_is_inferred(run, name):
    outcome = run.outcome(name)
    outcome.check_state()
    outcome.check_books(ranks=SIMULATE[name])
    assert set(outcome.outcomes) == {"inferred"}
    outcome.check_nothing_left()


def test_each_node_has_a_worker_of_its_own(run):
    for name in SIMULATE:
        outcome = run.outcome(name)
        served = {int(path.name.split("-")[1].split(".")[0]) for path in outcome.folder.glob("results-*.jsonl")}
        assert served == {0, 1}
        assert outcome.counts["restart"] == 1  # rank 0's worker alone


def test_a_placement_that_leaves_nobody_to_simulate_is_refused_on_every_rank(run):
    told = [path.read_text() for path in sorted((run.folder / "too_few").glob("refused-*"))]
    assert len(told) == 6
    assert set(told) == {"placement.ranks must leave a rank to simulate, got 1 of the 1 ranks of the node of rank 0"}
