"""Any reward, with its disagreement with itself under small changes that should not matter as its doubt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlmalign.data.encode import candidate_prompt
from vlmalign.data.nuisance import perturb_image
from vlmalign.records import Candidate, Case, Message
from vlmalign.records.hashing import config_hash, derive_seed
from vlmalign.records.scores import MARGIN_STD, MEMBER
from vlmalign.rewards.anchors import Anchors, anchored_output
from vlmalign.rewards.belief import Belief
from vlmalign.rewards.protocol import MarginOutput, Reward, RewardOutput, check_aligned, experts_behind
from vlmalign.rewards.registry import load_reward


class NuisanceReward:
    """A reward that is asked several times, of the picture as it is and of slightly changed ones.

    The idea of Ctrl-U (Zhang et al. 2024, arXiv:2410.11236, section 3.2), whose disagreement is that of two noisy
    generations: here of views of one picture (noise, crop of the edges) and of paraphrases of the question. The
    score is that of the unchanged view, or with anchors the mean difference over all views; the standard deviation
    is that of a difference over all views, of a pair's or to an anchor (see `Belief`). A view's changes depend on
    seed, case and view alone, so that all answers to a case are seen with the same pictures. Components `member_k`
    are the scores of the views, the unchanged one first; a doubt that the reward has of its own is not told.

    Args:
        reward: name of the reward, see `list_rewards`.
        settings: its settings.
        views: changed views beside the unchanged one.
        noise: standard deviation of pixel noise, as a share of the full range.
        crop: most that is cut off each side, as a share.
        questions: paraphrases of the last user turn's text, used by the views in turn; only for cases that all ask
            alike.
        anchors: as for `ScalarReward`.
        seed: of the changes.

    Raises:
        ValueError: no changed view, or nothing that changes.
    """

    def __init__(
        self,
        reward: str,
        settings: Mapping[str, Any] | None = None,
        *,
        views: int = 4,
        noise: float = 0.02,
        crop: float = 0.04,
        questions: Sequence[str] = (),
        anchors: str | Path | Sequence[str | Path] | None = None,
        seed: int = 0,
    ) -> None:
        if views < 1 or not (noise or crop or questions):
            raise ValueError(
                f"views is {views}, noise {noise}, crop {crop} and questions {list(questions)}: give 1 view or "
                "more and something that changes."
            )
        self.inner: Reward = load_reward(reward, **(settings or {}))
        if not self.inner.needs_images and not questions:
            raise ValueError(
                f"reward {reward!r} looks at no picture, so changing it changes nothing: give questions."
            )
        self.needs_images = self.inner.needs_images
        self.experts = experts_behind(self.inner)
        self.views, self.noise, self.crop, self.seed = views, noise, crop, seed
        self.questions = tuple(questions)
        self.anchors = None if anchors is None else Anchors(anchors)
        told = [self.inner.name, views, noise, crop, self.questions, seed, self.anchors and self.anchors.sha256]
        self.name = f"nuisance@{config_hash(told)[:8]}"

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`. Without anchors the standard deviation is not known."""
        belief, first = self._believe(cases, candidates, images)
        if self.anchors is None:
            return first
        known, flops = self.anchors.beliefs(cases, images or [[]] * len(cases), self.believe)
        found = anchored_output(belief, known, first.flops + flops)
        lost = [i for i, valid in enumerate(first.valid) if not valid]
        return found.without(lost, [first.reasons[i] for i in lost])

    def score_margins(
        self,
        cases: Sequence[Case],
        firsts: Sequence[Candidate],
        seconds: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> MarginOutput:
        """Score N pairs; a pair of which a view could not be scored has no standard deviation."""
        one, first = self._believe(cases, firsts, images)
        two, second = self._believe(cases, seconds, images)
        return MarginOutput(first, second, tuple(one.std_against(two).tolist()))

    def believe(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None,
    ) -> tuple[Belief, float]:
        """Scores by views, and the operations that they took."""
        belief, first = self._believe(cases, candidates, images)
        return belief, first.flops

    def _believe(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None,
    ) -> tuple[Belief, RewardOutput]:
        """Scores by views, NaN where a view could not be scored, and the output of the unchanged one."""
        check_aligned(cases, candidates, images)
        outputs = [self.inner.score(cases, candidates, images)]
        for view in range(self.views):
            shown = None if images is None else self._view(cases, images, view)
            asked = [self._asked(case, candidate, view) for case, candidate in zip(cases, candidates, strict=True)]
            outputs.append(self.inner.score([case for case, _ in asked], [answer for _, answer in asked], shown))
        draws = torch.tensor([output.mean for output in outputs], dtype=torch.float64).T
        flops = math.fsum(output.flops for output in outputs)
        return Belief(draws), _with_views(outputs[0], [output.mean for output in outputs]).costing(flops)

    def _view(
        self, cases: Sequence[Case], images: Sequence[Sequence[Image.Image]], view: int
    ) -> list[list[Image.Image]]:
        found: dict[tuple[str, ...], list[Image.Image]] = {}
        keys = [(case.id, *(ref.sha256 for ref in case.images)) for case in cases]  # one id may show two pictures
        for key, pictures in zip(keys, images, strict=True):
            if key not in found:
                rng = np.random.default_rng(derive_seed(self.seed, "view", view, key[0]))
                found[key] = [perturb_image(p, rng, noise=self.noise, crop=self.crop) for p in pictures]
        return [found[key] for key in keys]

    def _asked(self, case: Case, candidate: Candidate, view: int) -> tuple[Case, Candidate]:
        """The case with another wording of its question."""
        if not self.questions:
            return case, candidate
        turns = candidate_prompt(case, candidate)
        images = tuple(part for part in turns[-1].content if part.type == "image")
        text = self.questions[view % len(self.questions)]
        last = Message.model_validate({"role": "user", "content": [*images, {"type": "text", "text": text}]})
        extra = {name: value for name, value in candidate.extra.items() if name != "first_question"}
        return (
            case.model_copy(update={"messages": (*turns[:-1], last)}),
            candidate.model_copy(update={"extra": extra}),
        )


def _with_views(output: RewardOutput, views: Sequence[Sequence[float]]) -> RewardOutput:
    """The unchanged view's scores with the views' as members; what the reward itself said of doubt is left out."""
    own = {name: values for name, values in output.components.items() if not name.startswith((MEMBER, MARGIN_STD))}
    members = {f"{MEMBER}{k}": tuple(values) for k, values in enumerate(views)}
    return replace(output, std=(math.nan,) * len(output), components={**own, **members})
