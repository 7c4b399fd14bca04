import sys
from pathlib import Path

import pytest

from cdi.errors import MissingDependencyError
from inference_insitu.transit.engines.engine import engine_python
from inference_insitu.transit.engines.java import java
from inference_insitu.transit.log.redis_server import redis_program

for folder in (Path(__file__).parent, Path(__file__).parents[1]):
    sys.path.insert(0, str(folder))


@pytest.fixture
def needs():
    """Skips, saying why, where a run of real processes lacks MPI, the log, the table, or the engine that is named."""
    for module in ("mpi4py", "redis", "pyarrow"):
        pytest.importorskip(module)

    def need(kind="plain"):
        try:
            redis_program()
            if kind != "plain":
                engine_python(kind)
                java()
        except MissingDependencyError as missing:
            pytest.skip(str(missing))

    return need


@pytest.fixture
def moving(tmp_path, needs):
    """Makes runs whose engine is the plain one, but where another is asked for by name."""
    from moving_run import MovingRun

    made = []

    def make(**given):
        given = {"engine": "plain"} | given
        needs(given["engine"])
        made.append(MovingRun(tmp_path, **given))
        made[-1].ready()
        return made[-1]

    yield make
    for run in made:
        run.clear()
