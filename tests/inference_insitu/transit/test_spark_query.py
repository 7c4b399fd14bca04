"""Queries that are started again where Spark's Python was late, and only then."""

from types import SimpleNamespace

import pytest

from inference_insitu.transit.engines import spark_query
from inference_insitu.transit.engines.spark_query import MOST_TRIES, Query, patiently

LATE = RuntimeError("Python worker failed to connect back.")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(spark_query, "PAUSE_S", 0.0)


def started(*ends):
    """A start whose queries end with ``ends``, one after the other; None runs."""
    left = iter(ends)

    def start():
        end = next(left)
        return SimpleNamespace(isActive=end is None, exception=lambda: end)

    return start


def test_a_query_whose_python_was_late_is_started_again():
    query = Query(started(LATE, LATE, None))
    for _ in range(3):
        query.look()
    assert query.running.isActive


def test_what_fails_for_another_reason_or_always_is_told():
    with pytest.raises(RuntimeError, match="has ended: no"):
        Query(started(ValueError("no"))).look()
    query = Query(started(*[LATE] * (MOST_TRIES + 1)))
    with pytest.raises(RuntimeError, match="connect back"):
        [query.look() for _ in range(MOST_TRIES)]
    calls = []
    with pytest.raises(RuntimeError, match="connect back"):
        patiently(lambda: calls.append(0) or _raise(LATE))
    assert len(calls) == MOST_TRIES
    with pytest.raises(ValueError, match="no"):
        patiently(lambda: _raise(ValueError("no")))


def _raise(error):
    raise error
