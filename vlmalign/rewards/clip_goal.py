"""A CLIP model's view of whether a picture fits a text, with goal-baseline projection; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from vlmalign.clinical.parser import split_sentences
from vlmalign.data.blank import blank_image
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.clip_backbone import ClipBackbone
from vlmalign.rewards.clip_baseline import NEGATION, ClipBaseline, prompt_list
from vlmalign.rewards.goal_baseline import check_alpha, goal_baseline_reward, prompt_mean, same_direction
from vlmalign.rewards.protocol import RewardOutput, check_aligned

NO_TEXT, NO_IMAGE = "the answer has no text", "the case has no image"
SAME_AS_BASELINE = (
    "the answer's texts and the baseline are equal in the model: there is no direction to project on"
)


class _Asked(NamedTuple):
    """What one answer is compared with, or why it cannot be."""

    goal: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    reason: str | None = None


class ClipGoalReward:
    """CLIP zero-shot reward of the pictures of a case for what an answer says of them.

    r = 1 - 1/2 |(alpha P + (1 - alpha) I)(x - g)|^2, see `goal_baseline_reward` (VLM-RM, arXiv:2310.12921): x is
    the unit embedding of a picture, g the mean of the unit embeddings of the goal's prompts, b that of the
    baseline's. The goal is what the answer says, each of its sentences a prompt; or fixed prompts, and then the
    score is that of the picture, the same for every answer to the case. Exactly as in VLM-RM a mean of prompts is
    not brought back to length 1, which adds (1 - |g|^2) / 2 to the score at alpha 0 and so favours answers whose
    sentences have little to do with one another; `normalize` takes that away.

    A CLIP model knows little of negation ("No leukocyte is seen.") and reads a short answer ("Yes.") without its
    question. Measure it on labelled pairs before it is trusted: `alpha_sweep`, and `choose_alpha` of
    `vlmalign.evaluation.alpha_choice`.

    Over several pictures of a case the score is the mean of the pictures' rewards, or with `pool: max` that of the
    best one, for answers about something that one view shows. An answer is invalid that has no text, a sentence
    longer than the model reads (it is not cut), no claim to negate where the baseline is a negation, or a goal
    that equals its baseline. Components: `goal_similarity` and `baseline_similarity`, x . g and x . b, means over
    pictures. The score has no standard deviation.

    Args:
        model: a folder as open_clip writes it, `hf-hub:owner/name`, or an architecture of open_clip.
        checkpoint: safetensors weights, for an architecture; pickled ones are refused.
        goals: fixed prompts instead of the answer's sentences.
        baseline: fixed prompts ("A blood smear field."), or "negation": for each claim of the answer what the
            clinical logic says of the concept's other values. Needed where alpha is above 0; at 0 it changes no
            score and only its similarity is told.
        logic: name or path of a clinical logic, for a negation.
        alpha: strength of the projection, in [0, 1].
        normalize: bring the mean of several prompts back to length 1.
        pool: "mean" or "max" over the pictures of a case.
        blank_images: show a grey picture instead of the case's images.
        batch_size: pictures or texts per forward pass.
        device: where it runs; "auto": the accelerator, if there is one.

    Raises:
        FileNotFoundError: no such model.
        ValueError: settings that do not go together, fixed prompts that the model cannot read whole, or fixed
            goals that equal the baseline.
    """

    needs_images = True

    def __init__(
        self,
        model: str | Path,
        *,
        checkpoint: str | Path | None = None,
        goals: Sequence[str] | None = None,
        baseline: Sequence[str] | str | None = None,
        logic: str | None = None,
        alpha: float = 0.0,
        normalize: bool = False,
        pool: Literal["mean", "max"] = "mean",
        blank_images: bool = False,
        batch_size: int = 64,
        device: str = "auto",
    ) -> None:
        self.goals = None if goals is None else prompt_list("goals", goals)
        self.baseline = ClipBaseline(baseline, logic)
        self.alpha, self.normalize, self.pool, self.blank_images = alpha, normalize, pool, blank_images
        if pool not in ("mean", "max"):
            raise ValueError(f"pool is {pool!r}, expected 'mean' or 'max': correct it.")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1: raise it.")
        if self.goals is not None and self.baseline.negation:
            raise ValueError(f"goals are fixed and baseline is {NEGATION!r}, of what the answer says: fix both.")
        self._check_alpha(alpha)
        self.clip = ClipBackbone(model, checkpoint, batch_size=batch_size, device=device)
        self._check_fixed(alpha)
        settings = [self.clip.digest, self.goals, self.baseline.settings, alpha, normalize, pool]
        self.name = f"clip@{config_hash(settings)[:8]}" + ("-blank" if blank_images else "")

    def _check_alpha(self, alpha: float) -> None:
        check_alpha(alpha)
        if alpha > 0 and not self.baseline.given:
            raise ValueError(
                f"alpha is {alpha} and baseline is not given: give prompts or {NEGATION!r}, or set alpha to 0."
            )

    def _check_fixed(self, alpha: float) -> None:
        """Refuse fixed prompts that can never be used."""
        fixed = {name: prompts for name, prompts in (("g", self.goals), ("b", self.baseline.prompts)) if prompts}
        means = {name: self._mean(self.clip.embed_texts(prompts)) for name, prompts in fixed.items()}
        if alpha > 0 and len(means) == 2 and bool(same_direction(means["g"], means["b"])):
            raise ValueError(
                "goals and baseline are equal in the model: give another baseline, or set alpha to 0."
            )

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`.

        Raises:
            ValueError: no images.
        """
        return self.alpha_sweep(cases, candidates, images, alphas=[self.alpha])[self.alpha]

    def alpha_sweep(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None,
        *,
        alphas: Sequence[float],
    ) -> dict[float, RewardOutput]:
        """Scores of N candidates at several alphas; every picture and text is embedded once.

        Args:
            cases: as for `score`.
            candidates: as for `score`.
            images: as for `score`.
            alphas: strengths of the projection, the own one is not added.

        Returns:
            Alpha -> scores. Each tells the operations of the one pass, which are not to be added up.

        Raises:
            ValueError: no images, no alpha, or one above 0 without a baseline.
        """
        check_aligned(cases, candidates, images)
        if images is None:
            raise ValueError("images is None: a CLIP reward looks at the images, give those of every case")
        if not alphas:
            raise ValueError("alphas is empty: give one or more strengths of the projection")
        for alpha in alphas:
            self._check_alpha(alpha)
        asked = [self._ask(*each) for each in zip(cases, candidates, images, strict=True)]
        able = [i for i, each in enumerate(asked) if each.reason is None]
        if not able:
            nothing = RewardOutput.of([None] * len(asked), reasons=[each.reason for each in asked])
            return dict.fromkeys(alphas, nothing)
        pictures, flops = self._pictures([images[i] for i in able])
        texts, cost = self._texts([asked[i] for i in able])
        embedded = dict(zip(able, zip(pictures, texts, strict=True), strict=True))
        return {alpha: self._output(asked, embedded, alpha, flops + cost) for alpha in alphas}

    def _ask(self, case: Case, candidate: Candidate, images: Sequence[Image.Image]) -> _Asked:
        if not images:
            return _Asked(reason=NO_IMAGE)
        turns = [message.text for message in candidate.messages if message.role == "assistant"]
        sentences = tuple(sentence for turn in turns for sentence in split_sentences(turn))
        if not sentences:
            return _Asked(reason=NO_TEXT)
        baseline, reason = self.baseline.of(case, candidate)
        if reason is not None:
            return _Asked(reason=reason)
        goal = self.goals or sentences
        refused = [why for text in (*goal, *baseline) if (why := self.clip.refusal(text)) is not None]
        return _Asked(goal, baseline, refused[0] if refused else None)

    def _pictures(self, images: Sequence[Sequence[Image.Image]]) -> tuple[list[Tensor], float]:
        """Embeddings of each answer's pictures (I, D), each picture embedded once, and the cost."""
        place: dict[int, int] = {}
        shown: list[Image.Image] = []
        for picture in (picture for own in images for picture in own):
            if id(picture) not in place:
                place[id(picture)] = len(shown)
                shown.append(blank_image(picture) if self.blank_images else picture)
        found = self.clip.embed_images(shown)
        rows = [found[[place[id(picture)] for picture in own]] for own in images]
        return rows, self.clip.flops(images=len(shown), texts=0)

    def _texts(self, asked: Sequence[_Asked]) -> tuple[list[tuple[Tensor, Tensor | None]], float]:
        """Goal and baseline of each answer (D,), each text embedded once, and the cost."""
        texts = list(dict.fromkeys(text for each in asked for text in (*each.goal, *each.baseline)))
        found = dict(zip(texts, self.clip.embed_texts(texts), strict=True))

        def mean(prompts: Sequence[str]) -> Tensor:
            return self._mean(torch.stack([found[text] for text in prompts]))

        rows = [(mean(each.goal), mean(each.baseline) if each.baseline else None) for each in asked]
        return rows, self.clip.flops(images=0, texts=len(texts))

    def _mean(self, embeddings: Tensor) -> Tensor:
        return prompt_mean(embeddings, normalize=self.normalize)

    def _output(
        self,
        asked: Sequence[_Asked],
        embedded: dict[int, tuple[Tensor, tuple[Tensor, Tensor | None]]],
        alpha: float,
        flops: float,
    ) -> RewardOutput:
        scores: list[float | None] = []
        reasons: list[str | None] = []
        components: list[dict[str, float]] = []
        for i, each in enumerate(asked):
            score, parts, reason = None, {}, each.reason
            if i in embedded:
                pictures, (goal, baseline) = embedded[i]
                score, reason = self._reward(pictures, goal, baseline, alpha)
            if score is not None:
                parts["goal_similarity"] = float((pictures @ goal).mean())
                if baseline is not None:
                    parts["baseline_similarity"] = float((pictures @ baseline).mean())
            scores.append(score)
            reasons.append(reason)
            components.append(parts)
        return RewardOutput.of(scores, reasons=reasons, components=components, flops=flops)

    def _reward(
        self, pictures: Tensor, goal: Tensor, baseline: Tensor | None, alpha: float
    ) -> tuple[float | None, str | None]:
        """Score of one answer for its pictures (I, D), or why there is none."""
        if alpha > 0 and baseline is not None and bool(same_direction(goal, baseline)):
            return None, SAME_AS_BASELINE
        rows = None if baseline is None else baseline.expand_as(pictures)
        each = goal_baseline_reward(pictures, goal.expand_as(pictures), rows, alpha=alpha)
        score = each.max() if self.pool == "max" else each.mean()
        if not bool(score.isfinite()):
            return None, "the model's embeddings are not finite"
        return float(score), None
