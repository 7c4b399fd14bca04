"""A row for every frame, once; books that add up; a full disk costs rows and says so."""

import numpy as np
import pytest

from inference_insitu.books.ledger import Ledger, Settled, ledger_name
from inference_insitu.books.summary import joined_books, summary_line
from inference_insitu.watching.ledger_files import read_ledger

TWO_OF_HALF = np.array([[0.5, 1.0], [0.5, 1.0]])


def test_rows_are_read_back_as_they_were_written(tmp_path):
    ledger = Ledger(tmp_path, 3, origin_ns=1_000_000_000)
    ledger.accept("a", 7, 3_500_000_000)
    ledger.refuse("a", 8, 4_000_000_000, "full")
    ledger.settle("a", 7, Settled("inferred", "", 0.25, 0.5, 0.75, 2, "net 0a"))
    ledger.accept("b", 7, 5_000_000_000)
    ledger.settle("b", 7, Settled("failed", 'it said: "no, never"\nand left'))
    ledger.close()
    rows = read_ledger(tmp_path)
    assert not rows.problems
    assert rows.step.tolist() == [8, 7, 7]
    by_outcome = dict(zip([rows.fate.names[code] for code in rows.fate.codes], range(3), strict=True))
    first = by_outcome["inferred"]
    assert (rows.rank[first], rows.latency_s[first], rows.attempts[first]) == (3, 0.75, 2)
    assert rows.published_s[first] == 2.5
    assert rows.fate.counts() == {"inferred": 1, "full": 1, "failed": 1}


def test_a_frame_ends_once_and_only_after_it_was_accepted():
    ledger = Ledger(None, 0, origin_ns=0)
    with pytest.raises(ValueError, match="must end once"):
        ledger.settle("a", 0, Settled("inferred"))
    ledger.accept("a", 0, 0)
    with pytest.raises(ValueError, match="outcome must be one of"):
        ledger.settle("a", 0, Settled("vanished"))
    ledger.settle("a", 0, Settled("inferred"))
    with pytest.raises(ValueError, match="must end once"):
        ledger.settle("a", 0, Settled("inferred"))


def test_books_of_all_ranks_add_up_and_say_when_they_do_not():
    ledgers = [Ledger(None, rank, origin_ns=0) for rank in range(3)]
    for ledger in ledgers:
        ledger.accept("a", 0, 0)
        ledger.refuse("a", 1, 0, "full")
        ledger.refuse("b", 1, 0, "sampled")
    for ledger in ledgers[:2]:
        ledger.settle("a", 0, Settled("inferred", latency_s=0.5))
    parts = [ledger.summary() for ledger in ledgers]
    books = joined_books(parts, TWO_OF_HALF, wall_s=1.0)
    assert (books["published"], books["inferred"], books["open"]) == (9, 2, 1)
    assert books["dropped"] == {"full": 3, "sampled": 3}
    assert not books["balanced"]
    assert "DO NOT BALANCE" in summary_line(books)
    ledgers[2].settle("a", 0, Settled("lost"))
    books = joined_books([ledger.summary() for ledger in ledgers], TWO_OF_HALF, wall_s=1.0)
    assert books["balanced"]
    assert summary_line(books).startswith("published 9 = inferred 2 + dropped 7 (3 full, 1 lost, 3 sampled)")


def test_a_rank_weighs_as_much_as_it_was_answered(tmp_path):
    """Of 100 000 answers after 1 s and 500 after 2 s, 99 % came after 1 s."""
    ledgers = [Ledger(None, rank, origin_ns=0) for rank in range(2)]
    for ledger, (count, seconds) in zip(ledgers, ((100_000, 1.0), (500, 2.0)), strict=True):
        ledger.latency_s.extend([seconds] * count)
    found = [ledger.latency_quantiles() for ledger in ledgers]
    assert sum(len(one) for one in found) == 1500
    books = joined_books([], np.concatenate(found), wall_s=1.0)
    assert books["latency_s"] == {"p50": 1.0, "p95": 1.0, "p99": 1.0, "max": 2.0}


def test_a_full_disk_costs_rows_that_are_counted_and_told_of_once(tmp_path, capsys):
    ledger = Ledger(tmp_path, 0, origin_ns=0)
    real, ledger._file = ledger._file, open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    for step in range(2000):
        ledger.refuse("a", step, 0, "full")
    ledger.close()
    real.close()
    assert ledger.unwritten == 2000
    assert capsys.readouterr().err.count("\n") == 1
    assert ledger.streams["a"].dropped == {"full": 2000}
    assert (tmp_path / ledger_name(0)).exists()
