"""The producer's cost of a step: this coupling, ADIOS2 SST and a Redis exchange, in turn.

SST is one writer and one reader process on loopback; its queue of four steps drops the oldest when full, so that it
need not block either. Redis is a server on loopback behind a password, without persistence; the producer sets a key
for a step and the reader gets and deletes it, as tensor exchanges do. Readers run on the last core, the producer
elsewhere.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from cdi.config import read_object
from inference_insitu import CouplingConfig, Variable, attach
from inference_insitu.waiting import wait_until

WARM_UP = 5
READY_TIMEOUT_S = 60.0

Arm = tuple[Callable[[int], None], Callable[[], None]]


def main(given: dict[str, Any]) -> None:
    cores = sorted(os.sched_getaffinity(0))
    pattern = np.random.default_rng(0).exponential(10.0, (given["bytes"] // 4,)).astype(np.float32)
    output = Path(given["output"])
    output.mkdir(parents=True)
    os.sched_setaffinity(0, {cores[-1]})  # what is started here stays there
    arms: dict[str, Arm] = {"coupling": ours(given, pattern, output / "coupling")}
    missing = {}
    for name, start in (("ADIOS2 SST", sst), ("Redis", redis)):
        try:
            arms[name] = start(pattern, output)
        except ModuleNotFoundError as error:
            missing[name] = str(error)
    spare = np.ones((4, len(pattern)), np.float32)
    arms["copy"] = (lambda step: np.copyto(spare[step % 4], pattern), lambda: None)
    os.sched_setaffinity(0, set(cores[:-1]) or set(cores))
    calls: dict[str, list[float]] = {name: [] for name in arms}
    step = 0
    for block in range(given["blocks"]):
        order = list(arms)[block % len(arms) :] + list(arms)[: block % len(arms)]
        for name in order:
            for index in range(WARM_UP + given["block_steps"]):
                time.sleep(given["step_s"])
                step += 1
                started = time.perf_counter()
                arms[name][0](step)
                if index >= WARM_UP:
                    calls[name].append(time.perf_counter() - started)
    for _, end in arms.values():
        end()
    Path(given["result"]).write_text(json.dumps({"calls": calls, "missing": missing}))


def ours(given: dict[str, Any], pattern: np.ndarray, output: Path) -> Arm:
    config = read_object(CouplingConfig, given["config"], origin="peers")
    variables = {"pattern": Variable("float32", pattern.shape)}
    coupling = attach(MPI.COMM_WORLD, config, variables=variables, output=output)

    def publish(step: int) -> None:
        coupling.publish("pattern", pattern, step)
        coupling.end_step(step)

    return publish, coupling.close


def sst(pattern: np.ndarray, output: Path) -> Arm:
    import adios2

    name = str(output / "pattern.sst")
    reader = subprocess.Popen([sys.executable, str(Path(__file__).with_name("sst_reader.py")), name])
    adios = adios2.Adios()
    writing = adios.declare_io("writer")
    writing.set_engine("SST")
    # TCP alone: the wheel's default waits for ever on machines without a fast network.
    transports = {"DataTransport": "evpath", "ControlTransport": "sockets"}
    writing.set_parameters({"RendezvousReaderCount": "1", "QueueLimit": "4", "QueueFullPolicy": "Discard"} | transports)
    variable = writing.define_variable("pattern", pattern, [len(pattern)], [0], [len(pattern)])
    engine = writing.open(name, adios2.bindings.Mode.Write)

    def publish(step: int) -> None:
        engine.begin_step(adios2.bindings.StepMode.Append, 10.0)
        engine.put(variable, pattern, adios2.bindings.Mode.Sync)
        engine.end_step()

    def end(owner: Any = adios) -> None:  # the engine dies with it
        engine.close()
        reader.wait(30)

    return publish, end


def redis(pattern: np.ndarray, output: Path) -> Arm:
    if find_spec("redis") is None or shutil.which("redis-server") is None:
        raise ModuleNotFoundError("needs the package redis and the program redis-server")
    import redis as client

    password = secrets.token_hex(16)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = output / "redis.conf"
    config.touch(0o600)
    config.write_text(f"bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ''\nappendonly no\nmaxmemory 1gb\n")
    server = subprocess.Popen(["redis-server", str(config)], stdout=subprocess.DEVNULL)
    environment = os.environ | {"CDI_BENCH_REDIS": f"{port} {password}"}
    reader = subprocess.Popen([sys.executable, str(Path(__file__).with_name("redis_reader.py"))], env=environment)
    store = client.Redis(port=port, password=password)
    wait_until_answers(store)

    def publish(step: int) -> None:
        store.set(f"pattern-{step}", memoryview(pattern).cast("B"))
        store.rpush("steps", step)

    def end() -> None:
        store.rpush("steps", -1)
        reader.wait(30)
        server.terminate()
        server.wait(30)

    return publish, end


def wait_until_answers(store: Any) -> None:
    from redis.exceptions import ConnectionError as Away

    def answers() -> bool:
        try:
            return bool(store.ping())
        except Away:
            return False

    if not wait_until(answers, timeout_s=READY_TIMEOUT_S, interval_s=0.05):
        raise TimeoutError(f"redis-server must answer within {READY_TIMEOUT_S:g} s")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
