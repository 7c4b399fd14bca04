"""A run whose workers were killed says no end: what keeps its engine sees that nothing is told any more."""

import os

from inference_insitu.books.summary import BOOKS
from inference_insitu.transit.migration.serving import LAST_WORD_S, Silence


def test_workers_that_tell_nothing_for_long_count_as_ended(tmp_path):
    now = [0.0]
    silence = Silence(tmp_path, 10.0, clock=lambda: now[0])
    now[0] = 100.0
    assert not silence.over(0), "workers that load have not told anything yet"
    metrics = tmp_path / "metrics-0.prom"
    for tick in range(5):
        metrics.touch()
        os.utime(metrics, ns=(tick, tick))
        now[0] += 8.0
        assert not silence.over(0)
    now[0] += 8.0
    assert not silence.over(0)
    now[0] += 3.0
    assert silence.over(0)


def test_workers_of_a_run_that_has_ended_are_not_waited_for_as_long(tmp_path):
    now = [0.0]
    silence = Silence(tmp_path, 300.0, clock=lambda: now[0])
    (tmp_path / "metrics-0.prom").touch()
    assert not silence.over(0)
    now[0] += 2 * LAST_WORD_S
    assert not silence.over(0)
    (tmp_path / BOOKS).touch()
    assert silence.over(0)
    os.utime(tmp_path / "metrics-0.prom", ns=(1, 1))
    assert not silence.over(0), "it still has something to tell"
    now[0] += LAST_WORD_S + 1.0
    assert silence.over(0)


def test_what_waits_in_the_log_is_waited_for_as_long_as_it_becomes_less(tmp_path):
    """An engine may take its time for a frame; what waits for the word of a worker that is dead waits for ever."""
    now = [0.0]
    silence = Silence(tmp_path, 300.0, clock=lambda: now[0])
    (tmp_path / "metrics-0.prom").touch()
    (tmp_path / BOOKS).touch()
    for waiting in (5, 4, 3):
        assert not silence.over(waiting)
        now[0] += 299.0
        assert not silence.over(waiting)
    now[0] += 2.0
    assert silence.over(3)
