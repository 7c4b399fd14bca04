"""Truth in an attribute is data from anywhere; a split by crystal does not leak."""

from dataclasses import replace

import numpy as np
import pytest
from transit_twins import frame

from inference_insitu.transit.learning.examples import (
    example,
    from_bytes,
    group_of,
    is_held_out,
    to_bytes,
    truth_of,
)


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        ("none", "truth must be a mapping, got 'str'"),
        ([1], "truth must be a mapping"),
        ({"is": float("nan")}, "truth must hold plain finite values"),
        ({"is": {"a": float("inf")}}, "truth must hold plain finite values"),
        ({"crystal": [1]}, "truth.crystal must be a text or a whole number"),
        ({"crystal": True}, "truth.crystal must be a text or a whole number"),
    ],
)
def test_a_truth_that_is_none_is_refused(truth, why):
    with pytest.raises(ValueError, match=why):
        truth_of({"truth": truth})


def test_a_frame_without_truth_has_none():
    assert truth_of({}) is truth_of({"truth": None}) is None
    with pytest.raises(ValueError, match="step 0 of rank 0 must come with its truth, got none"):
        example(frame(0), frame(0).data, 1)


def test_frames_of_one_crystal_stand_on_one_side():
    named = [group_of(frame(step, rank), {"crystal": 7}, 1) for step in range(9) for rank in range(3)]
    assert len({*named}) == 1
    blocks = [group_of(frame(step), {}, 4) for step in range(8)]
    assert blocks[:4] == blocks[:1] * 4
    assert blocks[4:] == blocks[4:5] * 4
    assert blocks[0] != blocks[4]
    assert group_of(replace(frame(0), run="other"), {}, 1) != group_of(frame(0), {}, 1)


def test_the_held_out_share_is_what_was_asked_for():
    held = np.mean([is_held_out(f"run/s/{number}", 0.25) for number in range(4000)])
    assert abs(held - 0.25) < 0.03
    assert all(is_held_out(f"run/s/{n}", 0.5) for n in range(200) if is_held_out(f"run/s/{n}", 0.25))


def test_a_kept_frame_is_whole_or_refused():
    record = frame(3, 2, attributes={"truth": {"is": 1.0}, "load": 2.0})
    content = to_bytes(record)
    found = example(from_bytes(content), from_bytes(content).data, 1)
    assert (found.step, found.rank, dict(found.truth), dict(found.attributes)) == (3, 2, {"is": 1.0}, {"load": 2.0})
    assert found.array.tolist() == record.array(record.data).tolist()
    for cut in (0, 10, 40, len(content) - 1):
        with pytest.raises(ValueError, match="a kept frame must"):
            from_bytes(content[:cut])
    for place in (0, 9, 30, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 4
        with pytest.raises(ValueError, match="a kept frame must"):
            from_bytes(bytes(damaged))
