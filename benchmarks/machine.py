"""What every benchmark says of where it ran, and how it prints: JSON lines."""

import json
import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Processor, cores, and accelerator."""
    import torch

    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "gpu": gpu, "torch": torch.__version__}


def emit(**values: Any) -> None:
    """Print one JSON line."""
    print(json.dumps(values), flush=True)


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
