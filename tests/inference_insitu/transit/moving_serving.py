"""What ``cdi insitu transit`` does, where the plain engine is known too: ``python moving_serving.py FOLDER ENGINE``."""

import signal
import sys
from pathlib import Path

from plain_engine import PlainEngine

from inference_insitu.transit.engines.engine import engine
from inference_insitu.transit.migration import serving


def main(folder, kind):
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    serving.engine = lambda name: PlainEngine() if name == "plain" else engine(name)
    config = serving.TransitConfig(engine=kind, partitions=2, memory_bytes=1 << 26)
    serving.Serving(folder, config, lambda line: print(line, flush=True)).serve()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
