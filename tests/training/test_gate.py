import pytest
import torch

from vlmalign.models.mixture_head import MixtureHead
from vlmalign.training.gate import PairStates, pair_figures, train_gates
from vlmalign.training.mixture_config import Gate


@pytest.fixture
def world():
    """Two objectives, each right for one half of the prompts; the prompt's first number says which half."""
    generator = torch.Generator().manual_seed(0)
    chosen, rejected, prompts = torch.randn(3, 400, 2, generator=generator)
    which = (prompts[:, 0] > 0).long()
    better = (chosen - rejected).gather(1, which[:, None])[:, 0] > 0
    chosen, rejected = (
        torch.where(better[:, None], chosen, rejected), torch.where(better[:, None], rejected, chosen),
    )  # fmt: skip
    pairs = PairStates(chosen, rejected, prompts, torch.zeros(400).long(), torch.ones(400))
    mixture = MixtureHead(2, ["a", "b"], gate_width=16, temperature=1.0)
    mixture.heads.copy_(torch.eye(2))
    return mixture, pairs


def test_a_gate_learns_when_which_objective_counts_and_beats_each_of_them(world):
    mixture, pairs = world
    held = PairStates(*(part[300:] for part in pairs))
    log = list(train_gates(mixture, pairs.take(torch.arange(300)), Gate(epochs=40, batch_size=50), seed=0))
    figures = pair_figures(mixture, held)
    assert figures["best_single_accuracy"] < 0.85 and figures["uniform_accuracy"] < 0.85
    assert figures["accuracy"] > 0.92 and figures["varies/a"] > 0.2
    assert log[-1]["loss"] < log[0]["loss"]


def test_pairs_of_weight_zero_teach_nothing_and_a_seed_repeats_itself(world):
    mixture, pairs = world
    state = {name: value.clone() for name, value in mixture.state_dict().items()}
    upside_down = PairStates(pairs.rejected, pairs.chosen, *pairs[2:4], torch.zeros(400))
    both = PairStates(*(torch.cat(parts) for parts in zip(pairs, upside_down, strict=True)))
    runs = []
    for _ in range(2):
        mixture.load_state_dict(state)
        runs.append(list(train_gates(mixture, both, Gate(epochs=10, batch_size=800), seed=1))[-1])
    assert runs[0] == runs[1]
    assert pair_figures(mixture, pairs)["accuracy"] > 0.75
