"""Records as the log keeps them: JSON headers, raw payloads.

Decoding is strict and bounded, for anything may lie in a log: a record of another version, a field too many or of
another type, an array whose size is not that of its shape is a ``PoisonedRecordError``, which is set aside and told.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_origin

from inference_insitu.transit.log.records import (
    Alert,
    Answer,
    AnyRecord,
    Control,
    Data,
    Descriptor,
    FrameRecord,
    Move,
    PoisonedRecordError,
    Quarantined,
    Reply,
)
from inference_insitu.transit.log.stream_log import Record, Stored

VERSION = 1
MOST_TEXT = 4096
MOST_WHOLE = 1 << 53
"""Steps and numbers lie below it: JSON, Lua and SQL engines all hold them exactly."""

_KINDS: Mapping[str, type[AnyRecord]] = {
    each.kind: each for each in (FrameRecord, Control, Reply, Answer, Quarantined, Alert, Move)
}
One = TypeVar("One", bound=AnyRecord)


def encoded(record: AnyRecord) -> Record:
    """``record`` as the log keeps it.

    Raises
    ------
    ValueError
        If a value is NaN, no plain value, or too long.
    """
    header: dict[str, Any] = {"version": VERSION, "kind": record.kind}
    payload: bytes | memoryview = b""
    for each in fields(record):
        value = getattr(record, each.name)
        if each.name != "data":
            header[each.name] = dict(value) if isinstance(value, Mapping) else value
        elif isinstance(value, Descriptor):
            header["descriptor"] = vars(value).copy()
        else:
            payload = value
    if len(payload):
        header["crc32"] = zlib.crc32(payload)
    return Record(json.dumps(header, allow_nan=False, separators=(",", ":")).encode(), payload)


def decoded(stored: Stored) -> AnyRecord:
    """What ``encoded`` made.

    Raises
    ------
    PoisonedRecordError
        If it is not that.
    """
    header = _json(stored.header)
    version, kind = header.pop("version", None), header.pop("kind", None)
    if version != VERSION:
        raise PoisonedRecordError(f"version must be {VERSION}, got {str(version)[:40]}")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise PoisonedRecordError(f"kind must be one of {', '.join(_KINDS)}, got {str(kind)[:40]!r}")
    cls = _KINDS[kind]
    values: dict[str, Any] = {}
    known = {each.name: each.type for each in fields(cls)}
    if "data" in known:
        values["data"] = _data(header, stored.payload)
    elif stored.payload:
        raise PoisonedRecordError(f"a record of kind {kind} must have no payload, got {len(stored.payload)} bytes")
    for name, value in header.items():
        if name not in known or name == "data":
            raise PoisonedRecordError(f"{kind} must have the fields {', '.join(known)}, got {name[:40]!r}")
        values[name] = _typed(name, value, known[name])
    try:
        return cls(**values)
    except TypeError as error:
        raise PoisonedRecordError(f"{kind} is incomplete: {error}") from error


def decoded_as(cls: type[One], stored: Stored) -> One:
    """``decoded``, which must be a ``cls``."""
    record = decoded(stored)
    if not isinstance(record, cls):
        raise PoisonedRecordError(f"a record of kind {cls.kind} must be here, got {record.kind}")
    return record


def descriptor_of(header: bytes) -> Descriptor | None:
    """The payload file that the record with this ``header`` speaks of, if any.

    Raises
    ------
    PoisonedRecordError
        If the header is none.
    """
    data = _data({"descriptor": _json(header).get("descriptor")}, b"")
    return data if isinstance(data, Descriptor) else None


def _json(header: bytes) -> dict[str, Any]:
    try:
        found = json.loads(header, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PoisonedRecordError(f"the header must be JSON, got {header[:40]!r}: {error}") from error
    if not isinstance(found, dict):
        raise PoisonedRecordError(f"the header must be an object, got a {type(found).__name__}")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _data(header: dict[str, Any], payload: bytes) -> Data:
    descriptor, crc = header.pop("descriptor", None), header.pop("crc32", None)
    if descriptor is None:
        if payload and crc != zlib.crc32(payload):
            raise PoisonedRecordError(f"the payload's checksum must be {crc}, got {zlib.crc32(payload)}")
        return payload
    if payload or not isinstance(descriptor, dict) or set(descriptor) != {"file", "size", "crc32"}:
        raise PoisonedRecordError("a descriptor must name file, size and crc32 and stand for the payload")
    return Descriptor(
        _typed("file", descriptor["file"], str),
        _typed("size", descriptor["size"], int),
        _typed("crc32", descriptor["crc32"], int),
    )


def _typed(name: str, value: Any, kind: Any) -> Any:
    """``value``, which must be of the annotated type ``kind``."""
    plain = get_origin(kind) or kind
    if (
        plain is int
        and type(value) is int
        and (abs(value) < MOST_WHOLE or (name.endswith("_ns") and 0 < value < 1 << 63))
    ):
        return value
    if plain is float and type(value) in (int, float) and abs(value) < 1e300:
        return float(value)
    if plain is str and isinstance(value, str) and len(value) <= MOST_TEXT:
        return value
    if plain is tuple and isinstance(value, list) and all(type(one) is int for one in value):
        return tuple(value)
    if plain is Mapping and isinstance(value, dict):
        return value
    raise PoisonedRecordError(f"{name} must be of type {plain.__name__}, got {str(value)[:40]!r}")
