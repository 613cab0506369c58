"""A frozen model that turns candidates into states: of the answer, and of the prompt before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from vlmalign.data.collation import collate, pad_token
from vlmalign.data.encode import candidate_prompt
from vlmalign.models import VLM, RewardModel, batch_flops, load_vlm
from vlmalign.models.answer_states import answer_states
from vlmalign.models.builtin import resolve_checkpoint
from vlmalign.models.loading import REWARD_HEAD, backbone_of, model_folder
from vlmalign.records import Candidate, Case
from vlmalign.rewards.prompt_groups import answers_of, shared_prompts


class EncodedAnswers(NamedTuple):
    """N candidates as a model has them.

    Attributes:
        answers: states at their last tokens, (N, H).
        prompts: states at their prompts' last tokens, (N, H).
        questions: text of the last turn of their prompts, N.
        flops: operations that it took.
    """

    answers: Tensor
    prompts: Tensor
    questions: tuple[str, ...]
    flops: float


class AnswerEncoder:
    """The backbone of a language model or of a scalar reward model, frozen.

    Args:
        model: its folder, a run folder (its `model`), or a Hub id.
        dtype: of weights and computation.
        device: where it runs.
        batch_size: candidates per forward pass.
        blank_images: show a grey picture instead of a case's images.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        dtype: str = "float32",
        device: str = "cpu",
        batch_size: int = 32,
        blank_images: bool = False,
    ) -> None:
        folder = resolve_checkpoint(model_folder(model))
        if (Path(folder) / REWARD_HEAD).is_file():
            reward = RewardModel.load(folder, dtype=dtype, device=device)
            self.backbone: Any = reward.backbone
            vlm = VLM(self.backbone, reward.processor)
        else:
            vlm = load_vlm(folder, dtype=dtype, device=device)
            self.backbone = backbone_of(vlm.model)
        self.backbone.requires_grad_(False).eval()
        self.processor = vlm.processor
        self._stops = vlm.stop_tokens
        self.device, self.batch_size, self.blank_images = device, batch_size, blank_images

    @property
    def width(self) -> int:
        """H."""
        return self.backbone.config.get_text_config().hidden_size

    def encode(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]],
    ) -> EncodedAnswers:
        """States of N candidates to N cases with their images; neighbours share the prompt's computation."""
        parts = list(self._batches(cases, candidates, images))
        width = self.width
        return EncodedAnswers(
            torch.cat([part.answers for part in parts]) if parts else torch.zeros(0, width),
            torch.cat([part.prompts for part in parts]) if parts else torch.zeros(0, width),
            tuple(question for part in parts for question in part.questions),
            sum(part.flops for part in parts),
        )

    def _batches(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]],
    ) -> Iterator[EncodedAnswers]:
        encode = answers_of(self.processor, self._stops)
        for start in range(0, len(cases), self.batch_size):
            part = slice(start, start + self.batch_size)
            examples = list(
                shared_prompts(
                    self.processor, cases[part], candidates[part], images[part], encode, blank=self.blank_images
                )
            )
            batch = collate(examples, pad_token(self.processor))["batch"].to(self.device)
            states = answer_states(self.backbone, batch)
            prompts = [candidate_prompt(c, a) for c, a in zip(cases[part], candidates[part], strict=True)]
            yield EncodedAnswers(
                states.answers.cpu(),
                states.prompts.cpu(),
                tuple(messages[-1].text for messages in prompts),
                batch_flops(self.backbone, batch, training=False, mode="cached"),
            )
