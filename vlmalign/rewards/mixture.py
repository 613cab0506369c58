"""The gated mixture of objectives as a reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from PIL import Image

from vlmalign.models.loading import model_folder
from vlmalign.models.mixture_head import WEIGHTS, MixtureHead, read_mixture_config
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash, sha256_file
from vlmalign.rewards.answer_encoder import AnswerEncoder
from vlmalign.rewards.language_model import chosen_device
from vlmalign.rewards.protocol import RewardOutput, check_aligned


class MixtureReward:
    """Scores of a mixture that `train_mixture` made, with what they are made of.

    The components of a score are each objective's value less verbosity, by name; its weight, `gate/NAME`;
    `verbosity`, where it is taken out; and, of several tasks, the number of the prompt's `task`. The score is the
    sum of values times weights. A prompt that no task fits is invalid.

    Args:
        run: its run folder, or the `model` folder inside.
        model: the model whose states the mixture reads; default the one that the run was trained on. Another model
            is refused.
        blank_images: show a grey picture instead of the case's images.
        batch_size: candidates per forward pass.
        device: where the model runs; "auto": the accelerator, if there is one.

    Raises:
        ValueError: the folder holds no mixture, or the model is another one.
        FileNotFoundError: the model is not there any more.
    """

    needs_images = True

    def __init__(
        self,
        run: str | Path,
        *,
        model: str | Path | None = None,
        blank_images: bool = False,
        batch_size: int = 32,
        device: str = "auto",
    ) -> None:
        folder = Path(model_folder(run))
        config = read_mixture_config(folder)
        device = chosen_device(device)
        self.encoder = AnswerEncoder(
            model or _trained_on(folder), dtype=config["dtype"], device=device, batch_size=batch_size,
            blank_images=blank_images,
        )  # fmt: skip
        self.mixture = MixtureHead.load(folder, backbone=self.encoder.backbone)
        digest = config_hash([sha256_file(folder / WEIGHTS), config["backbone"], config["router"]])[:8]
        self.name = f"mixture@{digest}" + ("-blank" if blank_images else "")

    @torch.no_grad()
    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`. A single mixture knows no standard deviation.

        Raises:
            ValueError: no images.
        """
        check_aligned(cases, candidates, images)
        if images is None:
            raise ValueError("images is None: a mixture looks at the images, give those of every case")
        states = self.encoder.encode(cases, candidates, images)
        tasks = self.mixture.router.route(states.prompts, states.questions)
        found = self.mixture(states.answers, states.prompts, torch.tensor([-1 if t is None else t for t in tasks]))
        verbosity = self.mixture.verbosity_of(states.answers).tolist()
        scores: list[float | None] = []
        reasons: list[str | None] = []
        components = []
        for i, task in enumerate(tasks):
            value, reason = float(found.rewards[i]), None
            if task is None:
                reason = "no task fits the prompt's question"
            elif not math.isfinite(value):
                reason = "the mixture's score is not finite"
            scores.append(value if reason is None else None)
            reasons.append(reason)
            row = dict(zip(self.mixture.objectives, found.objectives[i].tolist(), strict=True))
            if task is not None:
                weights = found.weights[i].tolist()
                row |= {f"gate/{name}": w for name, w in zip(self.mixture.objectives, weights, strict=True)}
                row |= {"task": float(task)} if len(self.mixture.router.tasks) > 1 else {}
            components.append(row | ({"verbosity": verbosity[i]} if self.mixture.verbosity else {}))
        return RewardOutput.of(scores, reasons=reasons, components=components, flops=states.flops)


def _trained_on(folder: Path) -> str:
    """The model that a run's settings name."""
    settings = folder.parent / "config.yaml"
    if not settings.is_file():
        raise ValueError(
            f"{folder} lies in no run folder, so its model is not known: name it with the setting `model`."
        )
    return str(yaml.safe_load(settings.read_text(encoding="utf-8"))["model"])
