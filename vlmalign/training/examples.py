"""The datasets that a stage's configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from vlmalign.data import CasePairs, DataSource, Example, ExampleDataset
from vlmalign.models import VLM
from vlmalign.records import DataError, Demonstration, Preference
from vlmalign.training.config import DpoConfig, StageConfig
from vlmalign.training.processes import is_sharded
from vlmalign.training.reward_config import PairStageConfig

R = TypeVar("R", Demonstration, Preference)


def training_examples(
    config: StageConfig,
    sources: Sequence[DataSource],
    record_type: type[R],
    vlm: VLM,
    encoder: Callable[..., Example] | None = None,
) -> ExampleDataset[R]:
    """Examples to train on; with `max_length`, every one of them is read once to find those that are too long."""
    data = ExampleDataset(
        sources, record_type, vlm.processor, stops=vlm.stop_tokens, max_length=config.max_length, encoder=encoder
    )
    if config.max_length is not None:
        data.check_all()
    check_alike(data)
    return data


def evaluation_examples(
    config: StageConfig, record_type: type[R], vlm: VLM, encoder: Callable[..., Example] | None = None
) -> ExampleDataset[R] | None:
    """Examples to report the loss on, None if the configuration names no folder."""
    if not config.eval_data:
        return None
    data = ExampleDataset(
        config.eval_data,
        record_type,
        vlm.processor,
        stops=vlm.stop_tokens,
        max_length=config.max_length,
        encoder=encoder,
        purpose="evaluation",
    )
    check_alike(data)
    return data


def check_alike(data: ExampleDataset[R]) -> None:
    """Under sharding, refuse text beside images: weights are gathered in step, the vision tower's too.

    Raises:
        DataError: naming the first record without an image.
    """
    if not is_sharded() or not any(record.images for record in data.records):
        return
    for number, record in enumerate(data.records):
        if not record.images:
            raise DataError(
                "the record has no image and others have, and sharded processes must all see images or none",
                "Launch without sharding, or leave one of the two kinds out.",
                file=data.folder(number).path,
                record=record.id,
                field="images",
            )


def preference_pairs(config: DpoConfig, vlm: VLM) -> tuple[CasePairs, CasePairs | None]:
    """Pairs to train on and to evaluate on, with what the loss needs beside them.

    Mismatched answers are drawn from within each of the two, so that neither sees an answer of the other.

    Raises:
        DataError: a pair without a margin, a mismatched answer or a ranking, where the loss needs it.
    """
    data = training_examples(config, config.data, Preference, vlm)
    evaluated = evaluation_examples(config, Preference, vlm)
    if config.loss.needs_margins:
        check_margins(f"loss {config.loss.name!r}", data, evaluated)

    def arranged(examples: ExampleDataset[Preference]) -> CasePairs:
        return CasePairs(
            examples,
            grouped=config.group_pairs,
            ranked=config.loss.listwise,
            mismatched_seed=config.seed if config.loss.needs_mismatched else None,
        )

    return arranged(data), None if evaluated is None else arranged(evaluated)


def check_supervision(
    config: PairStageConfig,
    data: Sequence[ExampleDataset[Preference]],
    evaluated: ExampleDataset[Preference] | None,
) -> None:
    """Require what a loss of pairs needs of every pair: margins, ratings, a pair that is no tie.

    Raises:
        DataError: naming the first pair without a margin or without any rating, or a folder of ties alone.
    """
    name = f"loss {config.loss.name!r}"
    if config.loss.needs_margins:
        check_margins(name, *data, evaluated)
    if config.loss.scales_by_margin:
        _check_scales(name, config.tie_weight is not None, *data, evaluated)
    if config.loss.needs_ratings:
        _check_ratings(name, *data, evaluated)
    if config.tie_weight is not None:
        check_margins("tie_weight", *data)
        for examples in data:
            _check_not_ties_alone(examples)


def check_margins(needed_by: str, *datasets: ExampleDataset[Preference] | None) -> None:
    """Require a margin on every pair.

    Args:
        needed_by: the setting that needs them, for the message.
        datasets: pairs.

    Raises:
        DataError: naming the first pair that has none.
    """
    for refuse, pair in _each_pair(datasets, "margin"):
        if pair.margin is None:
            raise refuse(
                f"{needed_by} needs margins and the pair has none",
                "Build the pairs with margins, or change the setting.",
            )


def _check_scales(needed_by: str, ties: bool, *datasets: ExampleDataset[Preference] | None) -> None:
    """Require margins above 0, but of ties where those have a loss of their own."""
    for refuse, pair in _each_pair(datasets, "margin"):
        if pair.margin is not None and (pair.margin < 0 or (pair.margin == 0 and not ties)):
            raise refuse(
                f"{needed_by} weighs pairs by their margin, and that of the pair is {pair.margin:g}",
                "Leave it out, set tie_weight if equal answers are ties, or use loss margin.",
            )


def _check_ratings(needed_by: str, *datasets: ExampleDataset[Preference] | None) -> None:
    """Require a rating of one answer at least on every pair."""
    for refuse, pair in _each_pair(datasets, "chosen_rating"):
        if pair.chosen_rating is None and pair.rejected_rating is None:
            raise refuse(
                f"{needed_by} learns ratings and neither answer of the pair has one",
                "Build the pairs with ratings, or use a loss of pairs alone.",
            )


def _check_not_ties_alone(data: ExampleDataset[Preference]) -> None:
    """Where pairs of margin 0 are ties, require one that is none."""
    if all(record.margin == 0 for record in data.records):
        raise DataError(
            f"all {len(data.records)} pairs are ties (margin 0): equal answers do not say which are better",
            "Add pairs with a preference, or drop tie_weight.",
            file=data.folder(0).path,
            field="margin",
        )


def _each_pair(
    datasets: Sequence[ExampleDataset[Preference] | None], field: str
) -> Iterator[tuple[Callable[[str, str], DataError], Preference]]:
    """Every pair, with what makes an error about this field of it from rule and remedy."""
    for data in datasets:
        if data is not None:
            for number, pair in enumerate(data.records):
                yield partial(DataError, file=data.folder(number).path, record=pair.id, field=field), pair
