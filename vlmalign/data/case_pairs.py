"""Pairs as training items: one pair each, or all pairs of a case, each answer run once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NotRequired

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vlmalign.data.case_ranking import NoRankingError, ranks_of
from vlmalign.data.collation import TrainingBatch, collate
from vlmalign.data.datasets import ExampleDataset
from vlmalign.data.encode import EncodedResponse, Example
from vlmalign.data.mismatched import mismatched_answers
from vlmalign.records import DataError, Preference


@dataclass(frozen=True)
class PairItem:
    """A prompt with K answers, and the pairs among them.

    Attributes:
        example: prompt and answers, mismatched ones included.
        pairs: chosen, rejected and (where there is one) mismatched answer of each pair, as places among the
            answers.
        keys: name of each pair, unique over folders.
        weights: factor of each pair's loss.
        margins: of each pair, None where it has none.
        ranks: of each answer, 1 is best; empty where no ranking was asked for.
    """

    example: Example
    pairs: tuple[tuple[int, ...], ...]
    keys: tuple[str, ...]
    weights: tuple[float, ...]
    margins: tuple[float | None, ...]
    ranks: tuple[int, ...] = ()


class PairBatch(TrainingBatch):
    """B prompts with their answers and P pairs: `ids`, `weights` and `margins` are those of the pairs.

    `pairs` holds the rows of the chosen and of the rejected answer, (P, 2); with mismatched answers those in a
    third column, (P, 3). `ranks` are those of the N answers, (N,), where they were asked for.
    """

    pairs: Tensor
    ranks: NotRequired[Tensor]


class CasePairs(Dataset[PairItem]):
    """The pairs of a dataset, item by item.

    Args:
        data: the pairs.
        grouped: make one item of all pairs with the same folder, case, prompt and images; their K answers are run
            in one packed row, so K (K - 1) / 2 pairs cost K answers.
        ranked: derive the ranking of each item's answers from its pairs (`ranks_of`); only with `grouped`.
        mismatched_seed: add to each pair an answer to another prompt (`mismatched_answers`); not with `grouped`.

    Raises:
        ValueError: `ranked` without `grouped`, or `mismatched_seed` with it.
        DataError: two pairs of a case that say the opposite of each other; or, if they are asked for, a case
            without a ranking or a pair without a mismatched answer.
    """

    def __init__(
        self,
        data: ExampleDataset[Preference],
        *,
        grouped: bool = False,
        ranked: bool = False,
        mismatched_seed: int | None = None,
    ) -> None:
        if ranked and not grouped or mismatched_seed is not None and grouped:
            raise ValueError(
                f"grouped is {grouped}, ranked {ranked} and mismatched_seed {mismatched_seed}: rankings are of "
                "grouped pairs, mismatched answers of single ones. Change grouped."
            )
        self.data = data
        times = Counter(data.order)
        self.groups = _by_case(data) if grouped else [[number] for number in range(len(data.records))]
        self._ranks = {group[0]: _ranking(data, group) for group in self.groups} if ranked else {}
        self._mismatched = [] if mismatched_seed is None else mismatched_answers(data, mismatched_seed)
        self._order = [
            group for turn in range(max(times.values())) for group in self.groups if times[group[0]] > turn
        ]

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> PairItem:
        """The item at a place of the epoch (repeats count)."""
        return self.item(self._order[index])

    def keys(self) -> list[str]:
        """Names of all pairs."""
        return [self.data.key(number) for group in self.groups for number in group]

    def item(self, group: Sequence[int]) -> PairItem:
        """The item of some records, given by their numbers, all of one case."""
        examples = [self.data.example(number) for number in group]
        places: dict[EncodedResponse, int] = {}
        pairs = []
        for number, example in zip(group, examples, strict=True):
            answers = (*example.responses, *self._mismatched[number : number + 1])
            pairs.append(tuple(places.setdefault(answer, len(places)) for answer in answers))
        return PairItem(
            replace(examples[0], responses=tuple(places)),
            tuple(pairs),
            tuple(example.id for example in examples),
            tuple(example.weight for example in examples),
            tuple(example.margin for example in examples),
            self._ranks.get(group[0], ()),
        )


def _by_case(data: ExampleDataset[Preference]) -> list[list[int]]:
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, record in enumerate(data.records):
        images = tuple(image.sha256 for image in record.images)
        key = (id(data.folder(number)), record.case_id, record.prompt, images)
        groups.setdefault(key, []).append(number)
    for group in groups.values():
        seen: dict[tuple[object, object], str] = {}
        for number in group:
            record = data.records[number]
            if (record.rejected, record.chosen) in seen:
                raise DataError(
                    f"it says the opposite of pair {seen[record.rejected, record.chosen]!r} of the same case",
                    "Drop one of the two, or train without group_pairs.",
                    file=data.folder(number).path,
                    record=record.id,
                )
            seen[record.chosen, record.rejected] = record.id
    return list(groups.values())


def _ranking(data: ExampleDataset[Preference], group: Sequence[int]) -> tuple[int, ...]:
    """Ranks of the group's answers, in the order in which its pairs name them first."""
    places: dict[EncodedResponse, int] = {}
    pairs = []
    for number in group:
        chosen, rejected = (places.setdefault(answer, len(places)) for answer in data.responses(number))
        pairs.append((chosen, rejected))
    try:
        return ranks_of(pairs, len(places))
    except NoRankingError as error:
        number = group[error.pair]
        raise DataError(
            f"the pairs of case {data.records[number].case_id!r} are no ranking: {error} (answers in the order of "
            "the case's records, chosen before rejected)",
            "Add the missing pairs or drop contradicting ones, or train on pairs (loss sigmoid).",
            file=data.folder(number).path,
            record=data.records[number].id,
        ) from None


def collate_pairs(items: Sequence[PairItem], pad_token_id: int) -> PairBatch:
    """Make one batch of items.

    Args:
        items: B items.
        pad_token_id: of the tokenizer.
    """
    rows, start = [], 0
    for item in items:
        rows += [tuple(start + place for place in pair) for pair in item.pairs]
        start += len(item.example.responses)
    margins = [margin for item in items for margin in item.margins]
    whole = collate([item.example for item in items], pad_token_id)
    result = PairBatch(
        batch=whole["batch"],
        ids=tuple(key for item in items for key in item.keys),
        weights=torch.tensor([weight for item in items for weight in item.weights], dtype=torch.float32),
        margins=torch.tensor([float("nan") if margin is None else margin for margin in margins]),
        ratings=whole["ratings"],
        groups=whole["groups"],
        pairs=torch.tensor(rows),
    )
    if items[0].ranks:
        result["ranks"] = torch.tensor([rank for item in items for rank in item.ranks])
    return result
