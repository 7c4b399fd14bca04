"""Twins of what an engine needs: a log in memory, a small coupling, frames."""

import time
from collections import defaultdict

import numpy as np

from inference_insitu.coupling_config import AnalysisConfig, CouplingConfig, StreamConfig
from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.batching import BatchConfig
from inference_insitu.transit.log.codec import encoded
from inference_insitu.transit.log.records import FrameRecord
from inference_insitu.transit.log.stream_log import LogFull, Standing, Stored


class MemoryLog:
    """``StreamLog`` in a dictionary."""

    def __init__(self, most_topic_bytes=1 << 30):
        self.records = defaultdict(dict)
        self.last, self.once, self.readers = defaultdict(int), {}, defaultdict(dict)
        self.most_topic_bytes = most_topic_bytes

    def append(self, topic, record, *, once=None):
        return self.append_all(topic, [(record, once)])[0]

    def append_all(self, topic, records):
        return [self._append(topic, record, once) for record, once in records]

    def _append(self, topic, record, once):
        if once is not None and self.once.get((topic, once.writer), -1) >= once.number:
            return None
        held = self.standing(topic).held_bytes + len(record.header) + len(record.payload)
        if held > self.most_topic_bytes:
            raise LogFull(f"{topic.name} must hold at most {self.most_topic_bytes} bytes")
        if once is not None:
            self.once[topic, once.writer] = once.number
        self.last[topic] += 1
        stored = Stored(self.last[topic], bytes(record.header), bytes(record.payload))
        self.records[topic][stored.offset] = stored
        return stored.offset

    def read(self, topic, *, after, count, wait_s=0.0):
        return [one for offset, one in sorted(self.records[topic].items()) if offset > after][:count]

    def standing(self, topic):
        last, held = self.last[topic], self.records[topic]
        size = sum(len(one.header) + len(one.payload) for one in held.values())
        return Standing(last - len(held) + 1 if last else 0, last, size)

    def register(self, topic, reader):
        return self.readers[topic].setdefault(reader, 0)

    def forget(self, topic, reader):
        self.readers[topic].pop(reader, None)

    def commit(self, topic, reader, offset):
        self.readers[topic][reader] = offset

    def committed(self, topic):
        return dict(self.readers[topic])

    def headers(self, topic, *, after, through, count):
        return [(one.offset, one.header) for one in self.read(topic, after=after, count=count) if one.offset <= through]

    def trim(self, topic, *, through):
        through = min([through, *self.readers[topic].values()])
        for offset in [offset for offset in self.records[topic] if offset <= through]:
            del self.records[topic][offset]
        return through

    def close(self):
        pass


class Summed(Analysis):
    """Keeps the running sum of what it saw of each stream and rank: order and repetition show in its answers."""

    model = "summed 1"
    answered = 0

    def __init__(self, *, fail_at: float | None = None) -> None:
        self._sums: dict[tuple[str, int], float] = {}
        self._fail_at = fail_at

    def answer(self, frames):
        values = [float(frame.array.sum(dtype=np.float64)) for frame in frames]
        if self._fail_at in values:
            raise ValueError("this one it does not like")
        Summed.answered += len(frames)
        found = []
        for frame, value in zip(frames, values, strict=True):
            key = frame.stream, frame.rank
            self._sums[key] = self._sums.get(key, 0.0) + value
            found.append({"sum": self._sums[key], "count": int(value) % 3})
        return found

    def state(self, stream, rank):
        return np.float64(self._sums.get((stream, rank), 0.0)).tobytes()

    def install(self, stream, rank, state):
        if len(state) not in (0, 8):
            raise ValueError(f"state must have 8 bytes, got {len(state)}")
        self._sums[stream, rank] = float(np.frombuffer(state)[0]) if state else 0.0


class Slow(Summed):
    """Takes its time, and says a line density where the frame does."""

    def __init__(self, *, pause_s: float = 0.0, version: int = 1) -> None:
        super().__init__()
        self._pause_s, self.model = pause_s, f"summed {version}"

    def answer(self, frames):
        time.sleep(self._pause_s * sum(frame.attributes.get("slow", 1) for frame in frames))
        said = [{"line_density_per_A2": f.attributes["density"]} if "density" in f.attributes else {} for f in frames]
        return [{**values, **more} for values, more in zip(super().answer(frames), said, strict=True)]


def coupling(plugin="transit_twins:Summed", size=4, **options):
    analyses = {"summed": AnalysisConfig(plugin, options, BatchConfig(size=size))}
    return CouplingConfig({"pattern": StreamConfig("summed")}, analyses)


def frame(step, rank=0, array=None, **more):
    array = np.arange(6, dtype="<f8").reshape(2, 3) + step + 100 * rank if array is None else array
    data = array.tobytes()
    return FrameRecord("run", "pattern", step, rank, array.dtype.str, array.shape, **({"data": data} | more))


def stored(*records, first=1):
    """``records`` as a log would give them, from offset ``first`` on."""
    return [
        one if isinstance(one, Stored) else Stored(first + place, encoded(one).header, bytes(encoded(one).payload))
        for place, one in enumerate(records)
    ]
