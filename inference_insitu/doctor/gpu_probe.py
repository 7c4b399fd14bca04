"""What torch sees of the GPUs: devices, memory, and whether a product in bfloat16 comes out right.

torch takes seconds to import and may crash on a driver of another version: it runs in a child.
"""

import sys
import warnings
from typing import Any

from inference_insitu.doctor.child import Outcome, probe_command, run
from inference_insitu.doctor.reporting import report, run_probe
from inference_insitu.doctor.verdict import Level, Verdict

NAME = "GPU"
GIB = 1 << 30


def gpu(timeout_s: float) -> Verdict:
    """torch's view, in a child."""
    return judge(run(probe_command("gpu_probe"), timeout_s=timeout_s))


def judge(outcome: Outcome) -> Verdict:
    """The verdict on what torch said, or on how its process ended."""
    said: dict[str, Any] = next(iter(outcome.reports), {})
    if not said or "error" in said:
        if outcome.hung:
            advice = f"a first import can be slow: cdi doctor --timeout {2 * outcome.bound_s:g}"
        else:
            advice = "pip install --force-reinstall torch torchvision, both from one place"
        return Verdict(NAME, Level.WARNING, f"torch does not run: {said.get('error', outcome.ending)}", advice, said)
    build = f"torch {said['torch']}, " + (f"CUDA {said['cuda']}" if said["cuda"] else "no CUDA in this build")
    devices = said["devices"]
    if not devices:
        if said["complaint"]:
            return Verdict(NAME, Level.WARNING, f"{build}: {said['complaint']}", "match the driver and torch", said)
        return Verdict(NAME, Level.NO, f"none; {build}", facts=said)
    finding = "; ".join(_described(device) for device in devices) + f"; {build}"
    broken = [device for device in devices if device["error"]]
    if broken:
        return Verdict(NAME, Level.WARNING, finding, "install a torch built for this GPU and driver", said)
    return Verdict(NAME, Level.OK, finding, facts=said)


def _described(device: dict[str, Any]) -> str:
    memory = f"{device['free_bytes'] / GIB:.0f} of {device['memory_bytes'] / GIB:.0f} GiB free"
    bf16 = device["error"] or ("bf16" if device["bf16"] else "no bf16")
    return f"{device['name']}, {memory}, {bf16}"


def _probe() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import torch

        available = torch.cuda.is_available()
    complaint = next((str(entry.message) for entry in caught if "CUDA" in str(entry.message)), "")
    devices = [_device(torch, index) for index in range(torch.cuda.device_count())] if available else []
    cuda = torch.version.cuda or getattr(torch.version, "hip", None)
    complaint = "" if devices else " ".join(complaint.split())[:200]
    report(torch=torch.__version__, cuda=cuda, devices=devices, complaint=complaint)


def _device(torch: Any, index: int) -> dict[str, Any]:
    """One GPU; what it cannot do is told in ``error`` rather than raised."""
    properties = torch.cuda.get_device_properties(index)
    entry = {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": properties.total_memory,
        "free_bytes": 0,
        "bf16": False,
        "error": "",
    }
    try:
        entry["free_bytes"] = torch.cuda.mem_get_info(index)[0]
        ones = torch.ones(32, 32, device=f"cuda:{index}")
        if float((ones @ ones).sum()) != 32.0**3:
            raise RuntimeError("a product of matrices comes out wrong")
        with torch.cuda.device(index):
            if torch.cuda.is_bf16_supported(including_emulation=False):
                half = ones.bfloat16()
                entry["bf16"] = float((half @ half).float().sum()) == 32.0**3
    except RuntimeError as error:
        entry["error"] = " ".join(str(error).split())[:160]
    return entry


if __name__ == "__main__":
    run_probe(_probe)
    sys.exit(0)
