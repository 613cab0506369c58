"""Two models over many tasks, each with the prompt that suits it: wins, ties and losses, tested and raw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import paired_difference
from vlmalign.evaluation.paired_tests import holm, paired_p

Outcome = Literal["win", "tie", "loss", "not compared"]
Scores = Sequence[float | None]


class PromptScores(NamedTuple):
    """One model's scores with one prompt: on the validation items that choose it, and on the test items."""

    validation: Scores
    test: Scores


@dataclass(frozen=True)
class TaskScores:
    """Two models on one task; all prompts on the same items in the same order.

    Attributes:
        first: prompt -> scores of the first model.
        second: prompt -> scores of the second.
        groups: cluster of each test item.
    """

    first: Mapping[str, PromptScores]
    second: Mapping[str, PromptScores]
    groups: Sequence[Hashable]


@dataclass(frozen=True)
class TaskOutcome:
    """Who is better on one task.

    Attributes:
        outcome: win of the first model if the whole interval lies above 0, loss if below, else a tie.
        raw: by the sign of the difference alone.
        difference: first - second on the test items.
        p: of no difference.
        p_holm: the same, for all tasks together.
        prompts: the chosen one of each model.
        one_prompt: the outcome with the first model's prompt used for both, if the second was run with it.
    """

    outcome: Outcome
    raw: Outcome
    difference: Estimate
    p: float | None
    p_holm: float | None
    prompts: tuple[str, str]
    one_prompt: Outcome | None


@dataclass(frozen=True)
class WinTieLoss:
    """Many tasks.

    Attributes:
        tasks: each task's outcome.
        tested: how many wins, ties, losses, and tasks that could not be compared.
        raw: the same by the sign alone, which calls noise a win.
        after_holm: the same where only an adjusted p below 0.05 decides.
        one_prompt: the same as `tested` with the first model's prompt for both, over the tasks that have it.
    """

    tasks: Mapping[str, TaskOutcome]
    tested: dict[str, int]
    raw: dict[str, int]
    after_holm: dict[str, int]
    one_prompt: dict[str, int]

    @property
    def win_rate(self) -> float | None:
        """Tested wins over tasks compared; None where none was."""
        n = sum(self.tested[outcome] for outcome in ("win", "tie", "loss"))
        return self.tested["win"] / n if n else None

    @property
    def raw_win_rate(self) -> float | None:
        """Raw wins over tasks compared."""
        n = sum(self.raw[outcome] for outcome in ("win", "tie", "loss"))
        return self.raw["win"] / n if n else None

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        tasks = {
            name: {**vars(task), "difference": task.difference.to_dict()} for name, task in self.tasks.items()
        }
        counts = {key: getattr(self, key) for key in ("tested", "raw", "after_holm", "one_prompt")}
        return {"tasks": tasks, **counts, "win_rate": self.win_rate, "raw_win_rate": self.raw_win_rate}


def win_tie_loss(tasks: Mapping[str, TaskScores], *, seed: int = 0) -> WinTieLoss:
    """Compare two models over many tasks as Jeong et al. 2024 (arXiv:2411.04118, sec. 3) do.

    The prompt of each model and task is the one of the highest mean on validation items, chosen for each model
    separately: one that was tuned for the first model only makes it look better than it is. The difference on the
    test items decides by its interval, paired and clustered.

    Args:
        tasks: by name.
        seed: of the intervals.

    Raises:
        ValueError: a task without a prompt, or whose scores differ in length.

    Example:
        >>> a = {"plain": PromptScores([1, 1], [1] * 40), "terse": PromptScores([0, 0], [0] * 40)}
        >>> b = {"plain": PromptScores([0, 1], [0] * 40), "terse": PromptScores([1, 1], [1] * 20 + [0] * 20)}
        >>> found = win_tie_loss({"vqa": TaskScores(a, b, range(40))})
        >>> found.tasks["vqa"].prompts, found.tested["win"], round(found.tasks["vqa"].difference.mean, 2)
        (('plain', 'terse'), 1, 0.5)
    """
    drafts: dict[str, tuple[Estimate, float | None, tuple[str, str], Outcome | None]] = {}
    for name, task in tasks.items():
        chosen = (best_prompt(task.first, name), best_prompt(task.second, name))
        first, second = task.first[chosen[0]].test, task.second[chosen[1]].test
        same = task.second.get(chosen[0])
        one_prompt = None
        if same is not None:
            one_prompt = by_interval(_difference(first, same.test, task.groups, name, seed))
        difference = _difference(first, second, task.groups, name, seed)
        drafts[name] = (difference, paired_p(first, second, task.groups, seed=seed), chosen, one_prompt)
    adjusted = holm([p for _, p, _, _ in drafts.values()])
    outcomes = {
        name: TaskOutcome(by_interval(d), by_sign(d), d, p, p_holm, chosen, one)
        for (name, (d, p, chosen, one)), p_holm in zip(drafts.items(), adjusted, strict=True)
    }
    found = list(outcomes.values())
    return WinTieLoss(
        outcomes,
        count_outcomes([task.outcome for task in found]),
        count_outcomes([task.raw for task in found]),
        count_outcomes([by_p(task.difference, task.p_holm) for task in found]),
        count_outcomes([task.one_prompt for task in found if task.one_prompt is not None]),
    )


def best_prompt(prompts: Mapping[str, PromptScores], task: str = "") -> str:
    """The prompt of the highest validation mean, the first of equals; one alone needs no validation items.

    Raises:
        ValueError: no prompt, or several of which none could be scored.

    Example:
        >>> best_prompt({"a": PromptScores([0, None], []), "b": PromptScores([1, 0], [])})
        'b'
    """
    if not prompts:
        raise ValueError(f"task {task!r} has no prompt: give the scores of one at least")
    if len(prompts) == 1:
        return next(iter(prompts))
    means = {}
    for name, scores in prompts.items():
        known = [value for value in scores.validation if value is not None]
        if known:
            means[name] = sum(known) / len(known)
    if not means:
        raise ValueError(
            f"task {task!r} has {len(prompts)} prompts and no validation score to choose by: "
            "score validation items, never choose on the test items"
        )
    return max(means, key=lambda name: means[name])


def by_interval(difference: Estimate) -> Outcome:
    """Win, tie or loss by whether the interval holds 0."""
    if difference.low is None or difference.high is None:
        return "not compared"
    return "win" if difference.low > 0 else "loss" if difference.high < 0 else "tie"


def by_sign(difference: Estimate) -> Outcome:
    """Win, tie or loss by the mean alone."""
    if difference.mean is None:
        return "not compared"
    return "win" if difference.mean > 0 else "loss" if difference.mean < 0 else "tie"


def by_p(difference: Estimate, p: float | None, alpha: float = 0.05) -> Outcome:
    """The sign, where p lies below alpha; else a tie."""
    if p is None:
        return "not compared"
    return by_sign(difference) if p < alpha else "tie"


def count_outcomes(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many of each, all four named.

    Example:
        >>> count_outcomes(["win", "tie", "win"])
        {'win': 2, 'tie': 1, 'loss': 0, 'not compared': 0}
    """
    counts = Counter(outcomes)
    return {name: counts[name] for name in ("win", "tie", "loss", "not compared")}  # type: ignore[index]


def _difference(a: Scores, b: Scores, groups: Sequence[Hashable], task: str, seed: int) -> Estimate:
    if not len(a) == len(b) == len(groups):
        raise ValueError(
            f"task {task!r} has {len(a)} and {len(b)} test scores and {len(groups)} groups: pair them item by item"
        )
    return paired_difference(a, b, groups, seed=seed)
