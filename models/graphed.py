"""A network on a GPU whose launches are recorded once and replayed as one (a CUDA graph).

A batch of one crystal keeps the GPU waiting for the processor, which launches a thousand kernels one by one. What they
compute is the same; the first answer for a size takes several times as long as an answer without a graph.
"""

from collections import OrderedDict
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from models.network import DefectNet, NetworkOutput, Sight
from models.pattern_set import PatternSet
from models.windings import NyeMap

MOST_EXPOSURES = 16
"""In a batch that is recorded: of more, the arithmetic takes longer than the launches."""
MOST_SIZES = 8
"""That are kept, each with memory of its own; the one that was unused for longest goes."""
WARM_UP = 3
"""Answers before one is recorded: kernels are chosen and plans of transforms made."""


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    patterns: PatternSet
    sight: Sight
    output: NetworkOutput


class GraphedNetwork:
    """Stands for ``network``, in evaluation mode on a GPU, where patterns are answered without derivatives.

    ``reduced``: convolutions and products of matrices in bf16. An answer's tensors are the caller's until the next.
    """

    def __init__(self, network: DefectNet, *, reduced: bool = False) -> None:
        self.network, self.reduced = network, reduced
        self._recorded: OrderedDict[tuple[int, ...], _Recorded] = OrderedDict()

    @torch.inference_mode()
    def __call__(self, patterns: PatternSet) -> NetworkOutput:
        """Outputs for a batch of sets on the network's device."""
        sight = Sight.of(patterns)
        if patterns.present.numel() > MOST_EXPOSURES:
            return self._answer(patterns, sight)
        size = tuple(patterns.counts.shape)
        if size not in self._recorded:
            self._recorded[size] = self._record(patterns, sight)
            if len(self._recorded) > MOST_SIZES:
                self._recorded.popitem(last=False)
        self._recorded.move_to_end(size)
        kept = self._recorded[size]
        for held, given in zip(_tensors(kept.patterns, kept.sight), _tensors(patterns, sight), strict=True):
            held.copy_(given)
        kept.graph.replay()
        return kept.output

    def _answer(self, patterns: PatternSet, sight: Sight) -> NetworkOutput:
        # Weights that a cast leaves behind would be freed while the recorded kernels still read them.
        with torch.autocast("cuda", torch.bfloat16, enabled=self.reduced, cache_enabled=False):
            output: NetworkOutput = self.network(patterns, sight=sight)
        return output

    def _record(self, patterns: PatternSet, sight: Sight) -> _Recorded:
        patterns = PatternSet(*(getattr(patterns, f.name).clone() for f in fields(patterns)))
        nye = NyeMap(*(getattr(sight.nye, f.name).clone() for f in fields(sight.nye)))
        sight = Sight(sight.where.clone(), nye)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._answer(patterns, sight)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self._answer(patterns, sight)
        return _Recorded(graph, patterns, sight, output)


def _tensors(patterns: PatternSet, sight: Sight) -> list[Tensor]:
    """Everything that an answer depends on."""
    return [
        *(getattr(patterns, f.name) for f in fields(patterns)), sight.where,
        *(getattr(sight.nye, f.name) for f in fields(sight.nye)),
    ]  # fmt: skip
