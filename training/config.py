"""Configuration of a training run. Free of torch."""

from dataclasses import dataclass, field, replace

from data.recipe import Recipe
from models.config import NetworkConfig

PARTS = ("all", "proposal", "reader", "answers")
PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms: class, count, line density, windings, support, phase, and the proposal's own sum."""

    defect: float = 1.0
    count: float = 0.5
    line: float = 2.0
    winding: float = 1.0
    support: float = 1.0
    phase: float = 1.0
    proposal: float = 1.0


@dataclass(frozen=True)
class TrainConfig:
    """A training run, on crystals drawn on the fly or on a stored data set.

    Parameters
    ----------
    name : of the model, written into its checkpoint.
    recipe : distribution of the training crystals; ``samples`` bounds how many are drawn.
    dataset : directory or file of ``cdi generate`` to train on instead, with that recipe; None: draw.
    reflections : exposures of a crystal, batch by batch in turn; with ``dataset`` the first of those stored.
    validation_samples : crystals behind the recipe's last index, never trained on; of a ``dataset`` its last crystals.
    calibration_samples : crystals behind those, on which confidences are fitted.
    network : design and sizes.
    parts : what is trained: ``all``; of an unrolled network the ``proposal`` alone, all but that (``reader``), or what
        answers from finished volumes (``answers``: windings, class and count).
    loss : weights of its terms.
    first_batch : number of the first batch: a later stage goes on with crystals that an earlier one has not seen.
    epochs : of ``batches_per_epoch`` batches each.
    batch_size : exposures of a batch; crystals are that over the reflections of each.
    uses : steps that learn from each batch: more than one where a GPU learns faster than the workers draw, the batch
        coming again later and on newly labelled voxel axes (``training.replay``).
    learning_rate, weight_decay, warmup_steps : of AdamW with a cosine schedule.
    patience : epochs without a better validation loss after which training stops; None: never early.
    workers : processes that draw crystals and expose them; 0 does both in this process, the volumes on its device.
    precision : of the network on the device: ``32-true`` or ``bf16-mixed``.
    compiled : whether torch compiles the network.
    minutes : wall-clock budget; the learning rate reaches its end with it, and training stops, complete and saved.
        None: no limit.
    seed : of the weights and of dropout.
    objects : folder in which the objects are kept that a searching first stage finds for the calibration: a run that
        is stopped there goes on. None: they are not kept.
    initial : checkpoint to start from (path or shipped name); parts of the network that it lacks start
        as they would without it. None: from scratch.

    Raises
    ------
    ValueError
        For a count below 1, an unknown part or precision, or a pattern shape that differs between recipe and network.
    """

    name: str
    recipe: Recipe
    dataset: str | None = None
    reflections: tuple[int, ...] = (1, 3, 2)
    validation_samples: int = 384
    calibration_samples: int = 512
    network: NetworkConfig = field(default_factory=NetworkConfig)
    parts: str = "all"
    loss: LossWeights = field(default_factory=LossWeights)
    first_batch: int = 0
    epochs: int = 20
    batches_per_epoch: int = 128
    batch_size: int = 24
    uses: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup_steps: int = 200
    patience: int | None = None
    workers: int = 1
    precision: str = "32-true"
    compiled: bool = False
    minutes: float | None = None
    seed: int = 0
    objects: str | None = None
    initial: str | None = None

    def __post_init__(self) -> None:
        for name in ("validation_samples", "epochs", "batches_per_epoch", "batch_size", "uses"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.calibration_samples < 4:  # two to say what is familiar, two to say how far that reaches
            raise ValueError(f"calibration_samples must be at least 4, got {self.calibration_samples}")
        for name, choices in (("parts", PARTS), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.network.first_stage == "search" and self.parts in ("all", "proposal"):
            raise ValueError(f"parts must be reader or answers where the first stage is a search, got {self.parts!r}")
        if self.parts != "all" and self.network.design != "unrolled":
            raise ValueError(f"parts must be all for the design {self.network.design}, got {self.parts!r}")
        if not self.reflections or min(self.reflections) < 1 or 2 * max(self.reflections) > self.batch_size:
            raise ValueError(
                f"reflections must be numbers from 1 to batch_size / 2 = {self.batch_size // 2}, got {self.reflections}"
            )
        for name in ("workers", "warmup_steps", "first_batch"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes must be positive, got {self.minutes}")
        if self.recipe.shape != self.network.shape:
            raise ValueError(f"network.shape must equal recipe.shape {self.recipe.shape}, got {self.network.shape}")
        if self.dataset is None and self.drawn > self.recipe.samples:
            raise ValueError(
                f"recipe.samples must cover (first_batch + epochs x batches_per_epoch) x batch_size = {self.drawn}, "
                f"got {self.recipe.samples}"
            )

    @property
    def drawn(self) -> int:
        """Indices that the epochs set aside: ``batch_size`` a batch, however many it uses."""
        return (self.first_batch + self.epochs * self.batches_per_epoch) * self.batch_size

    def crystals(self, reflections: int) -> int:
        """Crystals of a batch with that many exposures of each."""
        return self.batch_size // reflections

    @property
    def validation_recipe(self) -> Recipe:
        """The same distribution, on crystals behind the last that training can reach."""
        first = self.recipe.first_index + self.recipe.samples
        return replace(self.recipe, first_index=first, samples=self.validation_samples)
