"""Shared memory between processes: what /dev/shm holds, and whether another process reads what is written there."""

import mmap
import os
import shutil
import sys
import tempfile
from pathlib import Path

from inference_insitu.doctor.child import run
from inference_insitu.doctor.verdict import Level, Verdict

NAME = "shared memory"
FOLDER = Path("/dev/shm")
TRIAL_BYTES = 1 << 20
LITTLE_BYTES = 256 << 20
"""Containers grant 64 MiB unless told; a ring holds several frames of every rank of the node."""
MIB = 1 << 20

_READ_BACK = "import sys; sys.exit(open(sys.argv[1], 'rb').read() != bytes([7]) * int(sys.argv[2]))"


def shared_memory(timeout_s: float, folder: Path = FOLDER) -> Verdict:
    """Write a megabyte through a mapping and have a child read it."""
    if not folder.is_dir():
        return Verdict(NAME, Level.NO, f"there is no {folder}", "run on a Linux node with /dev/shm mounted", {})
    try:
        usage = shutil.disk_usage(folder)
        facts = {"total_bytes": usage.total, "free_bytes": usage.free}
        # Not named like a ring: it must not look like a stale one.
        with tempfile.NamedTemporaryFile(prefix="cdi_doctor_", dir=folder) as segment:
            os.posix_fallocate(segment.fileno(), 0, TRIAL_BYTES)
            with mmap.mmap(segment.fileno(), TRIAL_BYTES) as mapped:
                mapped[:] = bytes([7]) * TRIAL_BYTES
                command = [sys.executable, "-c", _READ_BACK, segment.name, str(TRIAL_BYTES)]
                outcome = run(command, timeout_s=timeout_s)
    except OSError as error:
        return Verdict(NAME, Level.NO, f"{folder} takes no segment: {error.strerror}", "free or enlarge it", {})
    if outcome.code != 0:
        return Verdict(NAME, Level.NO, f"another process does not read {folder}: {outcome.ending}", facts=facts)
    finding = f"{usage.free / MIB:.0f} of {usage.total / MIB:.0f} MiB free in {folder}, another process reads it"
    if usage.free < LITTLE_BYTES:
        advice = "enlarge it (docker --shm-size=8g, mount -o remount,size=8g /dev/shm) or remove old segments"
        return Verdict(NAME, Level.WARNING, finding, advice, facts)
    return Verdict(NAME, Level.OK, finding, facts=facts)
