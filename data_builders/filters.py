"""Dropping noisy pairs and poor demonstrations by a reward's judgements; nothing is dropped silently.

Every record that is dropped is a line of `dropped.jsonl` beside the records: its id, all rules that it broke, and
the figures by which. The manifest counts it once, under the first of them, and holds the rules.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from data_builders.filter_rules import DemonstrationRules, PairRules, too_long, words
from data_builders.reward_scores import margin_of
from vlmalign.records import DataError, DatasetBuild, Demonstration, Preference, RecordFolder
from vlmalign.records.hashing import sha256_bytes
from vlmalign.records.manifest import Kind, strictest
from vlmalign.records.scores import Scores, read_scores
from vlmalign.records.writing import write_atomic

DROPPED = "dropped.jsonl"
UNSCORED = "unscored"
ROUNDING = 1e-9

Filtered = TypeVar("Filtered", Preference, Demonstration)


@dataclass
class Decision:
    """What becomes of one record.

    Attributes:
        reasons: rules that it breaks; empty: it is kept.
        figures: what decided, as `dropped.jsonl` tells it.
        rank: by which shares are taken, the higher the better; None: unscored.
    """

    reasons: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    rank: float | None = None


def filter_pairs(
    pairs: str | Path,
    out: str | Path,
    *,
    rules: PairRules,
    judged: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the pairs that meet the rules, unchanged and in their order.

    Args:
        pairs: Preference folder.
        out: the new Preference folder, with `dropped.jsonl`.
        rules: which pairs are kept.
        judged: judgements of the pairs by `vlmalign score --pairs`; needed by all rules but those of length.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `given`, `dropped` and of them, by the first reason, `dropped:disagrees`
        (margin below zero), `dropped:small_margin`, `dropped:uncertain`, `dropped:large_std`, `dropped:too_long`,
        `dropped:unscored` and `dropped:not_in_top_share`; `kept_unscored` where those are kept.

    Raises:
        ValueError: a rule that needs judgements, and none are given; or judgements that no rule needs.
        DataError: a folder that cannot be used, judgements of other pairs, or a std that is missing and needed.
    """
    folder = RecordFolder(pairs, Preference)
    if rules.by_reward and judged is None:
        named = ", ".join(rules.by_reward)
        raise ValueError(f"{named}: this goes by a reward. Give judged, made by `vlmalign score --pairs`.")
    if judged is not None and not rules.by_reward:
        raise ValueError("judged is given, and no rule goes by a reward: drop it, or set min_margin or another")
    scores = None if judged is None else read_scores(judged, of=folder.sha256, made_from="pairs")
    records = list(folder)
    decisions = [_judge_pair(pair, scores, rules) for pair in records]
    if rules.top_share is not None:
        _keep_share([d for d in decisions if not d.reasons], rules.top_share, "not_in_top_share")
    return _write(_Decided(folder, records, decisions, scores), out, "preference", rules, overwrite)


def filter_demonstrations(
    demonstrations: str | Path,
    out: str | Path,
    *,
    rules: DemonstrationRules,
    judged: str | Path,
    overwrite: bool = False,
) -> Path:
    """Write the demonstrations that meet the rules, unchanged and in their order.

    Args:
        demonstrations: Demonstration folder.
        out: the new Demonstration folder, with `dropped.jsonl`.
        rules: which are kept.
        judged: judgements of them by `vlmalign score --demonstrations`.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `given`, `dropped` and of them, by the first reason, `dropped:low_score`,
        `dropped:large_std`, `dropped:unscored` and `dropped:among_lowest`; `kept_unscored` where those are kept.

    Raises:
        DataError: a folder that cannot be used, judgements of others, or a std that is missing and needed.
    """
    folder = RecordFolder(demonstrations, Demonstration)
    scores = read_scores(judged, of=folder.sha256, made_from="demonstrations")
    records = list(folder)
    decisions = [_judge_demonstration(record, scores, rules) for record in records]
    if rules.drop_lowest is not None:
        _keep_share(decisions, 1 - rules.drop_lowest, "among_lowest")
    return _write(_Decided(folder, records, decisions, scores), out, "demonstration", rules, overwrite)


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


def _keep_share(decisions: Sequence[Decision], share: float, reason: str) -> None:
    """Mark what is not in the upper share, rounded up, of the scored records; of equals the earlier are kept."""
    scored = [decision for decision in decisions if decision.rank is not None]
    keep = math.ceil(share * len(scored) - ROUNDING)
    for decision in sorted(scored, key=lambda d: -(d.rank or 0.0))[keep:]:
        decision.reasons.append(reason)


@dataclass(frozen=True)
class _Decided(Generic[Filtered]):
    """A folder, its records, what becomes of each, and by which scores."""

    folder: RecordFolder[Filtered]
    records: Sequence[Filtered]
    decisions: Sequence[Decision]
    scores: Scores | None


def _write(
    decided: _Decided[Filtered],
    out: str | Path,
    kind: Kind,
    rules: PairRules | DemonstrationRules,
    overwrite: bool,
) -> Path:
    """Write what is kept, and the list of what is not."""
    folder, records, decisions = decided.folder, decided.records, decided.decisions
    scores: Scores | None = decided.scores
    lines = [
        json.dumps({"id": record.id, "reasons": d.reasons, **d.figures}, sort_keys=True, ensure_ascii=False)
        for record, d in zip(records, decisions, strict=True)
        if d.reasons
    ]
    dropped = "".join(f"{line}\n" for line in lines).encode()
    config = {
        "builder": "filter@1",
        f"{kind}s": folder.sha256,
        "judged": None if scores is None else scores.sha256,
        "judge": None if scores is None else scores.judge,
        "criterion": None if scores is None else scores.criterion,
        "rules": rules.model_dump(),
    }
    told = f"{DROPPED} lists the {len(lines)} records that were dropped, and why; SHA-256 {sha256_bytes(dropped)}"
    notes = {**folder.manifest.notes, "dropped": told}
    data_use = strictest([folder.manifest.data_use, *([] if scores is None else [scores.data_use])])
    with DatasetBuild(out, kind, config, overwrite=overwrite, notes=notes, data_use=data_use) as build:
        if not build.finished:
            for record, decision in zip(records, decisions, strict=True):
                if not build.has(record.id):
                    _commit(build, folder, record, decision)
        if not build.finished or not (build.path / DROPPED).is_file():
            write_atomic(build.path / DROPPED, dropped)
    return build.path


def _commit(build: DatasetBuild, folder: RecordFolder[Filtered], record: Filtered, decision: Decision) -> None:
    counts: Counter[str] = Counter(given=1)
    if decision.reasons:
        build.commit(record.id, [], counts + Counter({"dropped": 1, f"dropped:{decision.reasons[0]}": 1}))
        return
    for image in record.images:
        build.adopt(image, folder.path)
    build.commit(record.id, [record], counts + Counter(kept_unscored=int("unscored" in decision.figures)))


def read_dropped(folder: str | Path) -> list[dict[str, Any]]:
    """What a filter dropped, in the order of the records: `id`, `reasons`, and the figures that decided.

    Raises:
        DataError: the folder was not written by a filter.
    """
    path = Path(folder) / DROPPED
    if not path.is_file():
        raise DataError("no dropped.jsonl is here", "Pass a folder that a filter wrote.", file=folder)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
