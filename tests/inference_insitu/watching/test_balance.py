"""Books that do not balance are found out, whichever part of them is wrong."""

from collections.abc import Callable
from typing import Any

import pytest
from synthetic_run import SyntheticRun

from inference_insitu.watching.account import account, described
from inference_insitu.watching.balance import imbalances, read_books
from inference_insitu.watching.ledger_files import read_ledger
from inference_insitu.watching.live_state import RunState


def found(run: SyntheticRun) -> str:
    return "\n".join(imbalances(read_books(run.folder), read_ledger(run.folder)))


def test_a_run_that_balances_has_nothing_to_say(run: SyntheticRun) -> None:
    assert found(run) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda books: books.update(balanced=False), "itself says that it is not balanced"),
        (lambda books: books.update(balanced="yes"), "itself says that it is not balanced"),
        (lambda books: books.update(published=2401), "all streams: 2401 published, but 2400 accounted for"),
        (lambda books: books.update(inferred=1), "inferred by the books"),
        (lambda books: books.update(open=3), "3 frames are still open"),
        (lambda books: books["dropped"].update(full=books["dropped"]["full"] + 2), "dropped as 'full' by the books"),
        (lambda books: books["streams"]["stress"].update(inferred=5), "stream 'stress'"),
        (lambda books: books["streams"].pop("stress"), "stream 'stress': 0 settled by the books, 1200 rows"),
    ],
)
def test_each_wrong_number_is_said(run: SyntheticRun, change: Callable[[dict[str, Any]], None], said: str) -> None:
    books = run.books()
    change(books)
    run.write_books(books)
    assert said in found(run)


def test_a_ledger_that_is_gone_or_shorter_is_said(run: SyntheticRun) -> None:
    path = run.folder / "ledger-2.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert "all streams: 2400 settled by the books, 2399 rows in the ledgers" in found(run)
    path.unlink()
    assert "all streams: 2400 settled by the books, 1800 rows in the ledgers" in found(run)


def test_a_row_written_twice_is_said(run: SyntheticRun) -> None:
    with (run.folder / "ledger-0.csv").open("a") as file:
        file.write((run.folder / "ledger-0.csv").read_text().splitlines(keepends=True)[1])
    assert "1 rows of the ledgers repeat" in found(run)


def test_a_run_without_books_is_no_imbalance(run: SyntheticRun) -> None:
    (run.folder / "books.json").unlink()
    assert found(run) == ""


def test_frames_handed_over_are_neither_inferred_nor_dropped(run: SyntheticRun) -> None:
    books, changed = run.books(), 0
    for row in run.rows:
        if row["outcome"] == "inferred" and row["stream"] == "stress":
            row["outcome"], changed = "handed_over", changed + 1
    for part in (books, books["streams"]["stress"]):
        part["inferred"] -= changed
        part["handed_over"] = changed
    run.write_ledgers()
    run.write_books(books)
    assert changed > 100
    assert found(run) == ""
    assert state_of(run).imbalances == []
    assert f"+ handed over {changed} +" in described(account(run.folder))
    books["handed_over"] -= 1
    run.write_books(books)
    for said in (found(run), "\n".join(state_of(run).imbalances)):
        assert f"all streams: {changed - 1} handed over by the books, {changed} rows in the ledgers" in said
        assert "2400 published, but 2399 accounted for" in said


def state_of(run: SyntheticRun) -> RunState:
    state = RunState(run.folder)
    state.refresh()
    return state


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"published": 3}', '{"published": "x", "inferred": 1}'])
def test_a_file_that_holds_no_books_is_an_error_of_one_line(run: SyntheticRun, text: str) -> None:
    (run.folder / "books.json").write_text(text)
    with pytest.raises(ValueError, match=r"books.json must hold the books of a run, got"):
        read_books(run.folder)
