"""The account of frames handed over: a row for each, whoever answered it and whatever was killed."""

import csv
from pathlib import Path

import pytest

from inference_insitu.transit.account import SET_ASIDE, Account, account_name
from inference_insitu.transit.log.records import Answer

KEY = ("pattern", 0)


def answer(step, outcome="inferred", **more):
    return Answer("run", *KEY[:1], step, KEY[1], analysis="a", model="m 1", outcome=outcome, published_ns=1, **more)


def rows(folder):
    with (folder / account_name(0)).open() as file:
        return [(int(row["step"]), row["outcome"], row["reason"]) for row in csv.DictReader(file)]


def account(folder):
    return Account(folder, 0, origin_ns=0)


def test_a_frame_ends_once_and_what_was_passed_over_was_set_aside(tmp_path):
    books = account(tmp_path)
    for step in (3, 4, 5, 6):
        books.expect(KEY, step)
    assert books.settle(answer(4), 10**9)
    assert not books.settle(answer(4), 10**9)
    assert books.settle(answer(5, "failed", detail="no,\n really"), 10**9)
    assert books.open == 1
    books.passed(KEY, 6)
    assert books.open == 0
    assert rows(tmp_path) == [
        (3, "failed", SET_ASIDE), (4, "inferred", ""), (5, "failed", "no, really"), (6, "failed", SET_ASIDE),
    ]  # fmt: skip
    assert books.outcomes == {"inferred": 1, "failed": 3}


@pytest.mark.parametrize("cut", range(1, 30, 7))
def test_a_row_that_a_kill_cut_is_written_again_by_the_next_life(tmp_path, cut):
    books = account(tmp_path)
    for step in (0, 1):
        books.settle(answer(step), 10**9)
    path = tmp_path / account_name(0)
    path.write_bytes(path.read_bytes()[:-cut])
    again = account(tmp_path)
    assert again.settled(KEY) == 0
    assert again.settle(answer(1), 10**9)
    assert [step for step, *_ in rows(tmp_path)] == [0, 1]


def test_a_file_that_a_kill_left_empty_gets_its_heading(tmp_path):
    (tmp_path / account_name(0)).touch()
    account(tmp_path).settle(answer(7), 10**9)
    assert rows(tmp_path) == [(7, "inferred", "")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_costs_rows_and_they_are_counted(tmp_path):
    books = account(tmp_path)
    books._file._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    books.expect(KEY, 0)
    books.settle(answer(1), 10**9)
    assert (books.unwritten, books.open, books.settled(KEY)) == (2, 0, 1)
