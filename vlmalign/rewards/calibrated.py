"""Any reward with its calibration: scores that are probabilities, and abstention where they are not sure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.records.scores import MEMBER
from vlmalign.rewards.calibration_file import Calibration
from vlmalign.rewards.protocol import MarginReward, Reward, RewardOutput, experts_behind
from vlmalign.rewards.registry import load_reward


class Preferred(NamedTuple):
    """Of two answers, how probably the first is the better one.

    Attributes:
        p: probability; NaN where one of the two could not be scored.
        p0: lower end of the Venn-ABERS interval.
        p1: upper end.
        kept: whether the rule keeps it; False where it abstains or there is no score.
        reason: why it is not kept.
    """

    p: float
    p0: float
    p1: float
    kept: bool
    reason: str | None


class CalibratedReward:
    """A reward whose scores went through a calibration that was fitted to it.

    Fitted to answers, the score is the probability that the answer is right, with the components `raw`,
    `probability`, `p0`, `p1` and, where there is a rule, `abstained`, which an answer keeps that the rule made
    invalid. Fitted to pairs, the probability is that of two answers (`prefer`); a single answer has a score by
    temperature or Platt without standard deviations only: its log-odds, so that the difference of two is the
    log-odds that the first is better.

    Args:
        reward: a reward, or the name of one.
        calibration: the file that `vlmalign calibrate` wrote.
        settings: of the named reward.
        abstain: whether answers on which the rule abstains are invalid, with the reason `abstained: ...`.
        score: "raw": keep the reward's own score, with the probability beside it.

    Raises:
        ValueError: a calibration fitted to another reward; `abstain` without a rule.
    """

    def __init__(
        self,
        reward: str | Reward,
        calibration: str | Path | Calibration,
        *,
        settings: Mapping[str, Any] | None = None,
        abstain: bool = False,
        score: Literal["calibrated", "raw"] = "calibrated",
    ) -> None:
        if isinstance(reward, str):
            reward = load_reward(reward, **(settings or {}))
        elif settings:
            raise ValueError("settings are given and reward is no name: make the reward with them")
        if score not in ("calibrated", "raw"):
            raise ValueError(f"score is {score!r}: use 'calibrated' or 'raw'")
        found = calibration if isinstance(calibration, Calibration) else Calibration.load(calibration)
        found.check_judge(reward.name)
        if abstain and found.abstention is None:
            raise ValueError("abstain is true and the calibration has no rule: calibrate with --rule")
        self.reward = reward
        self.calibration = found
        self.abstain = abstain
        self.raw = score == "raw"
        self.needs_images = reward.needs_images
        self.experts = experts_behind(reward)
        self.name = f"calibrated@{config_hash([reward.name, found.digest, abstain, score])[:8]}"

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`. What the reward could not score stays invalid.

        Raises:
            ValueError: a calibration of pairs that gives a single answer no score.
        """
        if self.calibration.target == "pair":
            self._check_single()
        output = self.reward.score(cases, candidates, images)
        valid = np.array(output.valid, dtype=bool)
        raw = np.array(output.mean, dtype=np.float64)
        if self.calibration.target == "pair":
            slope = 1.0 if self.raw else self.calibration.calibrator.slope  # type: ignore[union-attr]
            return self._output(output, raw * slope, {"raw": raw}, list(output.reasons), slope)
        columns = {name: np.full(len(raw), math.nan) for name in ("probability", "p0", "p1")}
        if valid.any():
            found = self.calibration.predict(raw[valid], np.array(output.std, dtype=np.float64)[valid])
            for column, values in zip(columns.values(), found, strict=True):
                column[valid] = values
        p = columns["probability"]
        reasons = list(output.reasons)
        if self.calibration.abstention is not None:
            kept = np.ones(len(raw), dtype=bool)
            kept[valid] = self.calibration.keeps(p[valid])
            columns["abstained"] = np.where(valid, ~kept, math.nan)
            if self.abstain:
                for i in np.flatnonzero(valid & ~kept):
                    reasons[i] = self.calibration.abstention.reason(float(p[i]))
        mean, scale = (raw, 1.0) if self.raw else (p, math.nan)
        return self._output(output, mean, {"raw": raw, **columns}, reasons, scale)

    def _output(
        self,
        output: RewardOutput,
        mean: np.ndarray,
        columns: Mapping[str, np.ndarray],
        reasons: Sequence[str | None],
        scale: float,
    ) -> RewardOutput:
        """The wrapped reward's output with other means, which are `scale` times its own; NaN: no multiple of them.

        Steps, which add up to the reward's own score, are kept where that is the mean still. Members' scores, from
        which a pair's doubt is read, are brought to the same scale, or left out where there is none.
        """
        steps = None
        if output.steps is not None and scale == 1.0:
            steps = tuple(None if reason else own for own, reason in zip(output.steps, reasons, strict=True))
        return RewardOutput(
            mean=tuple(math.nan if reason else float(x) for x, reason in zip(mean, reasons, strict=True)),
            std=tuple(math.nan if why else s * scale for s, why in zip(output.std, reasons, strict=True)),
            valid=tuple(reason is None for reason in reasons),
            reasons=tuple(reasons),
            components={
                **_on_scale(output.components, scale),
                **{name: tuple(map(float, values)) for name, values in columns.items()},
            },
            critiques=output.critiques,
            steps=steps,
            flops=output.flops,
        )

    def prefer(
        self,
        cases: Sequence[Case],
        first: Sequence[Candidate],
        second: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> list[Preferred]:
        """How probably the first of two answers to each of N cases is the better one.

        Swapping the two turns p into 1 - p and [p0, p1] into [1 - p1, 1 - p0].

        Raises:
            ValueError: the calibration is not one of pairs.
        """
        if self.calibration.target != "pair":
            raise ValueError("the calibration is one of single answers: calibrate with --target pair")
        outputs, spreads = self._score_both(cases, first, second, images)
        means = np.array([output.mean for output in outputs], dtype=np.float64).reshape(2, -1)
        scored = np.asarray(np.isfinite(means).all(axis=0))
        margins = means[0] - means[1]
        found = self.calibration.predict(margins[scored], spreads[scored])
        kept = self.calibration.keeps(found.p)
        results = []
        at = iter(range(len(found.p)))
        for i, known in enumerate(scored.tolist()):
            if not known:
                why = next(output.reasons[i] for output in outputs if not output.valid[i])
                results.append(Preferred(math.nan, math.nan, math.nan, False, why))
                continue
            k = next(at)
            p = float(found.p[k])
            rule = self.calibration.abstention
            reason = None if kept[k] or rule is None else rule.reason(p)
            results.append(Preferred(p, float(found.p0[k]), float(found.p1[k]), bool(kept[k]), reason))
        return results

    def _score_both(
        self,
        cases: Sequence[Case],
        first: Sequence[Candidate],
        second: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None,
    ) -> tuple[list[RewardOutput], np.ndarray]:
        """Outputs of both answers, and the std of each difference as the calibration had it; see `margin_std`."""
        if isinstance(self.reward, MarginReward):
            found = self.reward.score_margins(cases, first, second, images)
            outputs, told = [found.firsts, found.seconds], np.array(found.std, dtype=np.float64)
        else:
            outputs = [self.reward.score(cases, side, images) for side in (first, second)]
            told = np.full(len(cases), math.nan)
        stds = np.array([output.std for output in outputs], dtype=np.float64).reshape(2, -1)
        return outputs, np.where(np.isnan(told), np.hypot(stds[0], stds[1]), told)

    def _check_single(self) -> None:
        fitted = self.calibration.calibrator
        if self.abstain:
            raise ValueError(
                "abstain is true and the calibration is one of pairs: a rule on pairs says nothing of one answer. "
                "Use prefer(), or calibrate with --target answer."
            )
        if fitted.method in ("isotonic", "venn_abers") or getattr(fitted, "uses_std", False):
            raise ValueError(
                f"the calibration is one of pairs by {fitted.method}, in which a single answer has no score: use "
                "prefer(), calibrate pairs by temperature, or calibrate with --target answer"
            )
        if getattr(fitted, "slope", 1.0) == 0 and not self.raw:
            raise ValueError(
                "the calibration's slope is 0: the reward ordered its pairs no better than a coin, and all "
                "answers would score the same. Use another reward."
            )


def _on_scale(components: Mapping[str, tuple[float, ...]], scale: float) -> dict[str, tuple[float, ...]]:
    """Components with the members' scores times `scale`; without them where it is NaN."""
    members = {name for name in components if name.startswith(MEMBER)}
    kept = {name: values for name, values in components.items() if name not in members}
    if math.isnan(scale):
        return kept
    return kept | {name: tuple(value * scale for value in components[name]) for name in members}
