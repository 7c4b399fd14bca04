"""Commands and rulings as 256 bytes each: fixed size, so that a broadcast needs no length first. Never pickle."""

import struct
import zlib
from dataclasses import dataclass
from typing import Literal, get_args

from inference_insitu.steering.commands import ORIGIN_BYTES, Command, clipped

SIZE_BYTES = 256
VERSION = 1
NOTHING = bytes(SIZE_BYTES)

Outcome = Literal["applied", "refused", "vetoed", "expired"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_REASON_BYTES = 232
# Little endian. Mark, version, flags or outcome, lengths of the texts, step; then what differs; a checksum ends both.
_COMMAND = struct.Struct(f"<4sBBBBqd64s{ORIGIN_BYTES}s4x")
_RULING = struct.Struct(f"<4sBBHq{_REASON_BYTES}s4x")
_CHECKSUM = struct.Struct("<I")
_COMMAND_MARK, _RULING_MARK = b"cdiC", b"cdiR"
_HAS_VALUE, _ONCE = 1, 2


@dataclass(frozen=True)
class Ruling:
    """What rank 0 decided of a proposal at ``step``; ``reason`` is empty where it is applied."""

    outcome: Outcome
    step: int
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", clipped(self.reason, _REASON_BYTES))


def encode(command: Command) -> bytes:
    """``command`` as 256 bytes."""
    name, origin = command.name.encode(), command.origin.encode()
    flags = (_HAS_VALUE if command.value is not None else 0) | (_ONCE if command.once else 0)
    value = 0.0 if command.value is None else command.value
    lengths = len(name), len(origin)
    return _sealed(_COMMAND.pack(_COMMAND_MARK, VERSION, flags, *lengths, command.step_proposed, value, name, origin))


def decode(data: bytes) -> Command:
    """The command of 256 bytes.

    Raises
    ------
    ValueError
        Unless ``data`` is, byte by byte, what ``encode`` makes of a command.
    """
    _, _, flags, name_size, origin_size, step, value, name, origin = _opened(data, _COMMAND, _COMMAND_MARK, "command")
    command = Command(
        _text(name, name_size),
        value if flags & _HAS_VALUE else None,
        step,
        _text(origin, origin_size),
        bool(flags & _ONCE),
    )
    if encode(command) != data:
        raise ValueError("bytes of a command must be in their only form, got unknown flags or padding")
    return command


def encode_ruling(ruling: Ruling) -> bytes:
    """``ruling`` as 256 bytes."""
    reason = ruling.reason.encode()
    return _sealed(
        _RULING.pack(_RULING_MARK, VERSION, OUTCOMES.index(ruling.outcome), len(reason), ruling.step, reason)
    )


def decode_ruling(data: bytes) -> Ruling:
    """The ruling of 256 bytes.

    Raises
    ------
    ValueError
        As ``decode``.
    """
    _, _, outcome, reason_size, step, reason = _opened(data, _RULING, _RULING_MARK, "ruling")
    if outcome >= len(OUTCOMES):
        raise ValueError(f"outcome of a ruling must be below {len(OUTCOMES)}, got {outcome}")
    ruling = Ruling(OUTCOMES[outcome], step, _text(reason, reason_size))
    if encode_ruling(ruling) != data:
        raise ValueError("bytes of a ruling must be in their only form, got other padding")
    return ruling


def _sealed(body: bytes) -> bytes:
    body = body[: -_CHECKSUM.size]
    sealed = body + _CHECKSUM.pack(zlib.crc32(body))
    return sealed.ljust(SIZE_BYTES, b"\0")


def _opened(data: bytes, layout: struct.Struct, mark: bytes, what: str) -> tuple:  # type: ignore[type-arg]
    if len(data) != SIZE_BYTES:
        raise ValueError(f"bytes of a {what} must be {SIZE_BYTES}, got {len(data)}")
    body = bytes(data[: layout.size])
    fields = layout.unpack(body)
    if fields[0] != mark or fields[1] != VERSION:
        raise ValueError(f"bytes of a {what} must begin with {mark!r} and version {VERSION}, got {body[:5]!r}")
    if _sealed(body)[: layout.size] != body:
        raise ValueError(f"checksum of a {what} must fit its bytes, got another")
    return fields


def _text(padded: bytes, size: int) -> str:
    return padded[:size].decode()  # a UnicodeDecodeError is a ValueError
