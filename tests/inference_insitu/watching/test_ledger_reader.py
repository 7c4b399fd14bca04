"""The reader of the ledgers takes what the ledgers wrote, and as much of a damaged one as is whole."""

from pathlib import Path

import numpy as np
import pytest
from synthetic_run import SyntheticRun

from inference_insitu.books.ledger import Ledger as LedgerWriter
from inference_insitu.books.ledger import Settled
from inference_insitu.watching.ledger_files import read_ledger

HEADER = "stream,rank,step,status,outcome,reason,published_s,queued_s,inferred_s,latency_s,attempts,model\n"
ROW = "pattern,0,{step},accepted,inferred,,{step}.5,0.1,0.2,0.3,1,m1\n"


def test_what_the_ledger_wrote_reads_back(tmp_path: Path) -> None:
    for rank in (0, 1):
        writer = LedgerWriter(tmp_path, rank, origin_ns=1_000_000_000)
        for step in (10, 20, 30):
            writer.accept("pattern", step, 1_500_000_000 + step)
        writer.refuse("pattern", 40, 4_000_000_000, "full")
        writer.settle("pattern", 10, Settled("inferred", "", 0.25, 0.5, 0.75, 1, "m1"))
        writer.settle("pattern", 20, Settled("failed", 'ValueError: "a", b\nc', attempts=2))
        writer.settle("pattern", 30, Settled("superseded"))
        writer.close()
    ledger = read_ledger(tmp_path)
    assert len(ledger) == 8
    assert ledger.files == ("ledger-0.csv", "ledger-1.csv")
    assert ledger.problems == ()
    assert ledger.fate.counts() == {"full": 2, "inferred": 2, "failed": 2, "superseded": 2}
    assert ledger.status.counts() == {"dropped": 2, "accepted": 6}
    inferred = ledger.fate.where("inferred")
    np.testing.assert_allclose(ledger.published_s[inferred], 0.5, atol=1e-6)
    np.testing.assert_allclose(ledger.latency_s[inferred], 0.75)
    assert np.isnan(ledger.latency_s[~inferred]).all()
    assert ledger.step[inferred].tolist() == [10, 10]
    assert ledger.rank.tolist() == [0] * 4 + [1] * 4
    assert ledger.reason.counts(ledger.fate.where("failed")) == {"ValueError: 'a'; b c": 2}
    assert ledger.model.counts(inferred) == {"m1": 2}
    assert ledger.repeated() == 0


def test_every_row_of_a_run_is_found(run: SyntheticRun) -> None:
    ledger = read_ledger(run.folder)
    assert len(ledger) == len(run.rows)
    for outcome in {row["outcome"] for row in run.rows}:
        expected = sum(row["outcome"] == outcome for row in run.rows)
        assert ledger.fate.where(outcome).sum() == expected
    keys = zip((ledger.stream.names[code] for code in ledger.stream.codes), ledger.rank, ledger.step, strict=True)
    assert set(keys) == {(row["stream"], row["rank"], row["step"]) for row in run.rows}


@pytest.mark.parametrize("cut", range(1, len(ROW.format(step=9)), 7))
def test_a_last_line_that_was_cut_off_is_left_out_and_said(tmp_path: Path, cut: int) -> None:
    text = HEADER + "".join(ROW.format(step=step) for step in range(10))
    (tmp_path / "ledger-0.csv").write_text(text[:-cut])
    ledger = read_ledger(tmp_path)
    assert ledger.step.tolist() == list(range(9))
    assert ledger.problems == ("ledger-0.csv: its last line is cut off",)


@pytest.mark.parametrize(
    "line",
    [
        "pattern,0\n",
        "\n",
        "pattern,zero,1,accepted,inferred,,1,,,,1,m\n",
        "pattern,0,1,accepted,inferred,,soon,,,,1,m\n",
        f"pattern,0,{10**30},accepted,inferred,,1,,,,1,m\n",
        "a,b,c,d,e,f,g,h,i,j,k,l,m\n",
        "\0\0\0\0\n",
    ],
    ids=repr,
)
def test_a_damaged_line_costs_itself_alone(tmp_path: Path, line: str) -> None:
    text = HEADER + ROW.format(step=1) + line + ROW.format(step=2)
    (tmp_path / "ledger-3.csv").write_text(text)
    ledger = read_ledger(tmp_path)
    assert ledger.step.tolist() == [1, 2]
    assert ledger.problems == ("ledger-3.csv: 1 lines are no row of a ledger",)


def test_quoted_fields_are_read_as_csv(tmp_path: Path) -> None:
    (tmp_path / "ledger-0.csv").write_text(HEADER + '"a, ""b""",0,1,accepted,failed,"x, y",1,,,,1,m\n')
    ledger = read_ledger(tmp_path)
    assert ledger.stream.names == ('a, "b"',)
    assert ledger.reason.names == ("x, y",)


def test_columns_are_found_by_name_and_more_of_them_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "ledger-0.csv").write_text("step,colour,outcome,rank,stream\n7,red,full,2,s\n")
    ledger = read_ledger(tmp_path)
    assert (ledger.step[0], ledger.rank[0], ledger.fate.names, ledger.stream.names) == (7, 2, ("full",), ("s",))
    assert ledger.attempts.tolist() == [-1]
    assert np.isnan(ledger.published_s).all()


def test_an_outcome_that_only_says_dropped_is_told_by_its_reason(tmp_path: Path) -> None:
    (tmp_path / "ledger-0.csv").write_text("stream,rank,step,outcome,reason\ns,0,1,dropped,full\ns,0,2,inferred,\n")
    assert read_ledger(tmp_path).fate.counts() == {"full": 1, "inferred": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it has no header"),
        ("stream,rank", "it has no header"),
        ("stream,rank\n", "its first line must name the columns stream, rank, step, outcome, step, outcome missing"),
        ("stream,rank,step,outcome,step\n", "its first line must name each column once"),
    ],
)
def test_a_file_that_is_no_ledger_is_a_problem_and_no_error(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "ledger-0.csv").write_text(text)
    ledger = read_ledger(tmp_path)
    assert len(ledger) == 0
    assert ledger.problems == (f"ledger-0.csv: {problem}",)


def test_repeated_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "ledger-0.csv").write_text(HEADER + ROW.format(step=1) * 3 + ROW.format(step=2))
    assert read_ledger(tmp_path).repeated() == 2


def test_ranks_come_by_number(tmp_path: Path) -> None:
    for rank in (10, 9, 0):
        (tmp_path / f"ledger-{rank}.csv").write_text(HEADER)
    assert read_ledger(tmp_path).files == ("ledger-0.csv", "ledger-9.csv", "ledger-10.csv")


def test_a_file_of_several_blocks_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_insitu.watching.ledger_files._BLOCK_BYTES", 1000)
    (tmp_path / "ledger-0.csv").write_text(HEADER + "".join(ROW.format(step=step) for step in range(500)))
    assert read_ledger(tmp_path).step.tolist() == list(range(500))
