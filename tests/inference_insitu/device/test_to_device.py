from typing import Any

import numpy as np
import pytest

from inference_insitu.device.to_device import to_device

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f8", "i2", "u1", "c8", "?"])
def test_frames_become_one_batch_of_their_own(dtype: str) -> None:
    ring = (np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
    ring.flags.writeable = False
    batch = to_device(list(ring), "cpu")
    assert tuple(batch.shape) == (2, 3, 4)
    np.testing.assert_array_equal(batch.numpy(), ring)
    assert batch.dtype == torch.from_numpy(np.empty(0, np.dtype(dtype).newbyteorder("="))).dtype


def test_slots_may_go_once_it_returns() -> None:
    ring = np.ones((2, 3), np.float32)
    batch = to_device(list(ring), "cpu")
    ring[:] = 7
    assert (batch == 1).all()


def test_floating_frames_become_bfloat16_and_others_do_not() -> None:
    assert to_device([np.ones(3, np.float32)], "cpu", bfloat16=True).dtype == torch.bfloat16
    assert to_device([np.ones(3, np.int32)], "cpu", bfloat16=True).dtype == torch.int32


@pytest.mark.parametrize(
    ("shape", "layout"), [((3, 4, 5), "channels_last"), ((3, 4, 5, 6), "channels_last_3d")], ids=str
)
def test_channels_last_changes_the_layout_alone(shape: tuple[int, ...], layout: str) -> None:
    frames = [np.random.default_rng(i).normal(size=shape) for i in range(2)]
    batch = to_device(frames, "cpu", channels_last=True)
    assert batch.is_contiguous(memory_format=getattr(torch, layout))
    np.testing.assert_array_equal(batch.numpy(), np.stack(frames))


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ([], {}, "frames must be of one shape and dtype, got none"),
        ([np.zeros(2), np.zeros(3)], {}, r"got float64\[2\], float64\[3\]"),
        ([np.zeros(2), np.zeros(2, np.float32)], {}, r"got float32\[2\], float64\[2\]"),
        ([np.zeros((4, 5))], {"channels_last": True}, "frames must have 3 or 4 axes for channels_last, got 2"),
    ],
)
def test_what_makes_no_batch_is_refused(frames: list[np.ndarray], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_device(frames, "cpu", **options)
