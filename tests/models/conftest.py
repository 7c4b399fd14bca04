"""A network small enough to build in milliseconds, with and without a file around it."""

from pathlib import Path

import pytest
import torch

from models.checkpoint import Checkpoint, save
from models.config import NetworkConfig
from models.network import DefectNet

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)


@pytest.fixture
def config() -> NetworkConfig:
    return NetworkConfig(
        shape=(16, 24, 16), width=8, token_dim=16, layers=1, heads=2, iterations=2, reader_width=8, modes=3
    )


@pytest.fixture
def checkpoint(config: NetworkConfig) -> Checkpoint:
    torch.manual_seed(3)
    return Checkpoint("tiny", config, DefectNet(config).state_dict(), training={"epochs": 0})


@pytest.fixture
def checkpoint_file(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save(checkpoint, path)
    return path
