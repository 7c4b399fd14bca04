"""Large payloads beside the log, and what hostile or damaged records do: nothing but be set aside."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest
from transit_twins import frame

from inference_insitu.transit.log import payloads
from inference_insitu.transit.log.codec import decoded, decoded_as, encoded
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import Answer, Control, Descriptor, FrameRecord, PoisonedRecordError, Reply
from inference_insitu.transit.log.stream_log import LogFull, Stored


@pytest.fixture
def store(tmp_path):
    return PayloadStore(tmp_path / "payloads", threshold_bytes=32)


def files(store):
    return [path.name for path in store.folder.iterdir()]


def test_what_is_above_the_threshold_becomes_a_file_and_comes_back(store):
    small, large = frame(0, array=np.arange(4.0)), frame(0, array=np.arange(5.0))
    assert store.laid_out(small) is small
    described = store.laid_out(large)
    assert isinstance(described.data, Descriptor)
    record = decoded(Stored(1, encoded(described).header, b""))
    np.testing.assert_array_equal(record.array(store.read(record.data)), np.arange(5.0))
    store.remove(record.data)
    assert not files(store)


def test_a_record_whose_append_failed_is_laid_out_once(store):
    record = frame(0, array=np.arange(5.0))
    assert store.laid_out(record) == store.laid_out(record)
    assert len(files(store)) == 1
    marks = [Control("run", "pattern", 0, "install", mark, 3, data=bytes(99)) for mark in ("1.install", "2.install")]
    long = [replace(record, stream="x" * 100 + end) for end in "ab"]
    for one in (replace(record, step=1), replace(record, rank=1), replace(record, data=bytes(40)), *marks, *long):
        store.laid_out(one)
    assert len(files(store)) == 8  # each record's file is its own, to be removed with it alone


def test_a_payload_that_is_not_what_was_described_is_poisoned(store):
    described = store.write(bytes(100), "x")
    path = store.folder / described.file
    path.write_bytes(bytes(99) + b"1")
    with pytest.raises(PoisonedRecordError, match="checksum"):
        store.read(described)
    path.write_bytes(bytes(99))
    with pytest.raises(PoisonedRecordError, match="must have 100 bytes, got 99"):
        store.read(described)
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(PoisonedRecordError, match="must be there"):
        store.read(described)


@pytest.mark.parametrize("name", ["../x.payload", "/etc/passwd", ".x.payload", "x", "a\0.payload", ""])
def test_a_descriptor_leads_nowhere_else(store, name):
    with pytest.raises(PoisonedRecordError, match="plain file name"):
        store.read(Descriptor(name, 1, 0))


def test_a_full_folder_is_a_full_log_and_leaves_nothing(store, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(payloads.os, "fsync", full)
    with pytest.raises(LogFull, match="No space left"):
        store.laid_out(frame(0))
    assert not files(store)


@pytest.mark.parametrize(
    "record",
    [
        frame(3, 1, attributes={"load_nN": 2.0}, published_ns=1 << 62, attempts=1),
        Control("run", "pattern", 0, "install", "m", 3, "a", 2, "m 1", "<f4", (2, 3), b"state"),
        Reply("run", "pattern", 0, "m", "state", 5, data=b"state"),
        Answer("run", "pattern", 1, 0, "a", "m 1", "inferred", {"count": 2}, inferred_s=0.5),
    ],
)
def test_records_come_back_as_they_were(record):
    one = encoded(record)
    assert decoded(Stored(1, one.header, bytes(one.payload))) == record


def _changed(**change):
    one = encoded(frame(0))
    header = json.loads(one.header) | change
    return Stored(1, json.dumps({k: v for k, v in header.items() if v is not None}).encode(), bytes(one.payload))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": "1"}, "step must be of type int"),
        ({"step": True}, "step must be of type int"),
        ({"step": 1 << 60}, "step must be of type int"),
        ({"rank": 1.5}, "rank must be of type int"),
        ({"dtype": "O"}, "dtype must be one of"),
        ({"dtype": "<f4"}, "must have 24 bytes, got 48"),
        ({"shape": [1 << 62, 1 << 62]}, "must have"),
        ({"shape": [2, -3]}, "lengths of 1 or more"),
        ({"shape": [1] * 7 + [6]}, "at most 6"),
        ({"shape": [2.0, 3]}, "shape must be of type tuple"),
        ({"attributes": [1]}, "attributes must be of type Mapping"),
        ({"attributes": {"x": float("nan")}}, "NaN is no number"),
        ({"more": 1}, "must have the fields"),
        ({"data": 1}, "must have the fields"),
        ({"run": None}, "incomplete"),
        ({"crc32": 0}, "checksum"),
        ({"kind": "frme"}, "kind must be one of"),
        ({"kind": ["frame"]}, "kind must be one of"),
        ({"version": 2}, "version must be 1"),
        ({"descriptor": {"file": "x"}}, "descriptor must name"),
        ({"stream": "x" * 5000}, "stream must be of type str"),
    ],
)
def test_a_record_that_is_not_what_it_should_be_says_why(change, message):
    with pytest.raises(PoisonedRecordError, match=message):
        decoded(_changed(**change))


def test_a_record_of_another_kind_is_not_taken_for_this_one():
    with pytest.raises(PoisonedRecordError, match="of kind answer must be here, got frame"):
        decoded_as(Answer, _changed())


def test_nan_is_not_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        encoded(Answer("run", "pattern", 1, 0, "a", "", "inferred", {"x": float("inf")}))


def test_a_frame_whose_data_do_not_fit_is_refused_when_it_is_made():
    with pytest.raises(ValueError, match="must have 16 bytes, got 3"):
        FrameRecord("run", "pattern", 0, 0, "<f8", (2,), data=b"abc")
