"""A run whose workers were killed says no end: what keeps its engine sees that nothing is told any more."""

import os

from inference_insitu.transit.migration.serving import Silence


def test_workers_that_tell_nothing_for_long_count_as_ended(tmp_path):
    now = [0.0]
    silence = Silence(tmp_path, 10.0, clock=lambda: now[0])
    now[0] = 100.0
    assert not silence.over(), "workers that load have not told anything yet"
    metrics = tmp_path / "metrics-0.prom"
    for tick in range(5):
        metrics.touch()
        os.utime(metrics, ns=(tick, tick))
        now[0] += 8.0
        assert not silence.over()
    now[0] += 8.0
    assert not silence.over()
    now[0] += 3.0
    assert silence.over()
