"""Messages are read as they were written, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_insitu.placement.relay_message import (
    LARGEST_TO_KEEPER,
    LARGEST_TO_SIMULATION,
    MOST_GRANTS,
    VERSION,
    Closed,
    End,
    FrameHead,
    Grant,
    Hello,
    MessageError,
    Outcome,
    Proposal,
    Refusal,
    Seen,
    Standing,
    decode_to_keeper,
    decode_to_simulation,
)

TO_KEEPER = [
    Hello(5, 1234, 0xFFFFFFFF, -(2**62)),
    FrameHead(7, 9, 2**40, 2**50, 10**18, 2 * 3 * 5 * 8, 11, 3, FrameHead.tail((2, 3, 5), b"x" * 2048)),
    FrameHead(0, 0, 1, 0, 0, 8, 11, 0, FrameHead.tail((), b"")),
    End(3),
    Closed(),
    Seen(17),
]
TO_SIMULATION = [
    Grant.of([(number, number % 3) for number in range(MOST_GRANTS)]),
    Outcome(7, 9, 2**40, 1, 8, 1, 10**12, "ä".encode() * 128),
    Standing(2, 3, 10**18, b"m" * 128),
    Proposal(b"r" * 256),
    Refusal(b"because"),
]


@pytest.mark.parametrize("message", TO_KEEPER, ids=lambda message: type(message).__name__)
def test_a_message_to_the_keeper_comes_back(message):
    data = message.encode(123456789)
    assert decode_to_keeper(data) == (message, 123456789)
    assert len(data) <= LARGEST_TO_KEEPER


@pytest.mark.parametrize("message", TO_SIMULATION, ids=lambda message: type(message).__name__)
def test_a_message_to_the_simulation_comes_back(message):
    data = message.encode(-5)
    assert decode_to_simulation(data) == (message, -5)
    assert len(data) <= LARGEST_TO_SIMULATION


def test_shape_and_attributes_are_parted():
    head = TO_KEEPER[1]
    assert head.shape == (2, 3, 5)
    assert head.attributes == b"x" * 2048


@pytest.mark.parametrize("message", TO_KEEPER, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("cut", [1, 20])
def test_a_message_that_is_cut_or_too_long_is_none(message, cut):
    data = message.encode(0)
    if not message.MOST_TAIL:
        with pytest.raises(MessageError):
            decode_to_keeper(data[:-cut])
    with pytest.raises(MessageError):
        decode_to_keeper(data + bytes(LARGEST_TO_KEEPER))


def test_another_version_is_named():
    data = bytearray(End(1).encode(0))
    data[4] = VERSION + 1
    with pytest.raises(MessageError, match=f"version {VERSION}, got {VERSION + 1}.*same program"):
        decode_to_keeper(bytes(data))


@given(st.binary(max_size=300), st.integers(0, 12), st.booleans())
def test_arbitrary_bytes_are_a_message_or_an_error(body, kind, headed):
    data = (b"CDIR\x01\x00" + bytes([kind, 0]) + bytes(8) if headed else b"") + body
    for decode in (decode_to_keeper, decode_to_simulation):
        try:
            message, sent_ns = decode(data)
        except MessageError:
            continue
        assert message.encode(sent_ns) == data
