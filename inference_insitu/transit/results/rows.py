"""An answer as a row: the columns of the table of results and of what views may ask. Free of engines."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from math import isfinite
from typing import Any

from inference_insitu.transit.log.codec import decoded
from inference_insitu.transit.log.records import Answer, PoisonedRecordError
from inference_insitu.transit.log.stream_log import Stored

INTEGER, REAL, TEXT = "integer", "real", "text"

COLUMNS: Mapping[str, str] = {
    "run": TEXT,
    "stream": TEXT,
    "step": INTEGER,
    "rank": INTEGER,
    "analysis": TEXT,
    "model": TEXT,
    "outcome": TEXT,
    "detail": TEXT,
    "published_ns": INTEGER,
    "sent_s": REAL,
    "answered_s": REAL,
    "inferred_s": REAL,
    "batch": INTEGER,
    "attempts": INTEGER,
    "defects": INTEGER,
    "defect_probability": REAL,
    "confidence": REAL,
    "line_length_A": REAL,
    "line_density_per_A2": REAL,
    "time_ps": REAL,
    "material": TEXT,
    "temperature_K": REAL,
    "load_nN": REAL,
    "answer": TEXT,
    "attributes": TEXT,
}
"""Name and type. Numbers that an answer does not have are null. ``sent_s`` and ``answered_s`` are seconds since 1970;
``defects`` is the answer's ``count``; ``answer`` and ``attributes`` are all of it as JSON."""

_OF_VALUES = {
    "defects": "count",
    "defect_probability": "defect_probability",
    "confidence": "confidence",
    "line_length_A": "line_length_A",
    "line_density_per_A2": "line_density_per_A2",
}
_OF_RUN = ("time_ps", "material", "temperature_K", "load_nN")


def rows_of(records: Iterable[Stored], conditions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the answers among ``records``; replies are none, and what nobody can read is none either."""
    found = []
    for stored in records:
        with suppress(PoisonedRecordError):
            record = decoded(stored)
            if isinstance(record, Answer):
                found.append(row(record, conditions))
    return found


def row(answer: Answer, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """``answer`` with ``COLUMNS``; what its frame does not say of material, temperature and load, the run does."""
    told = {**conditions, **answer.attributes}
    found: dict[str, Any] = {
        name: getattr(answer, name) for name in COLUMNS if name in Answer.__dataclass_fields__ and name != "attributes"
    }
    found |= {"sent_s": answer.sent_ns * 1e-9, "answered_s": answer.answered_ns * 1e-9}
    found |= {name: _of(COLUMNS[name], answer.values.get(source)) for name, source in _OF_VALUES.items()}
    found |= {name: _of(COLUMNS[name], told.get(name)) for name in _OF_RUN}
    found |= {"answer": json.dumps(dict(answer.values)), "attributes": json.dumps(dict(answer.attributes))}
    return {name: found[name] for name in COLUMNS}


def _of(kind: str, value: Any) -> Any:
    """``value`` as its column has it; None where it is of another type."""
    if kind == TEXT:
        return value if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return int(value) if kind == INTEGER else float(value)
