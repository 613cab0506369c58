"""A trained reward model as a reward, with the doubt that it was trained to have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from PIL import Image

from vlmalign.data.collation import collate, pad_token
from vlmalign.losses.uncertain_rewards import reward_moments
from vlmalign.models import VLM, PromptBatch, RewardModel
from vlmalign.models.loading import model_folder
from vlmalign.models.reward_head import DropoutMasks
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.anchors import Anchors, anchored_output
from vlmalign.rewards.belief import Belief
from vlmalign.rewards.language_model import chosen_device, weights_hashes
from vlmalign.rewards.prompt_groups import answers_of, shared_prompts
from vlmalign.rewards.protocol import MarginOutput, RewardOutput, beside_each_other, check_aligned

Uncertainty = Literal["auto", "none", "members", "head", "dropout", "laplace"]
NOT_FINITE = "the model's score is not finite"


class ScalarReward:
    """Scores of a reward model that `train_reward` made.

    Where the standard deviation comes from (`uncertainty`): `members` of an ensemble; the `head` of a
    heteroscedastic or evidential model; `dropout` masks of the head (Gal and Ghahramani 2016, arXiv:1506.02142),
    the same for all answers; `laplace`, the last layer's posterior; `auto`: what the model has of members, head
    and laplace. But for `head` it is that of a difference (see `Belief`): of a pair's, or to an anchor, and
    without one it is not known.

    Args:
        run: its run folder, or the `model` folder inside.
        blank_images: show a grey picture instead of the case's images: what is left is what the model makes
            of the text alone.
        uncertainty: where the standard deviation comes from.
        draws: number of dropout masks.
        anchors: folder (or folders) of candidates, one for each case: the reference policy's greedy answers.
            Scores are then differences to them; a case without one cannot be scored.
        batch_size: candidates per forward pass.
        device: where it runs; "auto": the accelerator, if there is one.

    Raises:
        ValueError: the folder holds no reward model, or one without the doubt that is asked for.
    """

    needs_images = True

    def __init__(
        self,
        run: str | Path,
        *,
        blank_images: bool = False,
        uncertainty: Uncertainty = "auto",
        draws: int = 16,
        anchors: str | Path | Sequence[str | Path] | None = None,
        batch_size: int = 32,
        device: str = "auto",
    ) -> None:
        folder = Path(model_folder(run))
        device = chosen_device(device)
        self.model = RewardModel.load(folder, device=device)
        self.uncertainty = _known_doubt(self.model, uncertainty, folder)
        self.blank_images, self.batch_size, self.device = blank_images, batch_size, device
        self.processor = self.model.processor
        self._stops = VLM(self.model.backbone, self.processor).stop_tokens
        self._masks = _masks(self.model, draws) if self.uncertainty == "dropout" else [None]
        self.anchors = None if anchors is None else Anchors(anchors)
        weights = weights_hashes(folder)
        told = [self.uncertainty, len(self._masks), None if self.anchors is None else self.anchors.sha256]
        digest = config_hash(weights if told == ["none", 1, None] else [weights, told])[:8]
        self.name = f"scalar@{digest}" + ("-blank" if blank_images else "")

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`. Of several members, components `member_k` are their scores.

        Raises:
            ValueError: no images, unless they are blank anyway.
        """
        belief, flops = self.believe(cases, candidates, images)
        if self.anchors is not None:
            assert images is not None
            known, extra = self.anchors.beliefs(cases, images, self.believe)
            return anchored_output(belief, known, flops + extra)
        return belief_output(belief, belief.std().tolist(), flops)

    def score_margins(
        self,
        cases: Sequence[Case],
        firsts: Sequence[Candidate],
        seconds: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> MarginOutput:
        """Score N pairs, with the standard deviation of each pair's difference; see `MarginReward`."""
        belief, flops = self.believe(*beside_each_other(cases, firsts, seconds, images))
        n = len(cases)
        first, second = belief.at(list(range(0, 2 * n, 2))), belief.at(list(range(1, 2 * n, 2)))
        std = first.std_against(second).tolist()
        return MarginOutput(
            belief_output(first, first.std().tolist(), flops),
            belief_output(second, second.std().tolist(), 0.0),
            tuple(std),
        )

    def believe(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None,
    ) -> tuple[Belief, float]:
        """What the model holds possible of N candidates, and the operations that it took."""
        check_aligned(cases, candidates, images)
        if images is None:
            raise ValueError(_NO_IMAGES)
        parts, flops = [], 0.0
        for start in range(0, len(cases), self.batch_size):
            part = slice(start, start + self.batch_size)
            encode = answers_of(self.processor, self._stops)
            shown = cases[part], candidates[part], images[part]
            examples = list(shared_prompts(self.processor, *shown, encode, blank=self.blank_images))
            batch = collate(examples, pad_token(self.processor))["batch"].to(self.device)
            parts.append(self._read(batch))
            flops += self.model.flops(batch, training=False, mode="cached")
        return Belief.join(parts), flops

    @torch.no_grad()
    def _read(self, batch: PromptBatch) -> Belief:
        head, states = self.model.head, self.model.states(batch, "cached")
        found = [reward_moments(head(states, masks), head.settings.outputs) for masks in self._masks]
        draws = torch.cat([each.mean for each in found], 1).cpu()
        variances = [each.variance for each in found if each.variance is not None]
        own = torch.cat(variances, 1) if variances else None
        if self.uncertainty in ("none", "laplace"):
            own, draws = None, draws.mean(1, keepdim=True)
        laplace = self.model.laplace if self.uncertainty == "laplace" else None
        features = head.features(states)[0].cpu() if laplace is not None else None
        return Belief(draws, None if own is None else own.mean(1).cpu(), features, laplace)


_NO_IMAGES = "images is None: a scalar reward looks at the images, give those of every case"


def belief_output(belief: Belief, std: Sequence[float], flops: float) -> RewardOutput:
    """Scores from a belief; one that is not finite is invalid."""
    scores = [value if math.isfinite(value) else None for value in belief.mean.tolist()]
    draws = belief.draws.tolist()
    members = [{f"member_{k}": value for k, value in enumerate(row)} if len(row) > 1 else {} for row in draws]
    return RewardOutput.of(
        scores,
        reasons=[NOT_FINITE if score is None else None for score in scores],
        std=[math.nan if score is None else value for score, value in zip(scores, std, strict=True)],
        components=members,
        flops=flops,
    )


def _masks(model: RewardModel, draws: int) -> list[DropoutMasks | None]:
    if draws < 2:
        raise ValueError(f"draws is {draws}, expected 2 or more: one dropout mask has no spread.")
    return [model.head.draw_masks(seed) for seed in range(draws)]


def _known_doubt(model: RewardModel, wanted: Uncertainty, folder: Path) -> Uncertainty:
    head = model.head.settings
    has: dict[Uncertainty, bool] = {
        "members": head.members > 1,
        "head": head.outputs != "score",
        "laplace": model.laplace is not None,
        "dropout": head.dropout > 0,
        "none": True,
    }
    if wanted == "auto":
        return next(kind for kind in ("members", "head", "laplace", "none") if has[kind])
    if not has.get(wanted, False):
        usable = [kind for kind, there in has.items() if there]
        raise ValueError(
            f"uncertainty is {wanted!r} and the reward model in {folder} has no such doubt, only {usable}: train "
            "one that does (head.members, head.outputs, head.dropout, laplace), or choose another."
        )
    return wanted
