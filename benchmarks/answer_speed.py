"""How long an answer takes, and phase retrieval of the same patterns on the same machine. JSON lines.

    python benchmarks/answer_speed.py [--sizes '[32,64]'] [--reflections '[1,3]'] [--repeats 20] [--device cpu]
                                      [--threads 1] [--starts '[1,60]'] [--iterations 60] [--model FILE]
                                      [--arms '[eager,bf16,compiled]']

network    latency of one crystal (median and 95th percentile) and crystals a second in batches of 16, of the network
           itself: eager, channels last, compiled, exported, and by OpenVINO where it is installed; ``bf16``,
           ``compiled bf16`` and, on a GPU, ``graph`` and ``graph bf16`` where they are asked for. An arm that does not
           run on this machine says why; one that is compiled says how long its first answer took. Repeats are
           interleaved. The 64³ size is that of examples/train-64.yaml.
answer     the same for ``Predictor``, from exposures to lines. Without --model the weights are untrained and no line is
           traced, but for what they see by chance.
retrieval  seconds of 1 and of 60 starts, and how many times the median answer and network that is. Of the 600
           iterations of ``RetrievalConfig`` --iterations are run, and one alone: from both the whole is reckoned.
           ``whole`` is one start really run to its end, over what is reckoned for it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from machine import emit, machine
from torch import Tensor, nn

from cdi.config import read_config
from cdi.pattern import Exposure
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.phase_retrieval import retrieve
from data.recipe import Recipe
from data.sampling import draw_samples
from models.checkpoint import Checkpoint, load
from models.config import NetworkConfig
from models.graphed import GraphedNetwork
from models.network import DefectNet
from models.pattern_set import PatternSet
from models.predictor import Predictor
from models.preprocess import fit_set, pattern_set
from training.config import TrainConfig

SECTIONS = ("network", "answer", "retrieval")
ARMS = ("eager", "channels last", "compiled", "exported", "openvino")
"""Those of ``bf16``, where a CPU takes many times as long, are for the asking."""
BATCH = 16
DRAWN = 4
"""Crystals that are drawn; a batch repeats them."""
GENERIC = "examples/train-64.yaml"
RECIPE = "examples/recipes/crystals.yaml"

Set = tuple[Exposure, ...]
Timed = Callable[[], object]


def main(
    sections: tuple[str, ...] = SECTIONS,
    arms: tuple[str, ...] = ARMS,
    sizes: tuple[int, ...] = (32, 64),
    reflections: tuple[int, ...] = (1, 3),
    repeats: int = 20,
    device: str = "cpu",
    threads: int = 1,
    starts: tuple[int, ...] = (1, 60),
    iterations: int = 60,
    model: str | None = None,
    seed: int = 0,
) -> None:
    torch.set_num_threads(threads)
    emit(benchmark="answer_speed", machine=machine(), device=device, threads=threads, repeats=repeats, seed=seed)
    for size in sizes:
        predictor, weights = predictor_of(size, model, device)
        for number in reflections:
            facts = {"size": size, "reflections": number, "weights": weights}
            crystals = drawn(size, number, seed)
            medians = {}
            if "network" in sections:
                medians |= network_speed(predictor.network, crystals, arms, device, repeats, facts)
            if "answer" in sections:
                medians["answer"] = answer_speed(predictor, crystals, repeats, facts)
            if "retrieval" in sections:
                retrieval_speed(crystals[0], starts, iterations, device, medians, facts)


def predictor_of(size: int, model: str | None, device: str) -> tuple[Predictor, str]:
    """The network of that size, and whose weights it has."""
    if model is not None and load(model).network.shape == (size,) * 3:
        return Predictor.load(model, device), model
    config = NetworkConfig() if size == 32 else replace(read_config(TrainConfig, GENERIC).network, shape=(size,) * 3)
    torch.manual_seed(0)
    return Predictor.of(Checkpoint("untrained", config, DefectNet(config).state_dict()), "", device), "untrained"


def drawn(size: int, reflections: int, seed: int) -> list[Set]:
    recipe = replace(
        read_config(Recipe, RECIPE), shape=(size,) * 3, reflection_count=reflections, seed=seed, first_index=0
    )
    return [tuple(sample.exposure for sample in draw_samples(recipe, index)) for index in range(DRAWN)]


class Flat(nn.Module):
    """The network on plain tensors, as exporters want it; complex volumes leave as real ones."""

    def __init__(self, network: DefectNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, counts: Tensor, measured: Tensor, present: Tensor, G: Tensor, voxel: Tensor
    ) -> tuple[Tensor, ...]:
        out = self.network(PatternSet(counts, measured, present, G, voxel))
        return (
            out.class_logits, out.count_logits, out.line_logits, out.support_logits,
            torch.view_as_real(out.phasor), out.winding,
        )  # fmt: skip


def tensors(crystals: Sequence[Set], number: int, device: str) -> tuple[Tensor, ...]:
    chosen = [crystals[n % len(crystals)] for n in range(number)]
    fitted = [fit_set(exposures, exposures[0].counts.shape) for exposures in chosen]  # type: ignore[arg-type]
    patterns = pattern_set(fitted).to(device)
    return patterns.counts, patterns.measured, patterns.present, patterns.G, patterns.voxel


def running(names: Sequence[str], network: DefectNet, inputs: tuple[Tensor, ...]) -> dict[str, Callable[..., object]]:
    """Those of ``names`` that run here, each tried once; what does not is told."""
    flat = Flat(network)
    makers: dict[str, Callable[[], Callable[..., object]]] = {
        "eager": lambda: flat,
        "channels last": lambda: Flat(_copy(network).to(memory_format=torch.channels_last_3d)),
        "bf16": lambda: reduced(flat),
        "compiled": lambda: compiled(Flat(_copy(network))),
        "compiled bf16": lambda: reduced(compiled(Flat(_copy(network).to(memory_format=torch.channels_last_3d)))),
        "graph": lambda: recorded(GraphedNetwork(network)),
        "graph bf16": lambda: recorded(GraphedNetwork(network, reduced=True)),
        "exported": lambda: torch.export.export(flat, inputs).module(),
        "openvino": lambda: _openvino(flat, inputs),
    }
    ready: dict[str, Callable[..., object]] = {}
    for name in names:
        try:
            began = time.perf_counter()
            arm = makers[name]()
            arm(*inputs)
            if name.startswith("compiled"):
                emit(section="network", arm=name, batch=len(inputs[0]), first_s=round(time.perf_counter() - began, 1))
        except Exception as error:
            emit(
                section="network", arm=name, does_not_run=f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
            )
        else:
            ready[name] = arm
    return ready


def compiled(flat: Flat) -> Callable[..., object]:
    """As ``Defects`` serves it: the compiler takes torch's fused layer for one that keeps its input's strides."""
    answer = torch.compile(flat, dynamic=False)

    def run(*inputs: Tensor) -> object:
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            return answer(*inputs)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)

    return run


def recorded(network: GraphedNetwork) -> Callable[..., object]:
    return lambda *inputs: network(PatternSet(*inputs))


def reduced(answer: Callable[..., object]) -> Callable[..., object]:
    def run(*inputs: Tensor) -> object:
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            return answer(*inputs)

    return run


def _copy(network: DefectNet) -> DefectNet:
    other = DefectNet(network.config).eval().to(next(network.parameters()).device)
    other.load_state_dict(network.state_dict())
    return other


def _openvino(flat: Flat, inputs: tuple[Tensor, ...]) -> Callable[..., object]:
    if find_spec("openvino") is None:
        raise ModuleNotFoundError("openvino is not installed")
    import openvino

    compiled = openvino.compile_model(openvino.convert_model(flat, example_input=inputs), "CPU")
    return lambda *given: compiled([tensor.numpy() for tensor in given])


def network_speed(
    network: DefectNet, crystals: Sequence[Set], names: Sequence[str], device: str, repeats: int, facts: dict[str, Any]
) -> dict[str, float]:
    """Median latency of every arm in seconds."""
    medians = {}
    with torch.inference_mode(False), torch.no_grad():
        for batch in (1, BATCH):
            inputs = tensors(crystals, batch, device)
            ready = running(names, network, inputs)
            timed: dict[str, Timed] = {name: partial(arm, *inputs) for name, arm in ready.items()}
            number = repeats if batch == 1 else max(3, repeats // 5)
            for name, seconds in interleaved(timed, number, device).items():
                emit(section="network", arm=name, batch=batch, **facts, **spread(seconds, batch))
                if batch == 1:
                    medians[name] = float(np.median(seconds))
    return medians


def answer_speed(predictor: Predictor, crystals: Sequence[Set], repeats: int, facts: dict[str, Any]) -> float:
    """Median latency in seconds; every repeat takes another crystal."""
    seconds = []
    predictor.predict_crystals([crystals[0]])
    for repeat in range(repeats):
        begin = time.perf_counter()
        predictor.predict_crystals([crystals[repeat % len(crystals)]])
        seconds.append(time.perf_counter() - begin)
    emit(section="answer", batch=1, **facts, **spread(seconds, 1))
    return float(np.median(seconds))


def retrieval_speed(
    exposures: Set,
    starts: Sequence[int],
    iterations: int,
    device: str,
    medians: dict[str, float],
    facts: dict[str, Any],
) -> None:
    shape = exposures[0].counts.shape
    fitted = fit_set(exposures, (shape[0], shape[1], shape[2]))
    full = RetrievalConfig(starts=1, best=1, shared_support=len(fitted) > 1)
    part = f"HIO {iterations - iterations // 5}, ER {iterations // 5}"

    def run(config: RetrievalConfig) -> Timed:
        return lambda: retrieve(fitted, config, generator=torch.Generator().manual_seed(0), device=device)

    run(replace(full, schedule="ER 5"))()
    timed = {f"{n} short": run(replace(full, schedule="ER 1", starts=n)) for n in starts}
    timed |= {f"{n} long": run(replace(full, schedule=part, starts=n)) for n in starts}
    timed["whole"] = run(full)
    found = {name: float(np.median(seconds)) for name, seconds in interleaved(timed, 1, device).items()}
    for number in starts:
        short, long = found[f"{number} short"], found[f"{number} long"]
        seconds = short + (long - short) / (iterations - 1) * (full.iterations - 1)
        ratios = {f"over_{name.replace(' ', '_')}": round(seconds / median) for name, median in medians.items()}
        emit(section="retrieval", starts=number, iterations=full.iterations, iterations_run=iterations,
             seconds=round(seconds, 2), whole=round(found["whole"] / seconds, 2) if number == 1 else None,
             **facts, **ratios)  # fmt: skip


def interleaved(timed: dict[str, Timed], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of each, one after the other in every round: a busy machine is busy for all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats):
        for name, run in timed.items():
            begin = time.perf_counter()
            run()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def spread(seconds: Sequence[float], batch: int) -> dict[str, float]:
    median, late = np.quantile(seconds, [0.5, 0.95])
    return {"median_ms": round(1e3 * median, 2), "p95_ms": round(1e3 * late, 2),
            "crystals_per_s": round(batch / median, 2)}  # fmt: skip


if __name__ == "__main__":
    auto_cli(main)
