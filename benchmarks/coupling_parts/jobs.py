"""Starting the parts of a benchmark as jobs of their own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from inference_insitu.placement.launcher import mpiexec

HERE = Path(__file__).parent
POLITE = {"MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1", "MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT": "8"}


def run_ranks(program: str, ranks: int, given: dict[str, Any], *, timeout_s: float) -> Any:
    """What ``program`` wrote on ``ranks`` ranks: its JSON result."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        task, result = folder / "task.json", folder / "result.json"
        task.write_text(json.dumps(given | {"output": str(folder / "runs"), "result": str(result)}))
        environment = os.environ | POLITE | {"OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
        command = [str(mpiexec()), "-n", str(ranks), sys.executable, str(HERE / program), str(task)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s)
        if run.returncode or not result.exists():
            raise RuntimeError(f"{program} failed ({run.returncode}): {run.stderr[-2000:]}")
        return json.loads(result.read_text())
