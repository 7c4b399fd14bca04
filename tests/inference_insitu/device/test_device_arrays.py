import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inference_insitu.device.arrays import DeviceView, device_array


class Array:
    """Whatever has the interface."""

    def __init__(self, **changed: Any) -> None:
        standard = {"shape": (2, 3), "typestr": "<f4", "data": (4096, False), "version": 3, "stream": 5}
        self.__cuda_array_interface__ = standard | changed


@pytest.mark.parametrize("value", [np.zeros(3), np.float64(1.0), 3.0, [1, 2], None, "text", b"bytes"], ids=repr)
def test_what_is_the_hosts_is_none(value: object) -> None:
    assert device_array(value) is None


def test_the_interface_is_read() -> None:
    owner = Array()
    array = device_array(owner)
    assert array is not None
    assert (array.owner, array.pointer, array.shape, array.nbytes, array.stream) == (owner, 4096, (2, 3), 24, 5)
    assert array.dtype == np.float32


@pytest.mark.parametrize(("stream", "handle"), [(None, None), (0, 1), (1, 1), (2, 2), (77, 77)])
def test_streams_by_the_drivers_handles(stream: int | None, handle: int | None) -> None:
    array = device_array(Array(stream=stream))
    assert array is not None
    assert array.stream == handle


def test_an_interface_without_a_stream_names_none() -> None:
    owner = Array()
    del owner.__cuda_array_interface__["stream"]
    array = device_array(owner)
    assert array is not None
    assert array.stream is None


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((2, 3), None), ((2, 3), (12, 4)), ((2, 1, 3), (12, 99, 4)), ((1, 3), (7, 4)), ((), ()), ((), None)],
)
def test_contiguous_whatever_the_stride_of_a_single_row(shape: tuple[int, ...], strides: Any) -> None:
    assert device_array(Array(shape=shape, strides=strides)) is not None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"strides": (4, 8)}, r"array must be C-contiguous, got strides \(4, 8\) for shape \(2, 3\)"),
        ({"strides": (-12, 4)}, "array must be C-contiguous"),
        ({"shape": (0, 3), "data": (0, False)}, r"array must have an element, got shape \(0, 3\)"),
        ({"typestr": "<V2"}, r"dtype must be a number's, got \|V2"),
        ({"typestr": "|O"}, "dtype must be a number's, got object"),
        ({"mask": object()}, "array must have no mask, got a masked Array"),
    ],
)
def test_what_cannot_be_published_is_refused_in_one_line(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        device_array(Array(**changed))
    assert "\n" not in str(caught.value)


def test_a_view_is_a_device_array_of_no_stream() -> None:
    array = device_array(DeviceView(8192, (4,), np.dtype(np.complex64)))
    assert array is not None
    assert (array.pointer, array.shape, array.dtype, array.stream) == (8192, (4,), np.complex64, None)


def test_neither_torch_nor_mpi_is_imported() -> None:
    code = (
        "import sys, numpy as np\n"
        "from inference_insitu.device import arrays, choice, paths, probe, runtime, to_device\n"
        "assert arrays.device_array(np.zeros(3)) is None and arrays.device_array([1]) is None\n"
        "print([m for m in ('torch', 'mpi4py', 'cupy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


# torch's tensors on a GPU are played by ones of the host that say they are on one.


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    torch = pytest.importorskip("torch")
    stream = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: stream)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda tensor: True))
    torch.stream_of_the_test = stream
    yield torch
    del torch.stream_of_the_test


def test_torch_on_the_host_is_none() -> None:
    torch = pytest.importorskip("torch")
    assert device_array(torch.zeros(3)) is None


@pytest.mark.parametrize(("handle", "stream"), [(0, 1), (1234, 1234)])
def test_torch_tells_its_current_stream(torch: Any, handle: int, stream: int) -> None:
    torch.stream_of_the_test.cuda_stream = handle
    tensor = torch.zeros(2, 3, dtype=torch.float16, requires_grad=True)
    array = device_array(tensor)
    assert array is not None
    assert (array.pointer, array.shape, array.dtype) == (tensor.data_ptr(), (2, 3), np.float16)
    assert array.stream == stream


def test_torch_conjugates_are_made_real_before_their_memory_is_read(torch: Any) -> None:
    tensor = torch.tensor([1 + 2j, 3 - 4j]).conj()
    array = device_array(tensor)
    assert array is not None
    assert array.pointer != tensor.data_ptr()
    np.testing.assert_array_equal(array.owner.numpy(), [1 - 2j, 3 + 4j])


def test_torch_refusals(torch: Any) -> None:
    with pytest.raises(ValueError, match=r"dtype must be one of numpy's, got torch\.bfloat16"):
        device_array(torch.zeros(2, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="array must be C-contiguous"):
        device_array(torch.zeros(2, 3).T)


class ByDLPack:
    def __init__(self, kind: int, host: np.ndarray) -> None:
        self.kind, self.host = kind, host

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, **asked: Any) -> object:
        return self.host.__dlpack__()


def test_dlpack_of_a_gpu_is_read_without_a_stream(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.utils.dlpack as exchange

    host = np.arange(6.0).reshape(2, 3)
    monkeypatch.setattr(exchange, "from_dlpack", lambda value: torch.from_numpy(value.host))
    array = device_array(ByDLPack(2, host))
    assert array is not None
    assert (array.pointer, array.shape, array.dtype, array.stream) == (host.ctypes.data, (2, 3), np.float64, None)
    assert device_array(ByDLPack(1, host)) is None
