"""Real processes are killed while a version takes over: every step is answered once, by the version of its step."""

import csv

import pytest
from moving_run import PHASES

from inference_insitu.transit.engines.job import NAME, TransitJob
from inference_insitu.transit.migration.moving_worker import FOLDER
from inference_insitu.transit.migration.protocol import Ended
from inference_insitu.transit.operators.versions import Version

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(900)]

OUT, BACK = "in_transit", "in_situ"


@pytest.fixture
def versioned(moving):
    """Makes runs of an analysis that has two later versions."""

    def make(**given):
        run = moving(plugin="transit_twins:Slow", **given)
        versions = TransitJob.read(run.folder / FOLDER / NAME).versions()
        for number in (2, 3):
            versions.write(Version("summed", number, {"version": number}))
        return run

    return make


def end(run):
    assert run.agreement.migration is None  # read while the log is there
    run.end()
    run.assert_whole()
    assert_models(run)


def assert_models(run):
    """Of every answered frame, whoever answered: the last version whose cut its step has reached."""
    taken = [one for one in run.moves.ended if isinstance(one, Ended) and one.committed and one.analysis]
    rows = 0
    for path in sorted([*run.folder.glob("ledger-*.csv"), *run.folder.glob("transit-*.csv")]):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["outcome"] == "inferred" and row["model"]:
                    number = [1, *(one.version or 1 for one in taken if int(row["step"]) >= one.cut)][-1]
                    assert row["model"] == f"summed {number}", row
                    rows += 1
    assert rows
    assert {one.version for one in taken} >= {2}


def test_whatever_is_killed_while_a_version_takes_over_every_step_has_one_answer_by_its_version(versioned):
    run = versioned()
    run.take_over(2, "ready", "worker")  # in situ
    run.move(OUT)
    run.take_over(3, "cut", "engine")
    run.take_over(0, "cut", "broker")
    run.take_over(2, "committed", "worker")
    run.move(BACK)
    end(run)


@pytest.mark.parametrize("victim", ["engine", "broker", "worker"])
def test_each_part_may_die_at_each_phase_of_a_takeover(versioned, victim):
    run = versioned(workers=2)
    run.move(OUT)
    for phase in PHASES:
        run.take_over(2, phase, victim)
        run.take_over(0, phase, victim)
    run.move(BACK)
    run.take_over(3)
    end(run)
    assert run.killed == {victim: 2 * len(PHASES)}


@pytest.mark.timeout(1800)
def test_a_version_takes_over_in_flink_though_it_is_killed(versioned):
    run = versioned(engine="flink")
    run.move(OUT)
    run.take_over(2)
    run.take_over(3, "cut", "engine")
    run.move(BACK)
    end(run)
