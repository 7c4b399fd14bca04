"""Configuration of a training run. Free of torch."""

from dataclasses import dataclass, field

from cdi.defects.classes import CLASSES
from data.recipe import Recipe
from models.config import NetworkConfig
from models.prediction import CLASSES as TOLD

NOT_TOLD = tuple(name for name in CLASSES if name not in TOLD)
"""Classes of truth that the network does not answer."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the four terms: class, line density, support, phase."""

    defect: float = 1.0
    line: float = 2.0
    support: float = 1.0
    phase: float = 1.0


@dataclass(frozen=True)
class TrainConfig:
    """A training run on crystals drawn on the fly.

    Parameters
    ----------
    name : of the model, written into its checkpoint.
    recipe : distribution of the training crystals; ``samples`` bounds how many are drawn.
    validation_samples : crystals behind the recipe's last index, never trained on.
    network : sizes of the network.
    epochs : of ``samples_per_epoch`` new crystals each.
    batch_size, learning_rate, weight_decay, warmup_steps : of AdamW with a cosine schedule.
    workers : processes that draw crystals.
    minutes : wall-clock budget; training stops, complete and saved, when it is spent. None: no limit.
    classifier_samples : crystals, behind those of the epochs, on which the classifier is fitted anew
        in the end with the rest of the network frozen; 0 leaves it as it is.
    seed : of the weights and of the axis symmetries.
    initial : checkpoint to start from (path or shipped name); parts of the network that it lacks start
        as they would without it. None: from scratch.

    Raises
    ------
    ValueError
        For a count below 1, or a pattern shape that differs between recipe and network.
    """

    name: str
    recipe: Recipe
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossWeights = field(default_factory=LossWeights)
    validation_samples: int = 512
    epochs: int = 20
    samples_per_epoch: int = 2048
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup_steps: int = 200
    workers: int = 1
    minutes: float | None = None
    classifier_samples: int = 0
    seed: int = 0
    initial: str | None = None

    def __post_init__(self) -> None:
        for name in ("validation_samples", "epochs", "samples_per_epoch", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if 0 != self.classifier_samples < 64:
            raise ValueError(f"classifier_samples must be 0 or at least 64, got {self.classifier_samples}")
        if self.workers < 0 or self.warmup_steps < 0:
            raise ValueError(f"workers and warmup_steps must not be negative, got {self.workers}, {self.warmup_steps}")
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes must be positive, got {self.minutes}")
        if self.recipe.shape != self.network.shape:
            raise ValueError(f"network.shape must equal recipe.shape {self.recipe.shape}, got {self.network.shape}")
        for defect in NOT_TOLD:
            if self.recipe.fraction_of(defect) > 0:
                raise ValueError(
                    f"recipe.class_fractions must be 0 for {defect}: the network tells apart {', '.join(TOLD)}, "
                    f"got {self.recipe.class_fractions}"
                )
        if self.drawn_in_epochs + self.classifier_samples > self.recipe.samples:
            raise ValueError(
                f"recipe.samples must cover epochs x samples_per_epoch + classifier_samples = "
                f"{self.drawn_in_epochs + self.classifier_samples}, got {self.recipe.samples}"
            )

    @property
    def drawn_in_epochs(self) -> int:
        """Crystals that the epochs draw."""
        return self.epochs * self.samples_per_epoch

    @property
    def validation_recipe(self) -> Recipe:
        """The same distribution, on crystals behind the last that training can reach."""
        from dataclasses import replace

        first = self.recipe.first_index + self.recipe.samples
        return replace(self.recipe, first_index=first, samples=self.validation_samples)
