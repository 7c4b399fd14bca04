"""Answers as JSON lines in files that an engine's SQL reads as they appear: the table ``answers`` of views."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdi.whole_file import remove_leftovers, whole_file
from inference_insitu.transit.log.stream_log import ANSWERS, StreamLog, Topic
from inference_insitu.transit.results.rows import rows_of

FOLDER = "answer_rows"
READER = "views"
MOST_ROWS = 4096

_NAME = re.compile(r"rows-\d{12}-(\d{12})\.jsonl")


class AnswerRows:
    """Writes files ``rows-<first>-<last>.jsonl`` to ``folder``, each whole; offsets are those of the run's answers."""

    def __init__(self, folder: Path, log: StreamLog, run: str, conditions: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        self._folder, self._log, self._topic, self._conditions = folder, log, Topic(run, ANSWERS), conditions
        log.register(self._topic, READER)
        self._offset = max(
            (int(name[1]) for path in folder.iterdir() if (name := _NAME.fullmatch(path.name))), default=0
        )

    def advance(self) -> int:
        """Write what is new; how many records were read."""
        records = self._log.read(self._topic, after=self._offset, count=MOST_ROWS)
        if not records:
            return 0
        name = f"rows-{self._offset + 1:012d}-{records[-1].offset:012d}.jsonl"
        with whole_file(self._folder / name) as file:  # meanwhile under a name with a dot, which engines leave out
            file.write_text("".join(json.dumps(one) + "\n" for one in rows_of(records, self._conditions)))
        self._offset = records[-1].offset
        self._log.commit(self._topic, READER, self._offset)
        return len(records)
