"""How a network is to compute in a worker, and which sizes its batches have. Free of torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from inference_insitu.inference.batching import BatchConfig

Precision = Literal["float32", "bf16"]

MOST_SIZES = 8
"""A compiled network that has met more sizes than these goes on uncompiled (torch's ``recompile_limit``)."""


@dataclass(frozen=True)
class ServingConfig:
    """How a network computes.

    Parameters
    ----------
    precision : of convolutions and products of matrices; the rest stays in float32.
    channels_last : whether the weights of convolutions are laid out for channels that lie together.
    compiled : whether torch compiles the network, which takes minutes at the start.
    """

    precision: Precision = "float32"
    channels_last: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {self.precision!r}")


def batch_sizes(batching: BatchConfig, serving: ServingConfig) -> tuple[int, ...]:
    """The sizes that batches are padded to: the configured ones, or the largest for a compiled network; () for any.

    Raises
    ------
    ValueError
        If they are too many to be compiled for.
    """
    sizes = batching.buckets or ((batching.size,) if serving.compiled else ())
    if serving.compiled and len(sizes) > MOST_SIZES:
        raise ValueError(f"batch.buckets must be at most {MOST_SIZES} for a compiled network, got {len(sizes)}")
    return sizes
