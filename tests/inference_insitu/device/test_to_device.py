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


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "frames must be of one shape and dtype, got none"),
        ([np.zeros(2), np.zeros(3)], r"got float64\[2\], float64\[3\]"),
        ([np.zeros(2), np.zeros(2, np.float32)], r"got float32\[2\], float64\[2\]"),
    ],
)
def test_what_makes_no_batch_is_refused(frames: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_device(frames, "cpu")
