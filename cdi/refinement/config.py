"""Settings of a refinement, as read from YAML by ``cdi.config``. Free of torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RefinementConfig:
    """How a crystal is refined.

    Parameters
    ----------
    order : half waves of the smooth strain across the support.
    iterations : of every parametric fit; ``free_iterations`` of the free object.
    free_fraction : share of the measured voxels held out.
    extra_lines : lines of other starts that are tried in the best one.
    windings : other windings tried of each line.
    uncertainty : whether the curvature is asked for the lines' errors.
    ensemble : refits of random halves of the voxels that are asked instead; 0: none, else 2 or more.
    outline : whether flat faces are fitted to the best crystal.

    Raises
    ------
    ValueError
        If a value lies out of its range.
    """

    order: float = 5.0
    iterations: int = 80
    free_iterations: int = 60
    free_fraction: float = 0.1
    extra_lines: int = 3
    windings: int = 1
    uncertainty: bool = True
    ensemble: int = 0
    outline: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 12:
            raise ValueError(f"order must lie in [1, 12], got {self.order}")
        least_of = {"iterations": 1, "free_iterations": 1, "extra_lines": 0, "windings": 0, "ensemble": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.free_fraction <= 0.2:
            raise ValueError(f"free_fraction must lie in (0, 0.2], got {self.free_fraction}")
        if self.ensemble == 1:
            raise ValueError("ensemble must be 0, or 2 refits or more, got 1: one has no scatter")
