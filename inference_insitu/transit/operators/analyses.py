"""The analyses of a run as an engine holds them: the plugins and options of in situ, loaded once for all partitions."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cdi.errors import RunError
from cdi.requirements import nearest
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.analysis import Analysis, build_analysis
from inference_insitu.inference.frame import Variable


class Analyses:
    """Built when they are first asked for.

    Parameters
    ----------
    config : of the coupling.
    output : folder for files of their own.
    worker, life : what they are told of themselves (``Analysis.open``).
    """

    def __init__(self, config: CouplingConfig, output: Path, *, worker: int = 0, life: int = 0) -> None:
        self.config = config
        self._output, self._worker, self._life = output, worker, life
        self._built: dict[str, Analysis] = {}
        self._warmed: set[tuple[str, Variable]] = set()

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

    def get(self, name: str) -> Analysis:
        """The analysis ``name``.

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
        if name not in self._built:
            one = self.config.analyses[name]
            built = build_analysis(one.plugin, one.options)
            built.batching = one.batch
            self._told(name, "loaded", lambda: built.open(self._output, self._worker, self._life))
            self._built[name] = built
        return self._built[name]

    def warm_up(self, name: str, variable: Variable) -> None:
        """Let it load and run once what frames of ``variable`` need; at once where it has been.

        Raises
        ------
        ValueError, RunError
            As ``get``.
        """
        analysis = self.get(name)
        if (name, variable) not in self._warmed:
            self._told(name, "loaded", lambda: analysis.warm_up(variable))
            self._warmed.add((name, variable))

    def close(self) -> None:
        """No more frames will come.

        Raises
        ------
        RunError
            If one cannot be closed; the others are.
        """
        built, self._built = self._built, {}
        self._warmed.clear()
        with ExitStack() as stack:
            for name, analysis in built.items():
                stack.callback(self._told, name, "closed", analysis.close)

    def _told(self, name: str, what: str, do: Callable[[], None]) -> None:
        try:
            do()
        except ValueError:
            raise
        except (Exception, SystemExit) as error:
            line = " ".join(str(error).split())
            raise RunError(f"the analysis {name!r} cannot be {what}: {type(error).__name__}: {line}") from error
