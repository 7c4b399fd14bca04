"""A frame's array, there or to be fetched."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from inference_insitu.device.arrays import DeviceView
from inference_insitu.inference.frame import Frame


def test_an_array_is_itself():
    array = np.arange(3.0)
    frame = Frame("a", 0, 1, array)
    assert frame.array is array
    assert frame.device is None
    assert replace(frame, step=2).array is array


def test_an_array_that_must_be_fetched_is_fetched_once_and_only_if_asked_for():
    fetched = []

    def fetch():
        fetched.append(1)
        return np.arange(3.0)

    frame = Frame("a", 0, 1, fetch, device=DeviceView(64, (3,), np.dtype(float)))
    assert not fetched
    assert frame.array is frame.array
    assert frame.array.tolist() == [0, 1, 2]
    assert fetched == [1]


def test_a_frame_needs_an_array_and_keeps_it():
    with pytest.raises(TypeError, match="array"):
        Frame("a", 0, 1)
    with pytest.raises(FrozenInstanceError):
        Frame("a", 0, 1, np.zeros(1)).array = np.ones(1)
