"""The network's configuration: what a checkpoint carries besides its weights. Free of torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of ``DefectNet``.

    Parameters
    ----------
    shape : voxels of the pattern; real-space outputs have half of them along each axis.
    width : channels of the convolutions at the outputs' resolution.
    token_dim : features of a token in the transformer.
    layers, heads : of the transformer.
    dropout : in the transformer.

    Raises
    ------
    ValueError
        If a side, ``width`` or ``token_dim`` is not a multiple of 8, or the heads do not divide ``token_dim``.
    """

    shape: tuple[int, int, int] = (32, 32, 32)
    width: int = 32
    token_dim: int = 128
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if any(n < 16 or n > 256 or n % 8 for n in self.shape):
            raise ValueError(f"shape must be multiples of 8 from 16 to 256, got {self.shape}")
        if min(self.width, self.token_dim) < 8 or self.width % 8 or self.token_dim % 8:
            raise ValueError(
                f"width and token_dim must be multiples of 8 from 8 up, got {self.width} and {self.token_dim}"
            )
        if min(self.layers, self.heads) < 1 or self.token_dim % self.heads:
            raise ValueError(
                f"layers and heads must be at least 1 and heads divide token_dim, "
                f"got {self.layers}, {self.heads} and {self.token_dim}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Voxels of the real-space outputs: the central half, all that oversampling ≥ 2 leaves."""
        return (self.shape[0] // 2, self.shape[1] // 2, self.shape[2] // 2)
