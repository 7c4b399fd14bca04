"""The analyses of a run as an engine holds them: the plugins and options of in situ, loaded once for all partitions."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from cdi.errors import RunError
from cdi.requirements import nearest
from inference_insitu.coupling_config import AnalysisConfig, CouplingConfig
from inference_insitu.inference.analysis import Analysis, build_analysis
from inference_insitu.inference.frame import Variable
from inference_insitu.transit.operators.lives import claimed_life
from inference_insitu.transit.operators.versions import Versions

T = TypeVar("T")
Key = tuple[str, int]
"""Name of an analysis, and number of its version."""


class Analyses:
    """Built when they are first asked for.

    Parameters
    ----------
    config : of the coupling.
    output : folder for files of their own.
    worker, life : what they are told of themselves (``Analysis.open``).
    versions : those beside the configured one; None for none.
    """

    def __init__(
        self, config: CouplingConfig, output: Path, *, worker: int = 0, life: int = 0, versions: Versions | None = None
    ) -> None:
        self.config = config
        self._output, self._worker, self._life, self._versions = output, worker, life, versions
        self._built: dict[Key, Analysis] = {}
        self._warmed: set[tuple[Key, Variable]] = set()
        self._wanted: dict[Hashable, frozenset[Key]] = {}

    def of_stream(self, stream: str) -> str:
        """Name of the analysis that answers ``stream``.

        Raises
        ------
        ValueError
            If nobody does.
        """
        if stream not in self.config.streams:
            raise ValueError(
                f"stream must be one of the coupling's, got {stream!r}; {nearest(stream, self.config.streams)}"
            )
        return self.config.streams[stream].analysis

    def get(self, name: str, version: int = 0) -> Analysis:
        """The analysis ``name`` in its ``version``.

        Raises
        ------
        ValueError
            If there is none, or its options do not fit.
        RunError
            If it cannot be loaded.
        """
        if name not in self.config.analyses:
            raise ValueError(
                f"analysis must be one of the coupling's, got {name!r}; {nearest(name, self.config.analyses)}"
            )
        key = name, version
        if key not in self._built:
            one = self.config.analyses[name]
            options, life = one.options, self._life
            if version:
                if self._versions is None:
                    raise ValueError(f"{name} must be asked for as it is configured, got version {version}")
                options, life = self._versions.read(name, version).over(options), claimed_life(self._output)
            self._built[key] = self._told(name, "loaded", lambda: self._opened(one, options, life))
        return self._built[key]

    def warm_up(self, name: str, variable: Variable, version: int = 0) -> None:
        """Let it load and run once what frames of ``variable`` need; at once where it has been.

        Raises
        ------
        ValueError, RunError
            As ``get``.
        """
        analysis, key = self.get(name, version), (name, version)
        if (key, variable) not in self._warmed:
            self._told(name, "loaded", lambda: analysis.warm_up(variable))
            self._warmed.add((key, variable))

    def keep(self, owner: Hashable, wanted: Iterable[Key]) -> None:
        """``owner`` needs ``wanted`` from now on: later versions that nobody needs are closed.

        Raises
        ------
        RunError
            If one cannot be closed; the others are.
        """
        self._wanted[owner] = frozenset(wanted)
        needed = frozenset().union(*self._wanted.values())
        self._close([key for key in self._built if key[1] and key not in needed])

    def close(self) -> None:
        """No more frames will come.

        Raises
        ------
        RunError
            If one cannot be closed; the others are.
        """
        self._close([*self._built])

    def _close(self, keys: Iterable[Key]) -> None:
        with ExitStack() as stack:
            for key in keys:
                self._warmed = {one for one in self._warmed if one[0] != key}
                stack.callback(self._told, key[0], "closed", self._built.pop(key).close)

    def _opened(self, one: AnalysisConfig, options: Mapping[str, Any], life: int) -> Analysis:
        built = build_analysis(one.plugin, options)
        built.batching = one.batch
        built.open(self._output, self._worker, life)
        return built

    def _told(self, name: str, what: str, do: Callable[[], T]) -> T:
        try:
            return do()
        except ValueError:
            raise
        except (Exception, SystemExit) as error:
            line = " ".join(str(error).split())
            raise RunError(f"the analysis {name!r} cannot be {what}: {type(error).__name__}: {line}") from error
