"""What the run ran on, for the ``machine`` field of the ``attach`` event. Standard library only."""

import os
import platform
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("crystal-defects-insitu", "numpy", "mpi4py", "torch")
_SHARED_MEMORY = "/dev/shm"


def machine_facts() -> dict[str, Any]:
    """Node, cores, memory and versions; what cannot be found out is left out. Imports none of the packages it names."""
    facts: dict[str, Any] = {
        "host": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": sys.version.split()[0],
    }
    try:
        facts["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        facts["shared_memory_free_bytes"] = shutil.disk_usage(_SHARED_MEMORY).free
    except (OSError, ValueError):
        pass
    for name in _PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    return facts
