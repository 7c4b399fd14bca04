"""What versions' answers to frames with truth are worth: asked of the analysis itself, as it answers the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.analysis import Analysis, answers_or_errors
from inference_insitu.transit.learning.examples import Example
from inference_insitu.transit.learning.plugin import Trainer
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.operators.versions import Versions

AT_ONCE = 8
NOTHING = 0.0
"""What a frame without an answer is worth."""


class Scoring:
    """Scores of versions of the analysis ``name``; each frame is answered once by each."""

    def __init__(self, config: CouplingConfig, versions: Versions, name: str, trainer: Trainer) -> None:
        self._config, self._versions, self._name, self._trainer = config, versions, name, trainer
        self._known: dict[tuple[int, str, int, int], float] = {}

    def scores(self, version: int, examples: Sequence[Example]) -> list[float]:
        """Of ``version`` on each of ``examples``.

        Raises
        ------
        ValueError, RunError
            If it cannot be loaded.
        """
        keys = [(version, one.stream, one.rank, one.step) for one in examples]
        new = {key: one for key, one in zip(keys, examples, strict=True) if key not in self._known}
        if new:
            with TemporaryDirectory(prefix="cdi-scoring-") as folder:
                analyses = Analyses(self._config, Path(folder), versions=self._versions)
                try:
                    self._answer(analyses.get(self._name, version), new)
                finally:
                    analyses.close()
        return [self._known[key] for key in keys]

    def worth(self, values: Mapping[str, Any], truth: Mapping[str, Any]) -> float:
        """Of one answer."""
        return float(self._trainer.score(values, truth))

    def forget(self, kept: Sequence[int], examples: Sequence[Example]) -> None:
        """Keep scores of the versions ``kept`` on ``examples`` alone."""
        wanted = {(version, one.stream, one.rank, one.step) for version in kept for one in examples}
        self._known = {key: value for key, value in self._known.items() if key in wanted}

    def _answer(self, analysis: Analysis, new: Mapping[tuple[int, str, int, int], Example]) -> None:
        items = [*new.items()]
        for first in range(0, len(items), AT_ONCE):
            some = items[first : first + AT_ONCE]
            for shape in {one.array.shape for _, one in some}:
                alike = [(key, one) for key, one in some if one.array.shape == shape]
                said = answers_or_errors(analysis, self._name, [one.frame for _, one in alike])
                for (key, one), values in zip(alike, said, strict=True):
                    self._known[key] = NOTHING if isinstance(values, BaseException) else self.worth(values, one.truth)
