"""What every benchmark says of where it ran, what it gives its processes, and how it prints: JSON lines."""

import json
import os
import platform
from pathlib import Path
from typing import Any

POLITE = {"MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1", "MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT": "8"}


def machine() -> dict[str, Any]:
    """Processor, cores, and accelerator."""
    import torch

    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "gpu": gpu, "torch": torch.__version__}


def load() -> float:
    """How many processes wanted a core, on average over the last minute."""
    return round(os.getloadavg()[0], 1)


def environment(folder: Path) -> dict[str, str]:
    """For processes that share few cores and find the modules of ``folder``: one thread each, waiting ranks sleep."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    return os.environ | POLITE | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def emit(**values: Any) -> None:
    """Print one JSON line."""
    print(json.dumps(values), flush=True)


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
