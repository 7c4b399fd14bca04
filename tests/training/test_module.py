"""The Lightning module: what learns, what is withheld, and that nothing is computed in half precision by accident."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from data.recipe import Recipe
from models.checkpoint import Checkpoint, save
from models.config import DESIGNS, NetworkConfig
from training.batches import DrawnTargets
from training.config import TrainConfig
from training.module import UNKNOWN_GEOMETRY, DefectModule, _some_unknown
from training.targets import Targets

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)

SMALL = NetworkConfig(
    shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2, modes=3
)
CONFIG = TrainConfig(
    "tiny", Recipe("tiny", samples=32, seed=3, shape=(16, 16, 16)), network=SMALL, epochs=1, batches_per_epoch=4,
    batch_size=6, warmup_steps=1, workers=0, learning_rate=3e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def batches() -> list[Targets]:
    """Crystals in one reflection and in three."""
    drawn = DrawnTargets(CONFIG, volumes_here=True)
    return [batch for batch in (drawn[0], drawn[1]) if isinstance(batch, Targets)]


def module(**change: Any) -> DefectModule:
    """Without a trainer around it."""
    found = DefectModule(replace(CONFIG, **change))
    found.log_dict = found.log = lambda *arguments, **options: None  # type: ignore[method-assign]
    return found


@pytest.fixture(autouse=True)
def _steps_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module outside a trainer has taken no step; the trainer is not asked."""
    monkeypatch.setattr(DefectModule, "global_step", property(lambda self: 0))
    monkeypatch.setattr(DefectModule, "trainer", SimpleNamespace(world_size=1))


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_can_learn(design: str, batches: list[Targets]) -> None:
    """A few steps on one batch of three reflections lower its loss: derivatives reach what they should."""
    learning = module(network=replace(SMALL, design=design, passes=1))
    optimizer = torch.optim.AdamW(learning.network.parameters(), 3e-3)
    values = []
    for _ in range(8):
        loss = learning.training_step(batches[1], 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.97 * values[0]
    assert all(parameter.grad is not None for parameter in learning.network.parameters())


FIRST_STAGE = ("design.", "proposal_head.")
FINISHED = ("winding_head.", "hidden.", "classifier.", "counter.")


@pytest.mark.parametrize("parts", ["proposal", "reader", "answers", "all"])
def test_parts_that_are_not_trained_stay(parts: str, batches: list[Targets]) -> None:
    """``proposal`` moves the first stage alone, ``reader`` all but it, ``answers`` what reads finished volumes."""
    learning = module(parts=parts)
    before = {name: value.clone() for name, value in learning.network.named_parameters()}
    trained = [p for p in learning.network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-2)
    for _ in range(3):
        learning.training_step(batches[0], 0).backward()
        optimizer.step()
    moved = {name: not torch.equal(before[name], value) for name, value in learning.network.named_parameters()}
    for name, changed in moved.items():
        learns = {
            "proposal": name.startswith(FIRST_STAGE), "reader": not name.startswith(FIRST_STAGE),
            "answers": name.startswith(FINISHED), "all": True,
        }  # fmt: skip
        assert changed == learns[parts], name


def test_a_run_may_start_from_other_weights(tmp_path: Any) -> None:
    """``initial`` fills the parts it names, and only those; weights of another size or unknown parts are refused."""
    other = DefectModule(replace(CONFIG, seed=5)).network.state_dict()
    path = tmp_path / "first.safetensors"
    partial = {name: value for name, value in other.items() if name.startswith("design.")}
    save(Checkpoint("first", SMALL, partial), path)
    found = DefectModule(replace(CONFIG, initial=str(path), seed=9)).network.state_dict()
    fresh = DefectModule(replace(CONFIG, seed=9)).network.state_dict()
    for name, value in found.items():
        assert torch.equal(value, (partial if name in partial else fresh)[name])
    with pytest.raises(ValueError, match="initial must fit the network's sizes"):
        DefectModule(replace(CONFIG, network=replace(SMALL, width=16), initial=str(path)))
    save(Checkpoint("first", SMALL, {"foreign.weight": torch.zeros(2)}), path)
    with pytest.raises(ValueError, match=r"initial must fit the network; it also holds foreign\.weight"):
        DefectModule(replace(CONFIG, initial=str(path)))


def test_the_geometry_of_some_crystals_of_one_exposure_is_withheld(batches: list[Targets]) -> None:
    """As often as said, G and voxels together, and never from a set."""
    torch.manual_seed(0)
    known = torch.stack([_some_unknown(batches[0]).patterns.known for _ in range(200)])
    assert (~known).double().mean() == pytest.approx(UNKNOWN_GEOMETRY, abs=0.03)
    hidden = _some_unknown(batches[0]).patterns
    assert torch.equal(hidden.G.flatten(1).any(1), hidden.known)
    assert _some_unknown(batches[1]).patterns.known.all()


def test_mixed_precision_says_nearly_the_same(batches: list[Targets]) -> None:
    """Under bfloat16 the outputs are float32 and finite, and derivatives are."""
    learning = module(network=replace(SMALL, passes=1))
    plain = learning.training_step(batches[1], 0)
    with torch.autocast("cpu", torch.bfloat16):
        output = learning.network(batches[1].patterns)
        mixed = learning.training_step(batches[1], 0)
    for name in ("line_logits", "support_logits", "winding"):
        assert getattr(output, name).dtype == torch.float32
    assert mixed.isfinite()
    assert float(mixed.detach()) == pytest.approx(float(plain.detach()), rel=0.1)
    mixed.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in learning.network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("design", ["unet", "tokens"])
def test_a_compiled_network_says_the_same(design: str, batches: list[Targets]) -> None:
    """In evaluation; ``tokens`` takes torch's fused transformer layer there."""
    plain, compiled = (module(compiled=compiled, network=replace(SMALL, design=design)) for compiled in (False, True))
    with torch.no_grad():
        for learning in (plain, compiled):
            learning.network.eval()
        expected, found = (each.answer(batches[1].patterns, 1, None) for each in (plain, compiled))
    for name in ("class_logits", "line_logits", "winding"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=5e-3, rtol=1e-2)


def test_a_gradient_that_is_not_finite_teaches_nothing_and_is_counted(batches: list[Targets]) -> None:
    """One voxel of one true phase is NaN; without it the same gradient is left as it is."""
    learning, skipped = module(), []
    learning.log = lambda name, value, **options: skipped.append(value)  # type: ignore[method-assign, assignment]
    optimizer = torch.optim.AdamW(learning.network.parameters(), 3e-3)

    def gradients(batch: Targets) -> list[torch.Tensor]:
        optimizer.zero_grad()
        learning.training_step(batch, 0).backward()
        before = [p.grad.clone() for p in learning.network.parameters() if p.grad is not None]
        learning.on_before_optimizer_step(optimizer)
        after = [p.grad for p in learning.network.parameters() if p.grad is not None]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)) == bool(skipped[-1] == 0)
        return after

    assert any(gradient.any() for gradient in gradients(batches[0]))
    phase = batches[0].phase.clone()
    phase[0, 0, 4, 4, 4] = float("nan")
    assert not any(gradient.any() for gradient in gradients(replace(batches[0], phase=phase)))
    assert skipped[-1] == 1
