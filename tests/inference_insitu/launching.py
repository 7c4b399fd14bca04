"""Starting processes the way a user does, and reading what they print."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

Completed = subprocess.CompletedProcess[str]


def environment() -> dict[str, str]:
    """Ours, without the traces of a launcher; MPICH's ranks share cores politely."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PMI_", "OMPI_", "MPI_"))}
    paths = [str(HERE), str(HERE.parents[1]), kept.get("PYTHONPATH", "")]
    polite = {"MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1", "MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT": "8"}
    return kept | polite | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def last_json(completed: Completed) -> dict[str, Any]:
    """The last line of stdout, which must be a JSON object."""
    assert completed.returncode == 0, completed.stderr
    figures: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])
    return figures
