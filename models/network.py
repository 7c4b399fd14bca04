"""``DefectNet``: exposures of one crystal → class, count, lines, windings, support and displacement phase.

A design (``models.designs``) brings each pattern to real space. ``unrolled`` goes on: from its proposal a few
iterations make each object consistent with the measured moduli, a reader answers from these, all reflections
together, and its answer is the next proposal, ``passes`` times in all (cf. plug-and-play priors: Venkatakrishnan et
al., GlobalSIP 2013).
The other designs answer from the design's features, their reflections exchanging what they see. The heads are the
same for all. The class reads, besides features, the dislocation density tensor that the windings give, which tells a
screw from an edge, and the angular average of the patterns.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from models.config import NetworkConfig
from models.data_consistency import SUPPORT_LEVEL, data_consistent, twin_where, twins_to_align
from models.designs.fourier import Fourier
from models.designs.tokens import Tokens
from models.designs.unet import UNet
from models.layers import Exchange, Hidden, ResidualBlock, mean_and_maximum, over_set
from models.pattern_set import PatternSet, geometry
from models.prediction import CLASSES, MOST_LINES
from models.preprocess import GEOMETRY_FEATURES, features
from models.radial import RADIAL_FEATURES, radial_profile
from models.reader import RESIDUES, Reader, reader_input
from models.windings import NYE_FEATURES, NyeMap, WindingHead, nye_features, nye_map, residue_field

DESIGNS: dict[str, Callable[[NetworkConfig], nn.Module]] = {
    "tokens": Tokens,
    "unet": UNet,
    "fourier": Fourier,
    "unrolled": Tokens,
}
"""What brings a pattern to real space, by the name of the design."""
HIDDEN = 128
"""Numbers that the class is decided from, and that novelty is measured in."""


@dataclass(frozen=True)
class Sight:
    """How the reflections of a batch of sets look at their crystals: ``geometry``, and ``NyeMap`` of their windings."""

    where: Tensor
    nye: NyeMap

    @classmethod
    def of(cls, patterns: PatternSet) -> "Sight":
        """That of ``patterns``, on their device; computed on the processor, small matrices not being a GPU's work."""
        device = patterns.counts.device
        small = replace(patterns, G=patterns.G.cpu(), voxel=patterns.voxel.cpu())
        nye = nye_map(small.G, small.voxel, small.known)
        return cls(geometry(small).to(device), NyeMap(*(getattr(nye, f.name).to(device) for f in fields(nye))))


@dataclass(frozen=True)
class Proposal:
    """What the first stage of ``unrolled`` says of each pattern by itself, ``(batch · reflections, x, y, z)``."""

    line_logits: Tensor
    support_logits: Tensor
    phasor: Tensor

    @property
    def objects(self) -> Tensor:
        """The phasor where the crystal is proposed to be, 0 elsewhere."""
        return self.phasor * (self.support_logits.sigmoid() > SUPPORT_LEVEL)

    def part(self, exposures: slice) -> "Proposal":
        """Of some of the exposures."""
        return Proposal(self.line_logits[exposures], self.support_logits[exposures], self.phasor[exposures])

    def to(self, device: torch.device | str) -> "Proposal":
        """The same on another device."""
        return Proposal(self.line_logits.to(device), self.support_logits.to(device), self.phasor.to(device))


@dataclass(frozen=True)
class NetworkOutput:
    """Raw outputs; volumes cover the central half of the grid.

    Parameters
    ----------
    class_logits : (batch, classes)
    count_logits : (batch, MOST_LINES + 1)
    line_logits : (batch, x, y, z)
    support_logits : (batch, reflections, x, y, z)
    phasor : (batch, reflections, x, y, z) complex
        Estimates of exp(iφ), φ = G·u, each up to a global phase; the modulus falls where unsure.
    winding : (batch, reflections, 3, x, y, z)
        (G·b/2π) ξ times the line density, ξ along the voxel axes.
    hidden : (batch, 128)
        What the class is decided from.
    proposal : of ``unrolled``; None for the other designs.
    objects : (batch, reflections, x, y, z) complex
        What a search found, all of one twin, 0 outside of the crystal; None but where a search was the start.
    """

    class_logits: Tensor
    count_logits: Tensor
    line_logits: Tensor
    support_logits: Tensor
    phasor: Tensor
    winding: Tensor
    hidden: Tensor
    proposal: Proposal | None
    objects: Tensor | None = None


class DefectNet(nn.Module):
    """See the module's docstring; ``forward`` takes a ``PatternSet``."""

    familiar_mean: Tensor
    familiar_precision: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.design = DESIGNS[config.design](config)
        self.unrolled = config.design == "unrolled"
        if self.unrolled:
            self.proposal_head = _volume_head(config.width, [-4.0, -2.0, 0.0, 0.0])
            self.reader = Reader(config.reader_width, config.reader_depth)
        else:
            self.share = Exchange(config.width)
            self.joint = nn.Sequential(ResidualBlock(config.width), nn.GroupNorm(8, config.width), nn.SiLU())
        width = config.reader_width if self.unrolled else config.width
        # "No line, little crystal" at first: both fill a small part of the volume.
        self.line_head = _volume_head(width, [-4.0])
        self.object_head = _volume_head(width, [-2.0, 0.0, 0.0])
        self.winding_head = WindingHead(2 if self.unrolled else 1)
        seen = 2 * width + GEOMETRY_FEATURES + NYE_FEATURES + RADIAL_FEATURES + 1
        # Mean and maximum of the reader's coarsest features.
        self.hidden = Hidden(seen, 2 * 3 * config.reader_width if config.overview else 0, HIDDEN)
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(HIDDEN, len(CLASSES)))
        self.counter = nn.Sequential(nn.Dropout(0.1), nn.Linear(HIDDEN, MOST_LINES + 1))
        # How ``hidden`` is spread over crystals of the training's kind; fitted with the calibration.
        self.register_buffer("familiar_mean", torch.zeros(HIDDEN))
        self.register_buffer("familiar_precision", torch.zeros(HIDDEN, HIDDEN))

    def forward(
        self,
        patterns: PatternSet,
        passes: int | None = None,
        proposal: Proposal | None = None,
        sight: Sight | None = None,
    ) -> NetworkOutput:
        """Outputs for a batch of sets.

        ``passes`` of an unrolled network (default: the configuration's); no derivative but of the last. A ``proposal``
        of ``propose`` or a ``sight`` of the patterns that was made before need not be made again.
        """
        sight = sight or Sight.of(patterns)
        x = features(patterns.counts.flatten(0, 1))
        flat = sight.where.flatten(0, 1)
        if not self.unrolled:
            volume = self.joint(self.share(self.design(x, flat), patterns.present))
            return self._answer(volume, None, None, x, patterns, sight, None)
        proposal = proposal or self.propose(x, flat)
        current = proposal
        number = passes or self.config.passes
        for done in range(1, number + 1):
            with torch.set_grad_enabled(torch.is_grad_enabled() and done == number):
                retrieved = self._retrieved(current, patterns)
                volume, coarse = self.reader(retrieved, flat, patterns.present)
                if done < number:
                    line, objects = self._line(volume, patterns), self.object_head(volume).float()
                    current = Proposal(
                        line.repeat_interleave(patterns.present.shape[1], 0), objects[:, 0],
                        torch.complex(objects[:, 1], objects[:, 2]),
                    )  # fmt: skip
        answer = self._answer(volume, coarse, retrieved[:, RESIDUES], x, patterns, sight, proposal)
        if self.config.first_stage == "network":
            return answer
        return replace(answer, objects=proposal.objects.reshape(*patterns.present.shape, *proposal.phasor.shape[1:]))

    def _line(self, volume: Tensor, patterns: PatternSet) -> Tensor:
        logits: Tensor = self.line_head(over_set(volume, patterns.present)).float()[:, 0]
        return logits

    def _answer(
        self, volume: Tensor, coarse: Tensor | None, residues: Tensor | None, x: Tensor, patterns: PatternSet,
        sight: Sight, proposal: Proposal | None,
    ) -> NetworkOutput:  # fmt: skip
        """The heads' outputs for features ``volume`` ``(batch · reflections, width, x, y, z)``.

        ``coarse`` are the reader's coarsest features and ``residues`` those of the retrieved objects, where there are
        any.
        """
        batch, reflections = patterns.present.shape
        objects = self.object_head(volume).float().unflatten(0, (batch, reflections))
        phasor = torch.complex(objects[:, :, 1], objects[:, :, 2])
        shared = over_set(volume, patterns.present)
        line = self._line(volume, patterns)
        winding = self._winding(phasor, residues, line, objects[:, :, 0])
        # The lines are found for their own sake: the class reads their windings and does not bend them.
        # Second moments and ratios of sums need all digits, whatever the convolutions make do with.
        with torch.autocast(x.device.type, enabled=False):
            nye = nye_features(winding.detach(), sight.nye)
            spectrum = over_set(radial_profile(x), patterns.present)
        amount = line.detach().sigmoid().sum((1, 2, 3))[:, None].add(1).log()
        seen = [
            mean_and_maximum(shared),
            over_set(sight.where.flatten(0, 1), patterns.present),
            nye,
            spectrum,
            amount,
        ]
        if coarse is not None and self.config.overview:
            seen.append(mean_and_maximum(over_set(coarse, patterns.present).float()))
        hidden = self.hidden(torch.cat(seen, -1).float())
        return NetworkOutput(
            self.classifier(hidden), self.counter(hidden), line, objects[:, :, 0], phasor, winding, hidden, proposal
        )

    def _winding(self, phasor: Tensor, residues: Tensor | None, line: Tensor, support: Tensor) -> Tensor:
        """``(batch, reflections, 3, x, y, z)``; where the crystal is not, phase winds about nothing."""
        told = residue_field(phasor.detach().flatten(0, 1))
        told = told if residues is None else torch.cat([told, residues], 1)
        inside = support.detach().sigmoid().flatten(0, 1)[:, None]
        density = line.detach().sigmoid().repeat_interleave(phasor.shape[1], 0)
        flux: Tensor = self.winding_head(told * inside, density)
        return flux.float().reshape(*phasor.shape[:2], *flux.shape[1:])

    def novelty(self, hidden: Tensor) -> Tensor:
        """Mahalanobis distance ``(batch,)`` of ``hidden`` from the familiar, over √128 (Lee et al., NeurIPS 2018)."""
        away = (hidden - self.familiar_mean).double()
        squared = torch.einsum("bi,ij,bj->b", away, self.familiar_precision.double(), away)
        return (squared.clamp_min(0) / HIDDEN).sqrt()

    def propose(self, x: Tensor, where: Tensor) -> Proposal:
        """The first stage of ``unrolled`` for features ``x`` (n, 4, x, y, z) and geometry ``where`` (n, 10)."""
        line, support, real, imaginary = self.proposal_head(self.design(x, where)).float().unbind(1)
        return Proposal(line, support, torch.complex(real, imaginary))

    @torch.no_grad()
    def _retrieved(self, proposal: Proposal, patterns: PatternSet) -> Tensor:
        """The reader's input: objects consistent with the data, all of one twin."""
        line, support, phasor = proposal.line_logits.sigmoid(), proposal.support_logits.sigmoid(), proposal.phasor
        counts, measured = patterns.counts.flatten(0, 1), patterns.measured.flatten(0, 1)
        density = data_consistent(counts, measured, support, phasor, self.config.iterations)
        sets = [v.reshape(*patterns.present.shape, *v.shape[1:]) for v in (density, line, support, phasor)]
        # Searched objects come as the twins that they are to be.
        if patterns.present.shape[1] > 1 and self.config.first_stage == "network":
            shown = torch.stack([sets[0].abs(), sets[1], sets[2]], 2)
            turned = twins_to_align(shown, patterns.present)
            sets = [twin_where(volume, turned) for volume in sets]
        density, line, support, phasor = (volume.flatten(0, 1) for volume in sets)
        return reader_input(density, line, support, phasor)


def _volume_head(width: int, biases: list[float]) -> nn.Conv3d:
    head = nn.Conv3d(width, len(biases), 1)
    with torch.no_grad():
        head.bias.copy_(torch.tensor(biases))  # type: ignore[union-attr]
    return head
