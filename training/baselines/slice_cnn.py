"""A classifier of slices: the three central planes of a pattern as the channels of one image, read by a 2D ResNet.

What published classifiers of two-dimensional Bragg patterns do (Judge et al., MRS Bull. 2022,
doi 10.1557/s43577-022-00342-1: edge and screw dislocations from raw 2D patterns), with a residual network (He et al.,
CVPR 2016) in place of a searched one.
"""

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet  # type: ignore[import-untyped]

from training.baselines.classifier import OUTPUTS, Classifier, logarithm

KIND = "slice-cnn"


class SliceNet(nn.Module):
    """Photons ``(n, x, y, z)`` → logits; torchvision's ResNet with one block a stage and a 3 × 3 stem.

    Images of 32 pixels leave no room for the stem of 7 × 7 at stride 2 that photographs have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=OUTPUTS)
        self.resnet.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)

    def forward(self, counts: Tensor) -> Tensor:
        """Logits ``(n, OUTPUTS)``."""
        logits: Tensor = self.resnet(central_slices(counts))
        return logits


def central_slices(counts: Tensor) -> Tensor:
    """The planes across x, y and z through voxel ``N // 2`` of ``logarithm(counts)``, ``(n, 3, side, side)``.

    On a grid of uneven sides they are padded to the longest, origin at its middle.
    """
    volume = logarithm(counts)
    side = max(volume.shape[1:])
    image = volume.new_zeros(len(volume), 3, side, side)
    for channel, axis in enumerate((1, 2, 3)):
        plane = volume.select(axis, volume.shape[axis] // 2)
        row, column = (side // 2 - n // 2 for n in plane.shape[1:])
        image[:, channel, row : row + plane.shape[1], column : column + plane.shape[2]] = plane
    return image


def slice_classifier(seed: int = 0) -> Classifier:
    """As it is before it learns."""
    torch.manual_seed(seed)
    return Classifier(SliceNet(), KIND, "2D slices, ResNet", {})
