"""The network's configuration: what a checkpoint carries besides its weights. Free of torch."""

from dataclasses import dataclass, field

from cdi.retrieval.config import SearchConfig

FIRST_STAGES = ("network", "search")
DESIGNS = ("tokens", "unet", "fourier", "unrolled")
"""Names of ``models.network.DESIGNS``, which this module cannot import: it is free of torch."""


@dataclass(frozen=True)
class NetworkConfig:
    """Design and sizes of ``DefectNet``.

    Parameters
    ----------
    design : how a pattern becomes real-space features: an entry of ``models.network.DESIGNS``.
    shape : voxels of the pattern; real-space outputs have half of them along each axis.
    width : channels of the convolutions at the outputs' resolution.
    token_dim : features of a token in the transformer (``tokens``, and the proposal of ``unrolled``).
    layers : of the transformer, or spectral layers (``fourier``).
    heads : of the transformer.
    dropout : in the transformer.
    iterations : of data consistency before each pass of the reader (``unrolled``).
    passes : of the reader, each starting from the answer of the one before (``unrolled``).
    reader_width : channels of the reader at the outputs' resolution.
    reader_depth : residual blocks of the reader at each of its levels.
    overview : whether class and count are told from the reader's coarsest features too (``unrolled``).
    modes : Fourier modes kept along each axis by a spectral layer.
    first_stage : what the reader starts from (``unrolled``): the ``network``'s own proposal, or the object that a phase
        retrieval finds (``search``), which takes seconds a pattern where the network takes a fraction of one.
    search : that retrieval.

    Raises
    ------
    ValueError
        For an unknown design, if a side, a width or ``token_dim`` is not a multiple of 8, or the heads do not divide
        ``token_dim``.
    """

    design: str = "unrolled"
    shape: tuple[int, int, int] = (32, 32, 32)
    width: int = 24
    token_dim: int = 96
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0
    iterations: int = 15
    passes: int = 2
    reader_width: int = 24
    reader_depth: int = 1
    overview: bool = False
    modes: int = 8
    first_stage: str = "network"
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        if self.design not in DESIGNS:
            raise ValueError(f"design must be one of {', '.join(DESIGNS)}, got {self.design!r}")
        if any(n < 16 or n > 256 or n % 8 for n in self.shape):
            raise ValueError(f"shape must be multiples of 8 from 16 to 256, got {self.shape}")
        sizes = (self.width, self.token_dim, self.reader_width)
        if min(sizes) < 8 or any(n % 8 for n in sizes):
            raise ValueError(
                f"width, token_dim and reader_width must be multiples of 8 from 8 up, got {', '.join(map(str, sizes))}"
            )
        if min(self.layers, self.heads) < 1 or self.token_dim % self.heads:
            raise ValueError(
                f"layers and heads must be at least 1 and heads divide token_dim, "
                f"got {self.layers}, {self.heads} and {self.token_dim}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        if not 1 <= self.iterations <= 1000:
            raise ValueError(f"iterations must lie in [1, 1000], got {self.iterations}")
        if not 1 <= self.reader_depth <= 20:
            raise ValueError(f"reader_depth must lie in [1, 20], got {self.reader_depth}")
        if not 1 <= self.passes <= 20:
            raise ValueError(f"passes must lie in [1, 20], got {self.passes}")
        if self.modes < 2:
            raise ValueError(f"modes must be at least 2, got {self.modes}")
        if self.first_stage not in FIRST_STAGES:
            raise ValueError(f"first_stage must be one of {', '.join(FIRST_STAGES)}, got {self.first_stage!r}")
        if self.overview and self.design != "unrolled":
            raise ValueError(f"design must be unrolled for an overview, got {self.design!r}")
        if self.first_stage == "search" and self.design != "unrolled":
            raise ValueError(f"design must be unrolled for first_stage search, got {self.design!r}")

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Voxels of the real-space outputs: the central half, all that oversampling ≥ 2 leaves."""
        return (self.shape[0] // 2, self.shape[1] // 2, self.shape[2] // 2)
