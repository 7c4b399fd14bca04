"""The books of a whole run: every rank's counts added up, written, and printed."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_insitu.books.ledger import percentiles

BOOKS = "books.json"
_COUNTS = ("published", "inferred", "handed_over", "open")


def joined_books(
    parts: Sequence[Mapping[str, Any]], latencies: NDArray[np.float64], *, wall_s: float
) -> dict[str, Any]:
    """One summary from every rank's ``Ledger.summary()`` and, below each other, ``Ledger.latency_quantiles()``."""
    streams: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, counts in part.items():
            total = streams.setdefault(name, dict.fromkeys((*_COUNTS, "accepted"), 0) | {"dropped": Counter[str]()})
            for key in (*_COUNTS, "accepted"):
                total[key] += counts[key]
            total["dropped"].update(counts["dropped"])
    dropped = sum((total["dropped"] for total in streams.values()), Counter[str]())
    figures = {key: sum(total[key] for total in streams.values()) for key in _COUNTS}
    return {
        **figures,
        "dropped": dict(dropped),
        "balanced": figures["open"] == 0
        and figures["published"] == figures["inferred"] + figures["handed_over"] + dropped.total(),
        "latency_s": percentiles(latencies[:, 0], (50, 95, 99, 100), latencies[:, 1]),
        "wall_s": round(wall_s, 3),
        "streams": {name: total | {"dropped": dict(total["dropped"])} for name, total in streams.items()},
    }


def write_books(folder: Path, books: Mapping[str, Any]) -> None:
    """``books.json`` in ``folder``, whole or not at all: who watches takes its being there for the run's end.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    temporary = folder / f".{BOOKS}.{os.getpid()}.tmp"
    try:
        temporary.write_text(json.dumps(books, indent=1) + "\n")
        os.replace(temporary, folder / BOOKS)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def summary_line(books: Mapping[str, Any]) -> str:
    """One line for people: what was published, what became of it, whether the account is whole."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(books["dropped"].items()))
    latency = books["latency_s"]["p50"]
    return (
        f"published {books['published']} = inferred {books['inferred']} + "
        + (f"handed over {books['handed_over']} + " if books["handed_over"] else "")
        + f"dropped {sum(books['dropped'].values())}"
        + (f" ({dropped})" if dropped else "")
        + (f"; latency {latency:.3g} s (median), {books['latency_s']['max']:.3g} s (largest)" if latency else "")
        + ("" if books["balanced"] else f"; THE BOOKS DO NOT BALANCE: {books['open']} open")
    )
