"""A run with a real engine that nobody tells anything: it moves, scales, alerts and is steered by its rules."""

import os
import subprocess
import sys
import time

import pytest
import yaml
from launching import environment
from moving_run import HERE, coupling
from moving_simulation import STOP

from inference_insitu.placement.launcher import mpiexec
from inference_insitu.watching.account import account
from inference_insitu.watching.events import read_events
from inference_insitu.watching.run_files import read_run

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(1800)]

START_S, END_S = 600.0, 300.0
RULES = [
    {"when": "memory_mb > 0", "for_s": 3.0, "to": "in_transit"},
    {"when": "in_log == 0", "for_s": 12.0, "to": "in_situ"},
]
VIEW = """-- kind: alerts
SELECT `run`, `stream`, `rank`, `step`, `step` AS seen
FROM answers
WHERE MOD(`step`, 50) = 0
"""


def started(folder, *command):
    paths = f"{HERE}{os.pathsep}{environment()['PYTHONPATH']}"
    return subprocess.Popen(
        [str(word) for word in command],
        env=environment() | {"PYTHONPATH": paths},
        stdout=(folder / "said").open("ab"),
        stderr=subprocess.STDOUT,
    )


@pytest.mark.parametrize("kind", ["flink", "spark"])
def test_rules_alone_move_a_run_scale_its_engine_and_steer_it(tmp_path, needs, kind):
    needs(kind)
    config, run, view = tmp_path / "coupling.yaml", tmp_path / "run", tmp_path / "fiftieth.sql"
    view.write_text(VIEW)
    told = coupling(1, 2, "transit_twins:Summed")
    told["migration"] |= {"rules": RULES, "timeout_s": 300.0}
    told["steering"] = {
        "rules": [{"when": "seen >= 50", "analysis": "fiftieth", "then": "mark", "value": 1, "once": True}]
    }
    config.write_text(yaml.safe_dump(told))
    simulation = started(
        tmp_path, mpiexec(), "-n", 3, sys.executable, "-m", "mpi4py", HERE / "moving_simulation.py", config, run
    )
    serving = None

    def happened(event, **fields):
        return [
            one
            for one in read_events(run)
            if one.event == event and all(one.fields.get(name) == value for name, value in fields.items())
        ]

    def until(ask):
        end_s = time.monotonic() + START_S
        while not ask():
            assert simulation.poll() is None, (tmp_path / "said").read_text()[-3000:]
            assert time.monotonic() < end_s, [f"{one.who} {one.event} {one.fields}" for one in read_events(run)[-20:]]
            time.sleep(0.1)

    try:
        until(lambda: happened("worker_ready"))
        scaling = ["parallelism=1", "scaling.most=2", "scaling.behind=1", "scaling.for_s=0", "scaling.pause_s=20"]
        words = [f"engine={kind}", "partitions=2", f"views=[{view}]", *scaling]
        serving = started(tmp_path, sys.executable, "-m", "cdi", "insitu", "transit", run, *words)
        until(lambda: happened("migration", phase="committed", to="in_transit"))
        until(lambda: happened("engine_scales"))
        until(lambda: happened("alert"))
        until(lambda: read_run(run).commands)
        (run / STOP).touch()
        assert simulation.wait(END_S) == 0, (tmp_path / "said").read_text()[-3000:]
        assert serving.wait(END_S) == 0, (tmp_path / "said").read_text()[-3000:]
    finally:
        simulation.kill()
        if serving is not None:
            serving.terminate()
            serving.wait(END_S)
    assert account(run)["problems"] == []
    assert {one.fields["to"] for one in happened("migration_rule")} >= {"in_transit"}
    applied = [row for row in read_run(run).commands if row["event"] == "applied"]
    assert {row["name"] for row in applied} == {"mark"}
