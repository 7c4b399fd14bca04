"""The end of a run: what became of its patterns, truth, comparison, picture and the summary's JSON line.

What the run itself measured is written first: a failure of the dislocation analysis or of the
picture loses nothing but itself.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdi.lattices.materials import material
from inference_insitu.books.outcomes import INFERRED
from inference_insitu.inference.results import read_results
from inference_insitu.lammps import dxa, folder
from inference_insitu.lammps.comparison import compare
from inference_insitu.lammps.config import InsituConfig
from inference_insitu.watching.balance import imbalances, read_books
from inference_insitu.watching.in_transit import read_in_transit, transit_imbalances
from inference_insitu.watching.ledger_files import read_ledger

_PARTIAL = "reduced"
"""The amplitude of a rank that went into the root's is no pattern that was lost."""


def finish_run(output: Path, config: InsituConfig, figures: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The summary as it is printed, and what went wrong on the way, one line each.

    Writes ``summary.json``, ``dxa.json`` (with ``truth.dxa``) and the picture. ``figures`` are what the run measured.
    """
    problems: list[str] = []
    account = _attempt("reading the books", problems, lambda: patterns_account(output, problems)) or {}
    line = account | figures | {"dxa": None, "output": str(output)}
    _write_summary(output, line)
    if config.truth.dxa:
        line["dxa"] = _attempt("dislocation analysis", problems, lambda: _truth(output, config))
        _write_summary(output, line)
    _attempt("the picture", problems, lambda: _draw(output, config))
    if account.get("published") and not account["inferred"] + account["in_transit"].get(INFERRED, 0):
        problems.append(f"no pattern was inferred out of {account['published']}: {account['dropped']}")
    return line, problems


def patterns_account(output: Path, problems: list[str]) -> dict[str, Any]:
    """Patterns published, inferred and dropped by reason, and the latency, as the coupling's books say.

    ``handed_over`` are those that went to a stream engine, ``in_transit`` what became of them there.

    Raises
    ------
    ValueError
        If there are no books.
    """
    books = read_books(output)
    if books is None:
        raise ValueError(f"{output} holds no books")
    ledger, transit = read_ledger(output), read_in_transit(output)
    problems += [*imbalances(books, ledger), *transit_imbalances(ledger, transit, ended=True)]
    dropped = dict(books.total.dropped)
    partial = dropped.pop(_PARTIAL, 0)
    return {
        "published": books.total.published - partial,
        "inferred": books.total.inferred,
        "handed_over": books.total.handed_over,
        "in_transit": transit.outcomes,
        "dropped": dropped,
        "latency_s": dict(books.latency_s),
    }


def _truth(output: Path, config: InsituConfig) -> dict[str, Any]:
    element = config.crystal.element
    structure = material(element).structure
    analyses = dxa.analyse_run(output, structure, element=element, keep_atoms=config.truth.keep_atoms)
    return compare(read_results(output), analyses, minimum_length_A=config.truth.minimum_length_A)


def _draw(output: Path, config: InsituConfig) -> None:
    from inference_insitu.lammps.picture import draw_run

    draw_run(output, config)


def _attempt(what: str, problems: list[str], task: Callable[[], Any]) -> Any:
    try:
        return task()
    except Exception as error:
        problems.append(f"{what} failed: {type(error).__name__}: {error}")
        return None


def _write_summary(output: Path, line: dict[str, Any]) -> None:
    (output / folder.SUMMARY).write_text(json.dumps(line, indent=1) + "\n")
