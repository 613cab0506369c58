"""The shortcut audit: what a reward's accuracy rests on, in figures and in plain verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.evaluation.judged_pairs import JudgedPair, JudgedPairs
from vlmalign.evaluation.length_bias import as_dicts, length_figures, tokens, words
from vlmalign.evaluation.reward_metrics import accuracy_difference, pair_figures
from vlmalign.evaluation.style_bias import STYLES, StyleFigures, style_figures
from vlmalign.records.scores import SIDES

ROUNDING = 1e-6  # relative: what the order of a batch may change in a score


class Verdict(NamedTuple):
    """A plain word on one possible shortcut.

    Attributes:
        about: `image`, `wrong image`, `answer alone`, `length`, or `style`.
        verdict: a few words.
        sentence: the figures behind them, and how far they go.
    """

    about: str
    verdict: str
    sentence: str


def shortcut_figures(variants: Mapping[str, JudgedPairs], *, takes_images: bool) -> dict[str, Any]:
    """All figures of an audit, as the JSON file holds them, and the verdicts.

    Args:
        variants: name of a variant -> the same pairs with its scores; `seen` is among them.
        takes_images: whether the reward takes pictures at all.

    Returns:
        `judge`, `criterion`, `takes_images`; `variants`: of each the figures of `pair_figures`, and but for `seen`
        `seen_minus` (paired difference of accuracy) and `changed` (share of the pairs of which a score changed);
        `length`: by `words` and, where all pairs record them, `tokens`; `style` where both styles were scored; and
        `verdicts`.

    Raises:
        ValueError: `seen` is missing, or two variants are of different pairs.
    """
    if "seen" not in variants:
        raise ValueError(f"variants are {sorted(variants)}: add 'seen', which all are held against")
    seen = variants["seen"]
    of_variants: dict[str, dict[str, Any]] = {}
    for name, judged in variants.items():
        of_variants[name] = pair_figures(judged.pairs).to_dict()
        if name != "seen":
            of_variants[name]["seen_minus"] = seen_minus(seen, judged).to_dict()
            of_variants[name]["changed"] = share_changed(seen, judged).to_dict()
    length = {"words": as_dicts(length_figures(seen, words))}
    if all(tokens(pair, side) is not None for pair in seen.pairs for side in SIDES):
        length["tokens"] = as_dicts(length_figures(seen, tokens))
    style = style_figures(*(variants[name] for name in STYLES)) if set(STYLES) <= set(variants) else None
    return {
        "judge": seen.judge,
        "criterion": seen.criterion,
        "takes_images": takes_images,
        "variants": of_variants,
        "length": length,
        "style": None if style is None else style.to_dict(),
        "verdicts": [v._asdict() for v in _verdicts(variants, length["words"], style, takes_images)],
    }


def seen_minus(seen: JudgedPairs, other: JudgedPairs) -> Estimate:
    """Paired difference of accuracy (ties one half) with the pairs as they are and changed."""
    return accuracy_difference(seen, other)


def share_changed(seen: JudgedPairs, other: JudgedPairs) -> Estimate:
    """Share of the pairs, scored both times, of which either answer's score changed by more than rounding."""
    changed = [_changed(a, b) for a, b in zip(seen.pairs, other.pairs, strict=True)]
    return cluster_estimate(changed, seen.groups, proportion=True)


def _changed(a: JudgedPair, b: JudgedPair) -> float | None:
    before, after = (a.chosen, a.rejected), (b.chosen, b.rejected)
    found = False
    for x, y in zip(before, after, strict=True):
        if x is None or y is None:
            return None
        found = found or abs(x - y) > ROUNDING * max(1.0, abs(x), abs(y))
    return float(found)


def _verdicts(
    variants: Mapping[str, JudgedPairs],
    length: Mapping[str, Mapping[str, Any]],
    style: StyleFigures | None,
    takes_images: bool,
) -> Sequence[Verdict]:
    seen = variants["seen"]
    found = []
    if not takes_images:
        sentence = "It takes no picture, so that blanking and swapping them does not apply: text alone decides."
        found.append(Verdict("image", "takes no image", sentence))
    if "blanked" in variants:
        found.append(image_verdict(seen, variants["blanked"]))
    if "swapped" in variants:
        found.append(swapped_verdict(seen, variants["swapped"]))
    if "answer_only" in variants:
        found.append(answer_verdict(seen, variants["answer_only"]))
    found.append(length_verdict({name: Estimate.from_dict(score) for name, score in length.items()}))
    if style is not None:
        found.append(style_verdict(style))
    return found


def image_verdict(seen: JudgedPairs, blanked: JudgedPairs) -> Verdict:
    """Whether the picture is worth anything: `uses the image` where seen minus blanked lies above zero."""
    difference, changed = seen_minus(seen, blanked), share_changed(seen, blanked)
    if _unknown(difference):
        return Verdict("image", "not known", _why_unknown(difference, "with the picture and without"))
    told = f"Blanking the picture costs {points(difference)}"
    if changed.mean == 0:
        return Verdict("image", "ignores the image", f"No score changes when the picture is blanked. {told}.")
    if _above(difference):
        return Verdict("image", "uses the image", f"{told}.")
    return Verdict("image", "ignores the image", f"{told}: not above zero.{_may_hide(difference)}")


def swapped_verdict(seen: JudgedPairs, swapped: JudgedPairs) -> Verdict:
    """Whether it must be the right picture: `minds the wrong image` where seen minus swapped lies above zero."""
    difference = seen_minus(seen, swapped)
    if _unknown(difference):
        why = _why_unknown(difference, "with its own picture and with another's")
        return Verdict("wrong image", "not known", why)
    told = f"Another group's picture costs {points(difference)}"
    if _above(difference):
        return Verdict("wrong image", "minds the wrong image", f"{told}.")
    return Verdict(
        "wrong image", "does not mind the wrong image", f"{told}: not above zero.{_may_hide(difference)}"
    )


def answer_verdict(seen: JudgedPairs, answer_only: JudgedPairs) -> Verdict:
    """Whether more than the answer matters: `goes by the answer alone` where seen minus that is not above zero."""
    difference = seen_minus(seen, answer_only)
    alone = pair_figures(answer_only.pairs).accuracy
    if _unknown(difference):
        return Verdict("answer alone", "not known", _why_unknown(difference, "whole and by its answers alone"))
    told = f"Without question and picture {points(difference)} are lost"
    tell = ""
    if alone.low is not None and alone.low > 0.5:
        tell = f" The answers alone give {100 * (alone.mean or 0.0):.1f} % of the labels away: better than a coin."
    if _above(difference):
        return Verdict("answer alone", "needs more than the answer", f"{told}.{tell}")
    return Verdict(
        "answer alone", "goes by the answer alone", f"{told}: not above zero.{_may_hide(difference)}{tell}"
    )


def length_verdict(figures: Mapping[str, Estimate]) -> Verdict:
    """Whether length sways it: accuracy where the longer answer is right against where the shorter one is."""
    gap, rho, rule = (figures[name] for name in ("longer_minus_shorter", "spearman", "longer_wins"))
    told = "" if rho.mean is None else f" Rank correlation with length within prompts {_number(rho)}."
    if rule.mean is not None:
        told += f" The rule that the longer answer wins gets {100 * rule.mean:.1f} %."
    if gap.mean is None:
        short = "There are no pairs of both kinds, right answer longer and right answer shorter, to compare."
        return Verdict("length", "not known", short + told)
    sentence = f"It is right {points(gap)} more often where the longer answer is the better one.{told}"
    if _above(gap):
        return Verdict("length", "favours longer answers", sentence)
    if gap.high is not None and gap.high < 0:
        return Verdict("length", "favours shorter answers", sentence)
    return Verdict("length", "no leaning to length shown", sentence + _may_hide(gap))


def style_verdict(style: StyleFigures) -> Verdict:
    """Whether marks sway it: easy minus hard pairs of the style matrix."""
    gap = style.gap
    if _unknown(gap):
        return Verdict("style", "not known", _why_unknown(gap, "in both styles"))
    sentence = (
        f"A list with bold heads on the better rather than on the worse answer is worth {points(gap)}; "
        f"a right plain answer beats a wrong list in {100 * (style.hard.mean or 0.0):.1f} % of the pairs."
    )
    if _above(gap):
        return Verdict("style", "favours lists with bold heads", sentence)
    if gap.high is not None and gap.high < 0:
        return Verdict("style", "favours plain sentences", sentence)
    return Verdict("style", "no leaning to style shown", sentence + _may_hide(gap))


def points(difference: Estimate) -> str:
    """A difference of shares in words.

    Example:
        >>> points(Estimate(0.05, -0.01, 0.11, 40, 20, 0, "t"))
        '+5.0 points (95% interval -1.0 to +11.0)'
    """
    if difference.mean is None:
        return "an unknown number of points"
    if difference.low is None or difference.high is None:
        return f"{100 * difference.mean:+.1f} points (no interval: {difference.n_groups} group)"
    return (
        f"{100 * difference.mean:+.1f} points "
        f"(95% interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
    )


def _number(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:+.2f}"
    return f"{estimate.mean:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})"


def _above(difference: Estimate) -> bool:
    return difference.low is not None and difference.low > 0


def _unknown(difference: Estimate) -> bool:
    """Nothing compared, or one group, of which no interval can be had."""
    return difference.low is None


def _why_unknown(difference: Estimate, how: str) -> str:
    if difference.mean is None:
        return f"No pair was scored {how}."
    return f"A difference of {points(difference)}: give pairs of more groups."


def _may_hide(difference: Estimate) -> str:
    """What so few data may have missed."""
    if difference.high is None or difference.high <= 0:
        return ""
    return f" Up to {100 * difference.high:.0f} points are not ruled out by so few data."
