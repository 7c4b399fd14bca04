"""Fit the classifier anew on a frozen network (decoupled training: Kang et al., ICLR 2020).

The volumes want every crystal once; the classifier, a small perceptron, wants many passes over
few numbers a crystal. So these are computed once and kept.
"""

import copy

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from models.network import DefectNet
from models.preprocess import features
from training.targets import Targets

EPOCHS = 60
BATCH = 128
HELD_BACK = 0.15
"""Fraction of the crystals that choose the epoch to keep."""


def fit_classifier(network: DefectNet, loader: DataLoader[Targets], *, seed: int) -> None:
    """Train ``network.classifier`` in place on the determined crystals of ``loader``; keep its best epoch."""
    seen, defects = _seen(network, loader)
    held = int(HELD_BACK * len(seen))
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout draws from the global stream
    classifier = network.classifier
    for layer in classifier:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()  # type: ignore[operator]
    optimizer = torch.optim.AdamW(classifier.parameters(), 1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    best, kept = float("inf"), copy.deepcopy(classifier.state_dict())
    for _ in tqdm(range(EPOCHS), desc="classifier", unit="epoch", disable=None):
        classifier.train()
        order = held + torch.randperm(len(seen) - held, generator=generator).to(seen.device)
        for chosen in torch.split(order, BATCH):
            if len(chosen) > 1:  # batch normalisation needs two
                optimizer.zero_grad()
                loss = F.cross_entropy(classifier(seen[chosen]), defects[chosen])
                torch.autograd.backward(loss)
                optimizer.step()
        schedule.step()
        classifier.eval()
        with torch.inference_mode():
            score = float(F.cross_entropy(classifier(seen[:held]), defects[:held]))
        if score < best:
            best, kept = score, copy.deepcopy(classifier.state_dict())
    classifier.load_state_dict(kept)


def _seen(network: DefectNet, loader: DataLoader[Targets]) -> tuple[Tensor, Tensor]:
    device = next(network.parameters()).device
    network.eval()
    seen, defects = [], []
    with torch.no_grad():
        for batch in tqdm(loader, desc="classifier's crystals", unit="batch", mininterval=1.0, disable=None):
            keep = batch.determined > 0
            counts, where = batch.counts.to(device), batch.geometry.to(device)
            seen.append(network.trunk(features(counts), where)[0][keep.to(device)])
            defects.append(batch.defect[keep].to(device))
    return torch.cat(seen), torch.cat(defects)
