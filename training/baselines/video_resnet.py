"""A classifier of the whole pattern: torchvision's 3D residual network for videos, narrowed.

3D convolutions on the logarithm of the pattern, as Lim et al. (npj Comput. Mater. 7, 115, 2021) classify perfect, edge
and screw, with the residual blocks of r3d_18 (Tran et al., CVPR 2018). So that a processor core trains it in minutes it
has an eighth of r3d_18's channels (8, 16, 32, 64), a stem of 3 × 3 × 3, and halves all three axes alike, since no axis
of a pattern is time.
"""

import torch
from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple  # type: ignore[import-untyped]

from training.baselines.classifier import OUTPUTS, Classifier, logarithm

KIND = "video-resnet"
WIDTHS = (8, 16, 32, 64)
BLOCKS = 2
"""Residual blocks of each width, as in r3d_18."""


class VideoNet(nn.Module):
    """Photons ``(n, x, y, z)`` → logits."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        first = widths[0]
        self.stem = nn.Sequential(
            nn.Conv3d(1, first, 3, 2, 1, bias=False), nn.BatchNorm3d(first), nn.ReLU(inplace=True)
        )
        inputs = (first, *widths)
        stages = [
            _stage(before, width, 1 if number == 0 else 2)
            for number, (before, width) in enumerate(zip(inputs, widths, strict=False))
        ]
        self.stages = nn.Sequential(*stages, nn.AdaptiveAvgPool3d(1), nn.Flatten(1))
        self.head = nn.Linear(widths[-1], OUTPUTS)
        # On a CPU 3D convolutions run faster with the channels last; the result is the same.
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, counts: Tensor) -> Tensor:
        """Logits ``(n, OUTPUTS)``."""
        logits: Tensor = self.head(self.stages(self.stem(logarithm(counts)[:, None])))
        return logits


def _stage(inputs: int, width: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != width:
        shortcut = nn.Sequential(nn.Conv3d(inputs, width, 1, stride, bias=False), nn.BatchNorm3d(width))
    blocks = [BasicBlock(inputs, width, Conv3DSimple, stride, shortcut)]
    blocks += [BasicBlock(width, width, Conv3DSimple) for _ in range(BLOCKS - 1)]
    return nn.Sequential(*blocks)


def video_classifier(seed: int = 0) -> Classifier:
    """As it is before it learns."""
    torch.manual_seed(seed)
    return Classifier(VideoNet(), KIND, "3D video ResNet", {})
