"""Whether two MPI jobs can be joined by a port, by joining two. Run as a script it is one of them."""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from inference_insitu.doctor.child import Child, Outcome, launch_command
from inference_insitu.doctor.reporting import leave, report, report_segments, run_probe
from inference_insitu.doctor.verdict import Level, Verdict

NAME = "two jobs by a port"
PATIENCE_S = 20.0
"""Enough where it works (well below a second); where it does not, the calls never return."""
MESSAGE_BYTES = 1 << 20
ADVICE = "couple separate jobs over ADIOS2 SST, or run simulation and inference as one job"


def two_jobs_by_a_port(launcher: Path, timeout_s: float) -> Verdict:
    """Start two jobs of one rank, let one accept and the other connect, and exchange a megabyte."""
    bound_s = min(timeout_s, PATIENCE_S)
    with tempfile.TemporaryDirectory(prefix="cdi-doctor-") as folder:
        commands = [launch_command(launcher, 1, "port_probe", role, f"{folder}/port") for role in ("accept", "connect")]
        try:
            with (
                Child(commands[0], timeout_s=bound_s) as accepting,
                Child(commands[1], timeout_s=bound_s) as connecting,
            ):
                outcomes = [connecting.outcome(), accepting.outcome()]
        except OSError as error:
            outcomes = [Outcome(127, "", str(error))]
    return judge(outcomes)


def judge(outcomes: list[Outcome]) -> Verdict:
    """The verdict on how both jobs fared."""
    said = [report for outcome in outcomes for report in outcome.reports]
    joined = sorted(entry["joined"] for entry in said if entry.get("joined"))
    facts = {"joined": joined == ["accept", "connect"]}
    if facts["joined"]:
        return Verdict(NAME, Level.OK, "accept and connect join them, 1 MiB arrived both ways", facts=facts)
    error = next((entry["error"] for entry in said if "error" in entry), None)
    worst = next((outcome for outcome in outcomes if not outcome.hung and outcome.code), outcomes[0])
    how = error or ("accept and connect hang: " if worst.hung else "") + worst.ending
    return Verdict(NAME, Level.NO, how, ADVICE, facts)


def _probe() -> None:
    from mpi4py import MPI

    role, place = sys.argv[1], Path(sys.argv[2])
    report_segments()
    if role == "accept":
        port = MPI.Open_port()
        written = place.with_suffix(".part")
        written.write_text(port)
        os.replace(written, place)
        peer = MPI.COMM_SELF.Accept(port)
    else:
        while not place.exists():  # ended by the probe's alarm
            time.sleep(0.02)
        peer = MPI.COMM_SELF.Connect(place.read_text())
    ours, theirs = (7, 9) if role == "accept" else (9, 7)
    received = bytearray(MESSAGE_BYTES)
    pending: list[Any] = [peer.Isend(bytes([ours]) * MESSAGE_BYTES, dest=0), peer.Irecv(received, source=0)]
    while pending:
        pending = [request for request in pending if not request.Test()]
        time.sleep(0.001)
    if received != bytes([theirs]) * MESSAGE_BYTES:
        raise RuntimeError("other bytes arrived than were sent")
    report_segments()  # the connection may have brought more
    report(joined=role)
    time.sleep(0.2)  # the other's last acknowledgement is on its way
    leave()


if __name__ == "__main__":
    run_probe(_probe)
