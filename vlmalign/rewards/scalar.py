"""The trained scalar reward model as a reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from vlmalign.data.collate import collate, pad_token
from vlmalign.data.encode import stop_tokens
from vlmalign.models import VLM, RewardModel, batch_flops
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash, sha256_file
from vlmalign.rewards.prompt_groups import answers_of, shared_prompts
from vlmalign.rewards.protocol import RewardOutput, check_aligned


class ScalarReward:
    """Scores of a reward model that `train_reward` made.

    Args:
        run: its run folder, or the `model` folder inside.
        blank_images: show a grey picture instead of the case's images: what is left is what the model makes
            of the text alone.
        batch_size: candidates per forward pass.
        device: where it runs; "auto": the accelerator, if there is one.

    Raises:
        ValueError: the folder holds no reward model.
    """

    needs_images = True

    def __init__(
        self, run: str | Path, *, blank_images: bool = False, batch_size: int = 32, device: str = "auto"
    ) -> None:
        folder = Path(run) / "model" if (Path(run) / "model").is_dir() else Path(run)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = RewardModel.load(folder, device=device)
        self.blank_images = blank_images
        self.batch_size = batch_size
        self.device = device
        self.processor = self.model.processor
        self._stops = stop_tokens(VLM(self.model.backbone, self.processor))
        digest = config_hash([sha256_file(path) for path in sorted(folder.glob("*.safetensors"))])[:8]
        self.name = f"scalar@{digest}" + ("-blank" if blank_images else "")

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`. A single model knows no standard deviation.

        Raises:
            ValueError: no images, unless they are blank anyway.
        """
        check_aligned(cases, candidates, images)
        if images is None:
            raise ValueError("images is None: a scalar reward looks at the images, give those of every case")
        scores: list[float | None] = []
        flops = 0.0
        for start in range(0, len(cases), self.batch_size):
            part = slice(start, start + self.batch_size)
            found, cost = self._score_batch(cases[part], candidates[part], images[part])
            scores += found
            flops += cost
        reasons = ["the model's score is not finite" if score is None else None for score in scores]
        return RewardOutput.of(scores, reasons=reasons, flops=flops)

    @torch.no_grad()
    def _score_batch(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]],
    ) -> tuple[list[float | None], float]:
        encode = answers_of(self.processor, self._stops)
        examples = list(shared_prompts(self.processor, cases, candidates, images, encode, blank=self.blank_images))
        batch = collate(examples, pad_token(self.processor))["batch"].to(self.device)
        values = self.model(batch, mode="cached").tolist()
        flops = batch_flops(self.model.backbone, batch, training=False, mode="cached")
        return [value if math.isfinite(value) else None for value in values], flops
