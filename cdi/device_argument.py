"""Where a command computes: ``--device``, alike for every command that has a choice. Free of torch until asked."""

from jsonargparse import ArgumentParser, Namespace


def add_device_argument(parser: ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument("--device", type=str, default=None, help="cpu or cuda (default: a GPU where there is one)")


def chosen_device(arguments: Namespace) -> str:
    """What ``--device`` says, or a GPU where there is one.

    Raises
    ------
    ValueError
        For another device than cpu or cuda, or a GPU where none is visible.
    """
    import torch

    visible = torch.cuda.is_available()
    device: str = arguments.device or ("cuda" if visible else "cpu")
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda" and not visible:
        raise ValueError("device must be cpu on this machine, got 'cuda': no GPU is visible")
    return device
