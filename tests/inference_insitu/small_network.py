"""An untrained network as a checkpoint file: it loads in no time and answers anything."""

from pathlib import Path


def write_untrained(folder: Path) -> Path:
    from models.checkpoint import Checkpoint, save
    from models.config import NetworkConfig
    from models.network import DefectNet

    network = NetworkConfig(width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2)
    path = folder / "untrained.safetensors"
    save(Checkpoint("untrained", network, DefectNet(network).state_dict()), path)
    return path
