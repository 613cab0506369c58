"""Scores by model, task, prompt and item -> two models over many tasks, each with the prompt that suits it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from vlmalign.evaluation.intervals import paired_difference
from vlmalign.evaluation.win_tie_loss import PromptScores, TaskScores, best_prompt, win_tie_loss
from vlmalign.records import DataError
from vlmalign.records.suggestions import unknown

Split = Literal["validation", "test"]
COLUMNS = ("task", "model", "prompt", "split", "item", "score")


class PromptRow(NamedTuple):
    """One score.

    Attributes:
        task: which.
        model: which.
        prompt: which.
        split: validation items choose the prompt; test items decide.
        item: which.
        group: its cluster.
        score: None: not scored.
    """

    task: str
    model: str
    prompt: str
    split: Split
    item: str
    group: str
    score: float | None


def read_prompt_rows(path: str | Path) -> list[PromptRow]:
    """Read a CSV file with the columns task, model, prompt, split, item, score, and group where items are
    clustered.

    An empty score is one that could not be had: it is excluded and counted.

    Raises:
        DataError: no such file, a missing column, or a line that cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file", "Check the path.", file=path)
    with open(path, encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise DataError(f"the column {', '.join(missing)} is missing",
                            f"Give the columns {', '.join(COLUMNS)}, and group.", file=path, line=1)  # fmt: skip
        rows = [_row(row, path, table.line_num) for row in table]
    if not rows:
        raise DataError("it holds no score", "Give one line for each score.", file=path)
    return rows


def compare_prompts(
    rows: Iterable[PromptRow], models: tuple[str, str] | None = None, *, seed: int = 0
) -> dict[str, Any]:
    """Win, tie and loss of the first model over tasks, the prompt chosen on validation items (Jeong et al. 2024).

    Args:
        rows: all scores.
        models: the two to compare, the first one first; None: the two that there are.
        seed: of bootstraps.

    Returns:
        What `WinTieLoss.to_dict` gives, with `models`, each task's `prompt_spread` (the chosen prompt minus the
        one that validation items liked least, on the test items) and counts of items.

    Raises:
        ValueError: other than two models, a task that one of them lacks, items that are scored twice, differ
            between prompts, or are (or have their group) on both sides of validation and test.

    Example:
        >>> rows = [
        ...     PromptRow("vqa", m, "p", "test", str(k), str(k), float(m == "a")) for m in "ab" for k in range(9)
        ... ]
        >>> compare_prompts(rows)["tested"]["win"]
        1
    """
    rows = list(rows)
    chosen = _models(rows, models)
    by_task: dict[str, list[PromptRow]] = {}
    for row in rows:
        if row.model in chosen:
            by_task.setdefault(row.task, []).append(row)
    tasks = {name: _task(name, of_task, chosen) for name, of_task in by_task.items()}
    found = win_tie_loss(tasks, seed=seed).to_dict()
    for name, told in found["tasks"].items():
        told["prompt_spread"] = _spreads(tasks[name], chosen, seed)
        told["prompts_tried"] = [len(tasks[name].first), len(tasks[name].second)]
        items = {(row.split, row.item) for row in by_task[name]}
        told["items"] = dict(Counter(split for split, _ in items))
    return {"models": list(chosen), **found}


def _models(rows: Sequence[PromptRow], models: tuple[str, str] | None) -> tuple[str, str]:
    known = list(dict.fromkeys(row.model for row in rows))
    if models is None:
        if len(known) != 2:
            raise ValueError(
                f"the scores are of {len(known)} models ({', '.join(known)}): name two with --models A,B"
            )
        return known[0], known[1]
    for name in models:
        if name not in known:
            raise ValueError(unknown("model", name, known))
    return models


def _task(name: str, rows: Sequence[PromptRow], models: tuple[str, str]) -> TaskScores:
    scores: dict[tuple[str, str, str], dict[str, float | None]] = {}
    groups: dict[tuple[str, str], str] = {}
    for row in rows:
        mine = scores.setdefault((row.model, row.prompt, row.split), {})
        if row.item in mine:
            raise ValueError(f"task {name!r}, model {row.model!r}, prompt {row.prompt!r}: item {row.item!r} is "
                             f"scored twice in {row.split}: give each score once")  # fmt: skip
        mine[row.item] = row.score
        if groups.setdefault((row.split, row.item), row.group) != row.group:
            raise ValueError(f"task {name!r}: item {row.item!r} is of two groups: give it one")
    _refuse_shared(name, groups)
    items = {split: [item for (where, item) in groups if where == split] for split in get_args(Split)}
    for (model, prompt, split), mine in scores.items():
        lacking = [item for item in items[split] if item not in mine]
        if lacking:
            raise ValueError(
                f"task {name!r}, model {model!r}, prompt {prompt!r}: {len(lacking)} of {len(items[split])} "
                f"{split} items have no line, e.g. {lacking[0]!r}: score all prompts on the same items (an empty "
                "score says that one could not be had)"
            )
    sides = [_prompts(name, model, scores, items) for model in models]
    return TaskScores(sides[0], sides[1], [groups["test", item] for item in items["test"]])


def _prompts(
    task: str,
    model: str,
    scores: Mapping[tuple[str, str, str], Mapping[str, float | None]],
    items: Mapping[str, Sequence[str]],
) -> dict[str, PromptScores]:
    prompts = list(dict.fromkeys(prompt for of, prompt, _ in scores if of == model))
    if not prompts:
        raise ValueError(f"task {task!r} has no score of {model!r}: give both models on every task")
    found = {}
    for prompt in prompts:
        parts = {split: scores.get((model, prompt, split), {}) for split in get_args(Split)}
        found[prompt] = PromptScores(*([parts[split][item] for item in items[split] if item in parts[split]]
                                       for split in ("validation", "test")))  # fmt: skip
    choice = best_prompt(found, task)
    if not found[choice].test:
        raise ValueError(f"task {task!r}, model {model!r}: prompt {choice!r}, the best on validation items, has "
                         "no test score: score it on the test items")  # fmt: skip
    return found


def _refuse_shared(task: str, groups: Mapping[tuple[str, str], str]) -> None:
    """An item or a patient that chose the prompt must not decide, too."""
    chose, decide = (
        {item: group for (split, item), group in groups.items() if split == one} for one in get_args(Split)
    )
    if shared := sorted(set(chose) & set(decide)):
        raise ValueError(f"task {task!r}: {len(shared)} items are among validation and test items, e.g. "
                         f"{shared[0]!r}: prompts must not be chosen on items that decide")  # fmt: skip
    if both := sorted(set(chose.values()) & set(decide.values())):
        raise ValueError(f"task {task!r}: {len(both)} groups have validation and test items, e.g. {both[0]!r}: "
                         "keep each patient on one side")  # fmt: skip


def _spreads(task: TaskScores, models: tuple[str, str], seed: int) -> dict[str, Any]:
    """How much the prompt matters on the test items, of prompts that were ranked without them; None: not known."""
    found: dict[str, Any] = {}
    for model, prompts in zip(models, (task.first, task.second), strict=True):
        means = {
            name: sum(known) / len(known)
            for name, scores in prompts.items()
            if scores.test and (known := [x for x in scores.validation if x is not None])
        }
        if len(means) < 2:
            found[model] = None
            continue
        best, worst = max(means, key=lambda name: means[name]), min(means, key=lambda name: means[name])
        difference = paired_difference(prompts[best].test, prompts[worst].test, task.groups, seed=seed)
        found[model] = {"best": best, "worst": worst, "difference": difference.to_dict()}
    return found


def _row(row: Mapping[str, str | None], path: Path, line: int) -> PromptRow:
    def refuse(field: str, told: str, remedy: str) -> DataError:
        return DataError(told, remedy, file=path, line=line, field=field)

    texts = {name: (row.get(name) or "").strip() for name in COLUMNS}
    for name in COLUMNS[:5]:
        if not texts[name]:
            raise refuse(name, "it is empty", "Give a value in every line.")
    if texts["split"] not in get_args(Split):
        raise refuse("split", f"it is {texts['split']!r}, expected validation or test", "Correct it.")
    score = None
    if texts["score"]:
        try:
            score = float(texts["score"])
        except ValueError:
            score = float("nan")
        if score != score or abs(score) == float("inf"):
            raise refuse("score", f"it is {texts['score']!r}, expected a number or nothing", "Correct it.")
    group = (row.get("group") or "").strip() or texts["item"]
    split: Split = "validation" if texts["split"] == "validation" else "test"
    return PromptRow(texts["task"], texts["model"], texts["prompt"], split, texts["item"], group, score)
