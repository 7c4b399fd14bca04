"""The account of a run: what became of every frame by stream, and whether all adds up. ``cdi insitu books FOLDER``."""

from pathlib import Path
from typing import Any

from inference_insitu.watching.balance import BOOKS, Totals, imbalances, ledger_totals, read_books, stream_totals
from inference_insitu.watching.in_transit import read_in_transit, transit_imbalances
from inference_insitu.watching.ledger_files import PATTERN, read_ledger
from inference_insitu.watching.reasons import meaning, shown


def account(folder: str | Path) -> dict[str, Any]:
    """Counts of the ledgers' rows by stream, the books beside them, and what does not add up (``problems``).

    Raises
    ------
    ValueError
        If ``folder`` holds no run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"folder must be the folder of a run, got {folder}, which is no folder")
    books, problems = None, []
    try:
        books = read_books(folder)  # first: once there are books, the ledgers are whole
    except ValueError as error:
        problems.append(str(error))
    ledger, transit = read_ledger(folder), read_in_transit(folder)
    if not ledger.files and books is None and not problems:
        raise ValueError(f"folder must be the folder of a run, got {folder} without {PATTERN} and {BOOKS}")
    if books is None and not problems:
        problems.append(f"{BOOKS}: the run has not ended, or was killed")
    problems += [*imbalances(books, ledger), *ledger.problems]
    problems += [*transit_imbalances(ledger, transit, ended=books is not None), *transit.rows.problems]
    return {
        "balanced": not problems,
        **_counts(ledger_totals(ledger)),
        "latency_s": dict(books.latency_s) if books else {},
        "in_transit": {"outcomes": transit.outcomes, "in_log": transit.in_log},
        "streams": {name: _counts(totals) for name, totals in sorted(stream_totals(ledger).items())},
        "problems": problems,
    }


def described(account: dict[str, Any]) -> str:
    """The account in lines for people."""
    lines = []
    for name, counts in {**account["streams"], "all streams": account}.items():
        dropped = sum(counts["dropped"].values())
        handed_over = f" + handed over {counts['handed_over']}" if counts["handed_over"] else ""
        inferred = f"inferred {counts['inferred']}{handed_over}"
        lines.append(f"{shown(name)}: published {counts['published']} = {inferred} + dropped {dropped}")
        lines += [f"  {count:>8} {shown(reason, 20)}: {meaning(reason)}" for reason, count in counts["dropped"].items()]
    if account["handed_over"]:
        ended = {**account["in_transit"]["outcomes"], "in the log": account["in_transit"]["in_log"]}
        told = " + ".join(f"{shown(outcome, 20)} {count}" for outcome, count in ended.items())
        lines.append(f"handed over {account['handed_over']} = {told}")
    latency = {name: value for name, value in account["latency_s"].items() if value is not None}
    if latency:
        lines.append("latency: " + ", ".join(f"{name} {value:.3g} s" for name, value in latency.items()))
    lines.append("the books balance" if account["balanced"] else "THE BOOKS DO NOT BALANCE")
    return "\n".join(lines)


def _counts(totals: Totals) -> dict[str, Any]:
    return {
        "published": totals.published,
        "inferred": totals.inferred,
        "handed_over": totals.handed_over,
        "dropped": dict(totals.dropped),
    }
