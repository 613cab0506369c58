"""The schema of results.json, and its check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vlmalign.evaluation.estimate import Estimate

#: what every scored arm tells, in the order of the tables
METRICS = (
    "whole_report_accuracy",
    "question_accuracy",
    "balanced_accuracy",
    "conversation_accuracy",
    "in_scope_accuracy",
    "out_of_scope_accuracy",
    "unsupported_known",
    "unsupported_unknown",
    "omissions",
    "path_consistency",
    "invalid_rate",
    "answer_tokens",
)
#: metrics that are shares, 0 to 1
SHARES = frozenset(METRICS) - {"answer_tokens"}
#: metrics of which less is better; answer length is neither
LOWER_IS_BETTER = frozenset({"unsupported_known", "unsupported_unknown", "omissions", "invalid_rate"})
COMPARISONS = (
    "dpo_minus_sft_more",
    "dpo_minus_sft_best_of_n",
    "dpo_minus_sft_edited",
    "dpo_shuffled_minus_sft_more",
    "dpo_shuffled_minus_sft_more_in_scope",
)


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Score(_Open):
    """One figure; it cannot lack its interval and counts."""

    mean: float | None
    low: float | None
    high: float | None
    n: int = Field(ge=0)
    excluded: int = Field(ge=0)

    @model_validator(mode="after")
    def _is_an_estimate(self) -> Score:
        Estimate.from_dict(self.model_dump(include={"mean", "low", "high", "n", "excluded"}))
        return self


class Comparison(_Open):
    """A paired difference and what it allows one to say."""

    mean: float | None
    low: float | None
    high: float | None
    conclusion: str = Field(min_length=1)


class RewardModel(_Open):
    """Accuracy on role-swapped pairs, with the picture and without, and the best-of-N curve by N."""

    role_swapped: Score
    role_swapped_blanked: Score
    seen_minus_blanked: Score
    best_of_n: dict[str, dict[str, Score]]


class Results(_Open):
    """The whole of results.json. Further keys are allowed everywhere; the named ones must hold what they name."""

    arms: dict[str, dict[str, Score]]
    sampled: dict[str, dict[str, Score]] | None = None
    baselines: dict[str, dict[str, Score]] | None = None
    comparisons: dict[str, Comparison] | None = None
    dpo_against_sft_more: dict[str, Score] | None = None
    reward_model: RewardModel | None = None
    expert: dict[str, Score] | None = None
    seconds: dict[str, float] | None = None
    flops: dict[str, float] | None = None
    n_groups: dict[str, int] | None = None
    seed: int | None = None
    versions: dict[str, str] | None = None


def check_results(results: Mapping[str, Any], *, complete: bool = False) -> Results:
    """Check a results.json, as read.

    Args:
        results: the parsed JSON.
        complete: also require every section, metric and comparison of the demo.

    Returns:
        The checked results as a model.

    Raises:
        ValueError: naming each offending key, its value and the rule.

    Example:
        >>> score = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 10, "excluded": 0}
        >>> sorted(check_results({"arms": {"sft": {"invalid_rate": score}}}).arms)
        ['sft']
    """
    try:
        checked = Results.model_validate(results)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r:.80})" for e in error.errors()]
        raise ValueError("results do not follow the schema of results.json:\n  " + "\n  ".join(lines)) from error
    problems = _shares_outside(checked)
    if complete:
        problems += _missing(checked)
    if problems:
        raise ValueError("results do not follow the schema of results.json:\n  " + "\n  ".join(problems))
    return checked


def _tables(results: Results) -> dict[str, dict[str, dict[str, Score]]]:
    tables = {"arms": results.arms, "sampled": results.sampled, "baselines": results.baselines}
    return {name: table for name, table in tables.items() if table is not None}


def _shares_outside(results: Results) -> list[str]:
    problems = []
    for section, table in _tables(results).items():
        for arm, metrics in table.items():
            for metric in SHARES & set(metrics):
                mean = metrics[metric].mean
                if mean is not None and not -1e-9 <= mean <= 1 + 1e-9:
                    problems.append(f"{section}.{arm}.{metric}: mean {mean} is not a share between 0 and 1")
    return sorted(problems)


def _missing(results: Results) -> list[str]:
    problems = [
        f"{name}: section is missing"
        for name in Results.model_fields
        if name != "flops" and getattr(results, name) is None
    ]
    required = [m for m in METRICS if m != "omissions"]
    for section, table in _tables(results).items():
        if section != "baselines":
            problems += [
                f"{section}.{arm}.{metric}: missing"
                for arm, metrics in table.items()
                for metric in required
                if metric not in metrics
            ]
    problems += [
        f"comparisons.{name}: missing"
        for name in COMPARISONS
        if results.comparisons is not None and name not in results.comparisons
    ]
    problems += [
        f"dpo_against_sft_more.{name}: missing"
        for name in required
        if results.dpo_against_sft_more is not None and name not in results.dpo_against_sft_more
    ]
    problems += [
        f"expert.{name}: missing"
        for name in ("dice", "count_mae")
        if results.expert is not None and name not in results.expert
    ]
    problems += [
        f"n_groups.{name}: missing"
        for name in ("expert", "labelled", "unlabelled", "test")
        if results.n_groups is not None and name not in results.n_groups
    ]
    return problems
