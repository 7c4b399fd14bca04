"""A network as a worker runs it: batches of the sizes it is warmed up for, and the same answers whichever way."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from inference_insitu.inference.batching import BatchConfig
from inference_insitu.inference.defects import Defects, example
from inference_insitu.inference.frame import Frame, Variable
from inference_insitu.inference.served_network import ServedNetwork, served
from inference_insitu.inference.serving import ServingConfig, batch_sizes
from models.checkpoint import Checkpoint, save
from models.config import NetworkConfig
from models.network import DefectNet
from models.predictor import Predictor

SHAPE = (16, 16, 16)
SMALL = NetworkConfig(
    design="tokens", shape=SHAPE, width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=1, passes=1
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor.of(Checkpoint("untrained", SMALL, DefectNet(SMALL).state_dict()), "0" * 64, "cpu")


@pytest.fixture(scope="module")
def model(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save(Checkpoint("untrained", SMALL, predictor.network.state_dict()), path)
    return str(path)


def exposures(number: int) -> list[Any]:
    chance, whole = np.random.default_rng(0), example(SHAPE)
    return [replace(whole, counts=chance.poisson(whole.counts).astype(np.float32)) for _ in range(number)]


def probabilities(predictor: Predictor, number: int) -> np.ndarray:
    return np.array([one.class_probabilities for one in predictor.predict(exposures(number))])


class Recorder:
    """A network of which the batches are remembered."""

    def __init__(self, network: DefectNet) -> None:
        self.network, self.config, self.novelty = network, network.config, network.novelty
        self.sizes: list[int] = []

    def __call__(self, patterns: Any) -> Any:
        self.sizes.append(len(patterns.counts))
        return self.network(patterns)


def test_on_a_cpu_nothing_changes_unless_asked_for(predictor: Predictor) -> None:
    assert served(predictor, ServingConfig(), BatchConfig()) is predictor


@pytest.mark.parametrize(
    ("serving", "buckets", "sizes"),
    [
        (ServingConfig(), (), ()),
        (ServingConfig(), (1, 8), (1, 8)),
        (ServingConfig(compiled=True), (2, 8), (2, 8)),
        (ServingConfig(compiled=True), (), (8,)),
    ],
)
def test_the_sizes_that_batches_have(serving: ServingConfig, buckets: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    assert batch_sizes(BatchConfig(size=8, buckets=buckets), serving) == sizes


def test_more_sizes_than_a_compiled_network_keeps_are_refused() -> None:
    batching = BatchConfig(size=9, buckets=tuple(range(1, 10)))
    with pytest.raises(ValueError, match=r"batch\.buckets must be at most 8 for a compiled network, got 9"):
        batch_sizes(batching, ServingConfig(compiled=True))
    assert len(batch_sizes(batching, ServingConfig())) == 9


def test_an_unknown_precision_is_refused_before_torch_is_loaded() -> None:
    with pytest.raises(ValueError, match="precision must be one of float32, bf16, got 'fp8'"):
        Defects(precision="fp8")  # type: ignore[arg-type]


@pytest.mark.parametrize(("number", "padded"), [(1, 2), (2, 2), (3, 5), (5, 5)])
def test_a_padded_batch_says_the_same_of_every_pattern(predictor: Predictor, number: int, padded: int) -> None:
    expected = probabilities(predictor, number)
    recorder = Recorder(predictor.network)
    network = ServedNetwork(recorder, CPU, ServingConfig(), BatchConfig(size=5, buckets=(2, 5)).padded)  # type: ignore[arg-type]
    found = probabilities(replace(predictor, network=network), number)  # type: ignore[arg-type]
    assert recorder.sizes == [padded]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_size_is_warmed_up_and_no_other_is_met(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorders: list[Recorder] = []
    compiled: list[bool] = []

    def compiling(network: DefectNet, *, dynamic: bool) -> Recorder:
        compiled.append(dynamic)
        recorders.append(Recorder(network))
        return recorders[-1]

    monkeypatch.setattr(torch, "compile", compiling)
    monkeypatch.setattr(torch.backends.mha, "set_fastpath_enabled", lambda value: compiled.append(value))
    subject = Defects(model=model, compile=True)
    subject.batching = BatchConfig(size=3, buckets=(1, 4))
    subject.warm_up(Variable("float32", SHAPE))
    assert compiled == [False, False], "of fixed shapes, and without the fused layer"
    assert recorders[0].sizes == [1, 4]
    for number in (1, 2, 3):
        frames = [Frame("pattern", 0, step, one.counts) for step, one in enumerate(exposures(number))]
        assert len(subject.answer(frames)) == number
    assert recorders[0].sizes == [1, 4, 1, 4, 4]


@pytest.mark.parametrize("serving", [ServingConfig(channels_last=True), ServingConfig(precision="bf16")])
def test_layout_and_precision_change_little(predictor: Predictor, serving: ServingConfig) -> None:
    torch.manual_seed(0)
    other = Predictor.of(Checkpoint("untrained", SMALL, predictor.network.state_dict()), "0" * 64, "cpu")
    prepared = served(other, serving, BatchConfig())
    found = prepared.predict(exposures(2))
    expected = predictor.predict(exposures(2))
    for one, same in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.class_probabilities, same.class_probabilities, atol=0.02)
        np.testing.assert_allclose(one.line_density, same.line_density, atol=0.02)
        assert sum(one.class_probabilities) == pytest.approx(1, abs=1e-6), "probabilities are of single precision"
    if serving.precision == "bf16":
        assert found[0].class_probabilities != expected[0].class_probabilities


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_compiled_network_says_the_same(predictor: Predictor, model: str) -> None:
    expected = probabilities(predictor, 3)
    subject = Defects(model=model, compile=True)
    subject.batching = BatchConfig(size=4, buckets=(2, 4))
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        subject.warm_up(Variable("float32", SHAPE))
        met = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert met
        found = probabilities(subject._predictor, 3)
        one = probabilities(subject._predictor, 1)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == met, "a batch was compiled for"
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(one, expected[:1], atol=1e-3)


def test_the_worker_tells_an_analysis_how_its_frames_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    from inference_insitu.coupling_config import AnalysisConfig, CouplingConfig, StreamConfig
    from inference_insitu.inference import worker
    from inference_insitu.inference.analysis import Analysis

    told: list[tuple[str, Any]] = []

    class Remembers(Analysis):
        def open(self, output: Path, worker: int, incarnation: int) -> None:
            told.append(("open", self.batching))

        def warm_up(self, variable: Variable) -> None:
            told.append(("warm up", variable))

    monkeypatch.setattr(worker, "build_analysis", lambda plugin, options: Remembers())
    batch = BatchConfig(size=4, buckets=(2, 4))
    config = CouplingConfig({"a": StreamConfig("network")}, {"network": AnalysisConfig("x:y", batch=batch)})
    layout = SimpleNamespace(variables={"a": ("float32", SHAPE)}, variable=lambda name: ("float32", SHAPE))
    worker._analyses(config, [SimpleNamespace(layout=layout)], SimpleNamespace(output="", worker=0), 0)  # type: ignore
    assert told == [("open", batch), ("warm up", Variable("float32", SHAPE))]


def test_a_model_that_searches_is_served_as_it_is_or_not_at_all() -> None:
    """Whatever the sizes of batches: its patterns are searched one by one. Another precision is refused."""
    config = replace(SMALL, design="unrolled", first_stage="search")
    searching = Predictor.of(Checkpoint("searching", config, DefectNet(config).state_dict()), "0" * 64, "cpu")
    assert served(searching, ServingConfig(), BatchConfig(size=4, buckets=(2, 4))) is searching
    with pytest.raises(ValueError, match="serving must be left out for model 'searching', which searches"):
        served(searching, ServingConfig(precision="bf16"), BatchConfig())
