"""A driver of files, compiled from the real header."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HEADERS = [("nvidia", "cu13/include"), ("triton", "backends/nvidia/include")]


def cuda_header() -> Path | None:
    for package, folder in HEADERS:
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            if (Path(place) / folder / "cuda.h").is_file():
                return Path(place) / folder
    return None


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    header, compiler = cuda_header(), shutil.which("cc")
    if header is None or compiler is None:
        pytest.skip("needs a C compiler and cuda.h, which torch's wheels for CUDA bring")
    folder = tmp_path_factory.mktemp("driver")
    target = folder / "libcuda.so.1"
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-Wall",
        "-Werror",
        f"-I{header}",
        str(HERE / "fake_cuda.c"),
        "-o",
        str(target),
    ]
    subprocess.run(command, check=True, timeout=60)
    return folder
