"""One end of a wire in a process of its own, as ADIOS2 wants it: job_wire_end.py SIDE FOLDER."""

import os
import sys
import time
from pathlib import Path

import numpy as np

from inference_insitu.placement.job_wire import CourierWire, JobWire, ServerWire, stream_path
from inference_insitu.placement.sst import CONTACT, Incoming, StreamError

PATIENCE_S = 60.0
SIZES = (1, 0, 300, 70_000, 3_000_001)
TURNS = 3


def payload(turn: int, size: int) -> bytearray:
    return bytearray(np.random.default_rng(1000 * turn + size).bytes(size))


def courier(folder: Path) -> str:
    """Send rounds of messages; what the answer is."""
    wire = CourierWire(folder, 0, "t")
    answer = wire.receiving(memoryview(bytearray(8)), 5)
    answer.start()
    for turn in range(TURNS):
        sent = [wire.send(memoryview(payload(turn, size)), 16 + index) for index, size in enumerate(SIZES)]
        sent.append(wire.send(b"%d" % turn, 2))
        moved_until(wire, lambda sent=sent: all(one.done() for one in sent))
    moved_until(wire, lambda: answer.received() is not None)
    wire.close()
    return bytes(answer.into[: answer.received()]).decode()


def server(folder: Path) -> str:
    """Receive them; how the stream ended, once all were what they should be."""
    contact = Path(f"{stream_path(folder, 0, 't')}{CONTACT}")
    until(contact.exists)
    wire = ServerWire(folder, 0, "t", timeout_s=10.0)
    for turn in range(TURNS):
        boxes = [wire.receiving(memoryview(bytearray(max(SIZES))), 16 + index) for index in range(len(SIZES))]
        for box in boxes:
            box.start()
        moved_until(wire, lambda boxes=boxes: all(box.received() is not None for box in boxes))
        if [bytes(box.into[: box.received()]) for box in boxes] != [bytes(payload(turn, size)) for size in SIZES]:
            return f"round {turn} is not what was sent"
    wire.send(b"thanks", 5)
    moved_until(wire, lambda: wire.broken)
    wire.close()
    return wire.broken


def alone(folder: Path) -> str:
    """Read a stream that nobody writes."""
    try:
        Incoming(folder / "frames", timeout_s=1.0)
    except StreamError as error:
        return str(error)
    return "opened"


def listening(folder: Path) -> str:
    """Addresses and ports of this process's listening sockets, hexadecimal as the system has them."""
    wire = CourierWire(folder, 0, "t")
    wire.move()
    held = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return " ".join(row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held)


def moved_until(wire: JobWire, condition) -> None:
    """Keep ``wire`` moving until ``condition``."""

    def moved() -> bool:
        wire.move()
        return condition()

    until(moved)


def until(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not come true")
        time.sleep(0.0005)


if __name__ == "__main__":
    side = {one.__name__: one for one in (courier, server, alone, listening)}[sys.argv[1]]
    print(side(Path(sys.argv[2])))
    sys.stdout.flush()
    os._exit(0)
