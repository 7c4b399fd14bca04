"""A network as a worker runs it: batches of few sizes, staged for its device, in the precision that was asked for."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import cast

import torch
from torch import Tensor

from inference_insitu.device.to_device import to_device
from inference_insitu.inference.batching import BatchConfig
from inference_insitu.inference.serving import ServingConfig, batch_sizes
from models.graphed import GraphedNetwork
from models.network import DefectNet, NetworkOutput
from models.pattern_set import PatternSet
from models.predictor import Predictor


def served(predictor: Predictor, serving: ServingConfig, batching: BatchConfig) -> Predictor:
    """``predictor`` as it is to compute here.

    Raises
    ------
    ValueError
        If its model searches, which takes patterns one by one, and the network is to be served in another way.
    """
    sizes = batch_sizes(batching, serving)
    if predictor.device.type == "cpu" and serving == ServingConfig() and not sizes:
        return predictor
    if predictor.network.config.first_stage == "search":
        if serving != ServingConfig():
            raise ValueError(
                f"serving must be left out for model {predictor.model['name']!r}, which searches, got {serving}"
            )
        return predictor
    padded = replace(batching, buckets=sizes).padded
    network = ServedNetwork(predictor.network, predictor.device, serving, padded)
    # What comes to the network lies in the host's memory: it goes to the device from there, its own way.
    return replace(predictor, network=cast(DefectNet, network), device=torch.device("cpu"), graphed=None)


class ServedNetwork:
    """Stands for ``network``, which is in evaluation mode on ``device``, before a predictor."""

    def __init__(
        self, network: DefectNet, device: torch.device, serving: ServingConfig, padded: Callable[[int], int]
    ) -> None:
        if serving.channels_last:
            network = network.to(memory_format=torch.channels_last_3d)
        self.config, self.novelty = network.config, network.novelty
        self._device, self._padded = device, padded
        self._reduced = serving.precision == "bf16"
        self._answer: Callable[[PatternSet], NetworkOutput] = network
        if serving.compiled:
            # The compiler takes torch's fused layer of a transformer for one that keeps its input's strides.
            torch.backends.mha.set_fastpath_enabled(False)
            self._answer = torch.compile(network, dynamic=False)
        elif device.type == "cuda":
            self._answer = GraphedNetwork(network, reduced=self._reduced)

    def __call__(self, patterns: PatternSet) -> NetworkOutput:
        """Outputs for a batch in the host's memory."""
        number = len(patterns.counts)
        staged = self._staged(patterns, self._padded(number) - number)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._reduced):
            output = self._answer(staged)
        unasked = ("proposal", "objects")
        kept = {f.name: _plain(getattr(output, f.name)[:number]) for f in fields(output) if f.name not in unasked}
        return replace(output, **kept, proposal=None)

    def _staged(self, patterns: PatternSet, more: int) -> PatternSet:
        """On the device, the last crystal ``more`` times more."""
        rows = {f.name: list(getattr(patterns, f.name).numpy()) for f in fields(patterns)}
        return PatternSet(**{name: to_device(row + row[-1:] * more, self._device) for name, row in rows.items()})


def _plain(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
