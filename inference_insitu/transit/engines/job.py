"""What an engine is told: one JSON file in a folder of the job's own, so that nothing but a path crosses over to it."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cdi.config import read_config, read_object
from cdi.requirements import nearest, require, require_positive
from cdi.whole_file import whole_file
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.frame import Variable
from inference_insitu.transit.log.payloads import THRESHOLD_BYTES, PayloadStore
from inference_insitu.transit.log.redis_log import RedisAddress, RedisLog
from inference_insitu.transit.log.stream_log import StreamLog, Topic, frames_topic
from inference_insitu.transit.operators.versions import FOLDER as VERSIONS
from inference_insitu.transit.operators.versions import Versions

NAME = "job.json"
MOST_PARTITIONS = 1024
PATIENCE_S = 60.0
Plain = str | float | int


@dataclass(frozen=True)
class TransitJob:
    """Frames of ``run`` are answered by an engine as ``coupling`` says.

    Parameters
    ----------
    run : what the log knows the run by.
    coupling : path of the coupling's configuration, the same as in situ.
    folder : of the job: checkpoints, table of results, what it says of itself.
    log : where the broker is.
    streams : those that may come; () for all of the coupling.
    partitions : of every stream; a rank's frames go to partition rank % partitions.
    payloads : folder of large payloads, seen by both sides; '' for ``payloads`` in the job's folder.
    threshold_bytes : payloads above it go there.
    variables : type and largest shape of the frames of streams, where known: analyses warm up for them at the start.
    conditions : of the run, by which earlier runs are compared: material, load, temperature.
    parallelism : how many partitions are dealt with at once.
    threads : that each computes with.
    checkpoint_s : between the engine's checkpoints.
    snapshot_s : between snapshots of an operator's state; those of large states come less often.
    keep_records : of each topic that are kept though everybody has read them.
    views : SQL files over the answers.
    history : folder of the tables of earlier runs; '' for none.
    """

    run: str
    coupling: str
    folder: str
    log: RedisAddress = field(default_factory=RedisAddress)
    streams: tuple[str, ...] = ()
    partitions: int = 1
    payloads: str = ""
    threshold_bytes: int = THRESHOLD_BYTES
    variables: dict[str, Variable] = field(default_factory=dict)
    conditions: dict[str, Plain] = field(default_factory=dict)
    parallelism: int = 1
    threads: int = 1
    checkpoint_s: float = 1.0
    snapshot_s: float = 0.1
    keep_records: int = 0
    views: tuple[str, ...] = ()
    history: str = ""

    def __post_init__(self) -> None:
        Topic(self.run, "answers")
        require(
            1 <= self.partitions <= MOST_PARTITIONS, "partitions", f"lie in [1, {MOST_PARTITIONS}]", self.partitions
        )
        require(1 <= self.parallelism <= 256, "parallelism", "lie in [1, 256]", self.parallelism)
        require(1 <= self.threads <= 256, "threads", "lie in [1, 256]", self.threads)
        require(self.keep_records >= 0, "keep_records", "be at least 0", self.keep_records)
        require_positive(self, "checkpoint_s", "snapshot_s")

    @property
    def path(self) -> Path:
        """Where the job is described."""
        return Path(self.folder) / NAME

    def write(self) -> Path:
        """Keep it in its folder, which is made; where."""
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as file:
            file.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return self.path

    @classmethod
    def read(cls, path: Path) -> "TransitJob":
        """What ``write`` kept.

        Raises
        ------
        ValueError
            If it is no such file.
        """
        try:
            values: Any = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} must be the description of a job, got: {error}") from error
        require(isinstance(values, dict), str(path), "hold an object", type(values).__name__)
        return read_object(cls, values, origin=str(path))

    def coupling_config(self) -> CouplingConfig:
        """The coupling's configuration.

        Raises
        ------
        ValueError
            If it does not fit, or lacks one of ``streams``.
        """
        config = read_config(CouplingConfig, self.coupling)
        for name in (*self.streams, *self.variables):
            if name not in config.streams:
                raise ValueError(f"streams must be of the coupling, got {name!r}; {nearest(name, config.streams)}")
        return config

    def topics(self) -> list[Topic]:
        """All topics of frames, in a fixed order: an engine knows a topic by its place among them."""
        names = self.streams or tuple(self.coupling_config().streams)
        return [
            frames_topic(self.run, name, number, self.partitions) for name in names for number in range(self.partitions)
        ]

    def open_log(self, patience_s: float | None = None) -> StreamLog:
        """A connection to the broker; without ``patience_s`` that of an engine, which can but wait for one away."""
        chosen_s = max(self.log.patience_s, PATIENCE_S) if patience_s is None else patience_s
        return RedisLog(replace(self.log, patience_s=chosen_s))

    def versions(self) -> Versions:
        """Those of the run's analyses beside the configured ones."""
        return Versions(Path(self.folder) / VERSIONS)

    def store(self) -> PayloadStore:
        """Where large payloads lie."""
        folder = Path(self.payloads or Path(self.folder) / "payloads")
        return PayloadStore(folder, threshold_bytes=self.threshold_bytes, flushed=not _in_memory(folder))


def _in_memory(folder: Path) -> bool:
    """Whether flushing is of no use there."""
    return folder.resolve().is_relative_to("/dev/shm")
