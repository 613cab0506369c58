"""Dropping records: noisy pairs and poor demonstrations by a reward, and any record by its content.

Nothing is dropped silently: see `filter_task`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_builders.content_rules import ContentRules
from data_builders.filter_rules import DemonstrationRules, PairRules, too_long, words
from data_builders.filter_task import DROPPED, UNSCORED, Decision, Share, Task, read_dropped, run_task
from data_builders.reward_scores import margin_of
from vlmalign.records import Case, Demonstration, Preference, RecordFolder
from vlmalign.records.scores import Scores, read_scores

__all__ = ["DROPPED", "filter_cases", "filter_demonstrations", "filter_pairs", "read_dropped"]


def filter_pairs(
    pairs: str | Path,
    out: str | Path,
    *,
    rules: PairRules | None = None,
    judged: str | Path | None = None,
    contents: ContentRules | None = None,
    against: Sequence[str | Path] = (),
    overwrite: bool = False,
) -> Path:
    """Write the pairs that meet the rules, unchanged (but for weights that balance) and in their order.

    Args:
        pairs: Preference folder.
        out: the new Preference folder, with `dropped.jsonl`.
        rules: of length and reward.
        judged: judgements of the pairs by `vlmalign score --pairs`; needed by all rules but those of length.
        contents: rules of content: leakage, duplicates, balance.
        against: folders of evaluation, with which no group and no picture may be shared.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `given`, `dropped` and of them, by the first reason, `dropped:disagrees`
        (margin below zero), `dropped:small_margin`, `dropped:uncertain`, `dropped:large_std`, `dropped:too_long`,
        `dropped:unscored`, `dropped:shares_group`, `dropped:shares_picture`, `dropped:shares_near_picture`,
        `dropped:duplicate_record`, `dropped:duplicate_picture`, `dropped:duplicate_text`,
        `dropped:not_in_top_share` and `dropped:class_balance`; `kept_unscored` where those are kept,
        `weighed_less`, and `without_class`, which no balance looked at.

    Raises:
        ValueError: no rule, a rule that needs judgements and none are given, or judgements that no rule needs.
        DataError: a folder that cannot be used, judgements of other pairs, a std that is missing and needed, or
            leakage that is refused.
    """
    folder = RecordFolder(pairs, Preference)
    by_reward = [] if rules is None else rules.by_reward
    if by_reward and judged is None:
        named = ", ".join(by_reward)
        raise ValueError(f"{named}: this goes by a reward. Give judged, made by `vlmalign score --pairs`.")
    if judged is not None and not by_reward:
        raise ValueError("judged is given, and no rule goes by a reward: drop it, or set min_margin or another")
    scores = None if judged is None else read_scores(judged, of=folder.sha256, made_from="pairs")
    share = None
    if rules is not None and rules.top_share is not None:
        share = Share(rules.top_share, "not_in_top_share")

    def judge(pair: Preference) -> Decision:
        return Decision() if rules is None else _judge_pair(pair, scores, rules)

    task = Task(folder, "preference", judge, share, rules, scores, contents, against)
    return run_task(task, out, overwrite)


def filter_demonstrations(
    demonstrations: str | Path,
    out: str | Path,
    *,
    rules: DemonstrationRules | None = None,
    judged: str | Path | None = None,
    contents: ContentRules | None = None,
    against: Sequence[str | Path] = (),
    overwrite: bool = False,
) -> Path:
    """Write the demonstrations that meet the rules, unchanged (but for weights that balance) and in their order.

    Args:
        demonstrations: Demonstration folder.
        out: the new Demonstration folder, with `dropped.jsonl`.
        rules: by scores.
        judged: judgements of them by `vlmalign score --demonstrations`; needed with `rules`.
        contents: rules of content: leakage, duplicates, balance.
        against: folders of evaluation, with which no group and no picture may be shared.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `given`, `dropped` and of them, by the first reason, `dropped:low_score`,
        `dropped:large_std`, `dropped:unscored`, `dropped:among_lowest`, and those of content as `filter_pairs`
        does; `kept_unscored` where those are kept.

    Raises:
        ValueError: no rule, or scores without rules or the reverse.
        DataError: a folder that cannot be used, judgements of others, a std that is missing and needed, or leakage
            that is refused.
    """
    folder = RecordFolder(demonstrations, Demonstration)
    if (rules is None) != (judged is None):
        raise ValueError("rules by score and judged, made by `vlmalign score`, belong together: give both or none")
    scores = None if judged is None else read_scores(judged, of=folder.sha256, made_from="demonstrations")
    share = None
    if rules is not None and rules.drop_lowest is not None:
        share = Share(1 - rules.drop_lowest, "among_lowest", of_all=True)

    def judge(record: Demonstration) -> Decision:
        return Decision() if rules is None or scores is None else _judge_demonstration(record, scores, rules)

    task = Task(folder, "demonstration", judge, share, rules, scores, contents, against)
    return run_task(task, out, overwrite)


def filter_cases(
    cases: str | Path,
    out: str | Path,
    *,
    contents: ContentRules | None = None,
    against: Sequence[str | Path] = (),
    overwrite: bool = False,
) -> Path:
    """Write the cases that meet rules of content, unchanged and in their order; see `filter_pairs`.

    Args:
        cases: Case folder.
        out: the new Case folder, with `dropped.jsonl`.
        contents: rules of content: leakage, duplicates, balance (cases have no weight: by sample only).
        against: folders of evaluation, with which no group and no picture may be shared.
        overwrite: replace a folder built with other settings.
    """
    task = Task(RecordFolder(cases, Case), "case", lambda case: Decision(), None, None, None, contents, against)
    return run_task(task, out, overwrite)


def _judge_pair(pair: Preference, scores: Scores | None, rules: PairRules) -> Decision:
    found = Decision()
    if scores is not None:
        needs = [name for name in ("min_certainty", "max_std") if getattr(rules, name) is not None]
        margin = margin_of(pair, scores, std_for=needs[0] if needs else None)
        found.rank = margin.value
        if margin.value is None:
            found.figures["unscored"] = margin.reason
            found.reasons += [UNSCORED] if rules.unscored == "drop" else []
        else:
            found.figures |= {"margin": margin.value, "std": margin.std}
            if rules.min_margin is not None and margin.value < rules.min_margin:
                found.reasons.append("disagrees" if margin.value < 0 else "small_margin")
            certainty = margin.certainty
            if rules.min_certainty is not None and certainty is not None and certainty < rules.min_certainty:
                found.reasons.append("uncertain")
            if rules.max_std is not None and margin.std is not None and margin.std > rules.max_std:
                found.reasons.append("large_std")
    lengths = words(pair.chosen), words(pair.rejected)
    if too_long(*lengths, rules):
        found.reasons.append("too_long")
        found.figures |= {"chosen_words": lengths[0], "rejected_words": lengths[1]}
    return found


def _judge_demonstration(record: Demonstration, scores: Scores, rules: DemonstrationRules) -> Decision:
    score = scores.score(record.id)
    if score is None:
        reasons = [UNSCORED] if rules.unscored == "drop" else []
        return Decision(reasons, {"unscored": scores.reason(record.id)})
    std = scores.std(record.id) if rules.max_std is None else scores.known_std(record.id, "max_std")
    found = Decision([], {"score": score, "std": std}, score)
    if rules.min_score is not None and score < rules.min_score:
        found.reasons.append("low_score")
    if rules.max_std is not None and std is not None and std > rules.max_std:
        found.reasons.append("large_std")
    return found
