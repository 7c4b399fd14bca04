"""Commands, their bounds and their 256 bytes."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_insitu.steering.commands import Command, Commands, CommandSpec, clipped
from inference_insitu.steering.encoding import (
    NOTHING,
    OUTCOMES,
    SIZE_BYTES,
    Ruling,
    decode,
    decode_ruling,
    encode,
    encode_ruling,
)

printable = st.text(max_size=200).map(lambda text: clipped(text, 160))
commands = st.builds(
    Command,
    st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True),
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60),
    st.integers(0, 2**63 - 1),
    printable,
    st.booleans(),
)


@given(commands)
def test_bytes_bring_back_the_command(command):
    data = encode(command)
    assert len(data) == SIZE_BYTES == 256
    assert decode(data) == command
    assert encode(decode(data)) == data


@given(st.sampled_from(OUTCOMES), st.integers(0, 2**63 - 1), st.text(max_size=400))
def test_bytes_bring_back_the_ruling(outcome, step, reason):
    ruling = Ruling(outcome, step, reason)
    assert decode_ruling(encode_ruling(ruling)) == ruling


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(data):
    for read in (decode, decode_ruling):
        with pytest.raises(ValueError, match="bytes of a"):
            read(data)


@given(commands, st.integers(0, 255), st.integers(1, 255))
def test_one_changed_byte_is_found(command, place, change):
    """By mark, version or checksum, or as padding that must be zero."""
    data = bytearray(encode(command))
    data[place] ^= change
    with pytest.raises(ValueError, match=r"bytes of a command|checksum"):
        decode(bytes(data))


@given(commands, st.lists(st.tuples(st.integers(5, 247), st.integers(0, 255)), max_size=5))
def test_bytes_forged_with_a_fitting_checksum_are_a_command_or_refused(command, changes):
    data = bytearray(encode(command))
    for place, byte in changes:
        data[place] = byte
    data[248:252] = struct.pack("<I", zlib.crc32(data[:248]))
    forged = bytes(data)
    try:
        found = decode(forged)
    except ValueError:
        return
    assert encode(found) == forged


@pytest.mark.parametrize("read", [decode, decode_ruling])
@pytest.mark.parametrize("data", [b"", NOTHING, b"\x80\x04" + bytes(254), encode(Command("stop"))[:-1]])
def test_empty_pickled_and_short_bytes_are_refused(read, data):
    with pytest.raises(ValueError, match="bytes of a"):
        read(data)


def test_a_command_is_no_ruling_and_another_version_is_refused():
    with pytest.raises(ValueError, match="ruling must begin"):
        decode_ruling(encode(Command("stop")))
    later = bytearray(encode(Command("stop")))
    later[4] = 2
    with pytest.raises(ValueError, match="version 1"):
        decode(bytes(later))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("Stop",), "name of a command must match"),
        (("",), "name of a command must match"),
        (("a" * 65,), "name of a command must match"),
        (("rate", float("nan")), "value must be finite, got nan"),
        (("rate", 10**400), "value must be finite"),
        (("rate", True), "value must be a number, got True"),
        (("rate", "3"), "value must be a number, got '3'"),
        (("stop", None, -1), "step_proposed must be a whole number"),
        (("stop", None, 2**63), "step_proposed must be a whole number"),
        (("stop", None, 1.0), "step_proposed must be a whole number"),
        (("stop", None, 0, "two\nlines"), "origin must be printable"),
        (("stop", None, 0, "å" * 81), "origin must be printable and at most 160 bytes"),
    ],
)
def test_a_command_that_does_not_fit_its_bytes_does_not_exist(arguments, line):
    with pytest.raises(ValueError, match=line):
        Command(*arguments)


def test_numpy_s_numbers_are_numbers():
    assert Command("rate", np.float32(0.5)) == Command("rate", 0.5)
    assert str(Command("rate", np.int64(2))) == "rate 2"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (Command("snapshot"), None),
        (Command("interval", 10), None),
        (Command("interval", 1), None),
        (Command("temperature", 300), None),
        (Command("snapshot", 1), "'snapshot' must come without a value, got 1"),
        (Command("interval"), "'interval' must come with a value in [1, 1e+09] steps, got none"),
        (Command("interval", 0), "'interval' must lie in [1, 1e+09] steps, got 0"),
        (Command("interval", 2.5), "'interval' must be a whole number of steps, got 2.5"),
        (Command("rate", 1), "'rate' must have a minimum and a maximum: give them under steering.bounds"),
        (Command("temperature", 901), "'temperature' must lie in [10, 900] K, got 901"),
        (Command("intervall", 10), "no command 'intervall'; did you mean 'interval'?"),
        (Command("zzz"), "no command 'zzz'; known: snapshot, interval, rate, stop, temperature"),
    ],
)
def test_a_command_is_allowed_or_the_reason_is_one_line(command, reason):
    assert Commands([CommandSpec("temperature", 10, 900, "K")]).refusal(command) == reason


def test_a_user_narrows_what_the_simulation_allows_and_never_widens_it():
    declared = [CommandSpec("rate", -2, 2, "1/ps")]
    table = {spec.name: spec for spec in Commands(declared, [CommandSpec("rate", 0, 5), CommandSpec("interval", 10)])}
    assert table["rate"] == CommandSpec("rate", 0, 2, "1/ps")
    assert table["interval"] == CommandSpec("interval", 10, 1e9, "steps", integer=True)
    assert str(table["interval"]) == "[10, 1e+09] steps whole"


def test_the_user_s_bounds_open_the_rate():
    assert Commands(bounds=[CommandSpec("rate", -1, 1, "1/ps")]).refusal(Command("rate", 0.5)) is None
    assert "must have a minimum and a maximum" in (
        Commands(bounds=[CommandSpec("rate", maximum=1)]).refusal(Command("rate", 0.5)) or ""
    )


@pytest.mark.parametrize(
    ("bounds", "line"),
    [
        (CommandSpec("rate", 3, 4), r"bounds of 'rate' must overlap \[-2, 2\] of the simulation, got \[3, 4\]"),
        (CommandSpec("rate", 0, 1, "m/s"), "bounds of 'rate' must be in '1/ps', got 'm/s'"),
        (CommandSpec("rate"), "bounds of 'rate' must hold a minimum or maximum"),
        (CommandSpec("stop", 0, 1), "bounds of 'stop' must not hold a minimum"),
        (CommandSpec("rat", 0, 1), "steering.bounds: no command 'rat'; did you mean 'rate'"),
    ],
)
def test_bounds_that_do_not_fit_are_one_line(bounds, line):
    with pytest.raises(ValueError, match=line):
        Commands([CommandSpec("rate", -2, 2, "1/ps")], [bounds])


@pytest.mark.parametrize("arguments", [(2, 1), (float("nan"), 1), (0, float("nan"))])
def test_bounds_are_an_interval(arguments):
    with pytest.raises(ValueError, match="minimum of 'rate' must be at most"):
        CommandSpec("rate", *arguments)


@given(st.text(max_size=100), st.integers(3, 60))
def test_clipped_text_is_one_printable_line_that_fits(text, size):
    line = clipped(text, size)
    assert len(line.encode()) <= size
    assert line.isprintable()
