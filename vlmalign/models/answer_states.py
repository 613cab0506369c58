"""Final hidden states of answers and of their prompts, from a frozen model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlmalign.models.batch import PromptBatch
from vlmalign.models.forward import Mode, forward_responses


class AnswerStates(NamedTuple):
    """States of N answers.

    Attributes:
        answers: at each answer's last token, (N, H) float32.
        prompts: at the last token of its prompt, images included; the same for all answers to one, (N, H) float32.
    """

    answers: Tensor
    prompts: Tensor


@torch.no_grad()
def answer_states(backbone: nn.Module, batch: PromptBatch, mode: Mode = "cached") -> AnswerStates:
    """States of a batch's responses and prompts, N of each, without gradients.

    Args:
        backbone: a model, or one without output layer.
        batch: B prompts with N responses.
        mode: see `forward_responses`.
    """
    output = forward_responses(backbone, batch, mode=mode, logps=False, hidden=True)
    assert output.hidden is not None and output.before is not None
    last = batch.response_mask.sum(1) - 1
    row = torch.arange(batch.n_responses, device=last.device)
    return AnswerStates(output.hidden[row, last].float(), output.before[:, 0].float())
