"""Where the ranks of a coupling meet, nobody waits for ever, and a rank that is slow or lacks its part stops nobody."""

import csv
import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def folder(mpirun, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("meetings")
    done = mpirun(2, "-m", "mpi4py", Path(__file__).with_name("meetings.py"), folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def said(folder) -> list[dict]:
    return [json.loads((folder / f"said-{rank}.json").read_text()) for rank in range(2)]


def test_a_rank_that_does_not_come_is_not_waited_for(said):
    assert said[0]["bounded"] == ["some rank did not answer within 0.1 s"] * 2


def test_a_rank_that_waits_for_its_worker_is_not_late(said):
    assert [one["together"] for one in said] == [True, True]


def test_a_start_that_fails_leaves_the_folder_and_the_communicators_as_they_were(said):
    for one in said:
        assert "bad.jsonl must begin with the opening line" in one["failed"]["said"]
        assert one["failed"]["freed"] == 2
        assert one["failed"]["left"] == ["coupling.yaml"]


def test_a_rank_without_its_part_meets_the_others_and_the_sum_is_told_to_be_no_number(folder, said):
    assert said[1]["summed"] == ["dropped", "failed", "dropped"]
    outcomes = {}
    for rank in range(2):
        with (folder / "run" / f"ledger-{rank}.csv").open() as file:
            outcomes |= {(rank, row["stream"], row["step"]): row["outcome"] for row in csv.DictReader(file)}
    assert [outcomes[0, "summed", step] for step in "012"] == ["inferred", "nonfinite", "inferred"]
    assert [outcomes[1, "summed", step] for step in "012"] == ["reduced", "unreduced", "reduced"]


def test_a_rank_that_drains_longer_than_steering_waits_is_waited_for(folder):
    """Rank 1's last answer takes 2.5 s, and ``steering.timeout_s`` is 1 s."""
    books = json.loads((folder / "run" / "books.json").read_text())
    assert books["balanced"]
    assert books["streams"]["own"]["inferred"] == 2
