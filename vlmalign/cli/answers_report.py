"""What `vlmalign evaluate answers` tells beside its figures: null baselines, confusion matrices, examples."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmalign.cli.given_truth import GivenCases, task_of
from vlmalign.cli.run_folders import spans_of
from vlmalign.cli.short_names import distinct_ends
from vlmalign.clinical import Logic, parse_text
from vlmalign.evaluation import (
    ItemScore,
    aggregate,
    majority_baseline,
    random_baseline,
)
from vlmalign.evaluation.answers_page import render_answers
from vlmalign.evaluation.baselines import constant_baseline
from vlmalign.evaluation.page_parts import Example, ExampleAnswer, small_png
from vlmalign.evaluation.run_comparison import confusion_tables
from vlmalign.evaluation.run_items import items_of_scores
from vlmalign.records import Candidate, Case, Demonstration, Message, Preference, RecordFolder
from vlmalign.records.manifest import read_manifest

Items = Mapping[str, Sequence[ItemScore]]


def answer_baselines(
    given: GivenCases, items: Items, logic: Logic, in_scope: Sequence[str], learnt_from: Sequence[Path]
) -> dict[str, Any]:
    """What no look at the image earns on the cases that were answered, for the tasks that were.

    The commonest answers are those of `learnt_from`, never of the test cases; without it they are left out.
    """
    answered = {item.case_id for found in items.values() for item in found}
    tasks = {item.task for found in items.values() for item in found}
    truths = [truth for case_id, truth in given.truths.items() if case_id in answered]
    found = {
        "uniform_random": random_baseline(logic, truths, in_scope),
        "first_value": constant_baseline(logic, truths, in_scope),
    }
    labels = [parse_text(logic, text).answers for folder in learnt_from for text in _texts(folder)]
    if any(labels):
        found["majority_class"] = majority_baseline(logic, labels, truths, in_scope)
    return {
        name: {metric: estimate.to_dict() for metric, estimate in aggregate(
            [item for item in scored if item.task in tasks]).items()}
        for name, scored in found.items()
    }  # fmt: skip


def write_answers_report(
    results: Mapping[str, Any], items: Items, given: GivenCases, logic: Logic, out: Path, *, wanted: int, seed: int
) -> Path:
    """Write the page of `vlmalign evaluate answers --report`.

    Args:
        results: what goes into the JSON file.
        items: folder -> its scores.
        given: the cases.
        logic: the clinical logic.
        out: the file to write.
        wanted: examples to show.
        seed: of which are shown.
    """
    called = dict(zip(items, distinct_ends(list(items)), strict=True))
    shown = {
        **results,
        **{
            key: {called[name]: value for name, value in of.items()}
            for key, of in results.items()
            if key != "baselines"
        },
    }
    confusion = {called[name]: confusion_tables(items_of_scores(scored, {})) for name, scored in items.items()}
    return render_answers(shown, confusion, _examples(items, called, given, logic, wanted, seed), out)


def _texts(folder: Path) -> list[str]:
    """What was learnt to say, message by message."""
    kind = read_manifest(folder).kind
    turns: list[tuple[Message, ...]] = []
    if kind == "demonstration":
        turns = [demonstration.response for demonstration in RecordFolder(folder, Demonstration)]
    elif kind == "preference":
        turns = [pair.chosen for pair in RecordFolder(folder, Preference)]
    return [turn.text for messages in turns for turn in messages if turn.role == "assistant"]


def _examples(
    items: Items, called: Mapping[str, str], given: GivenCases, logic: Logic, wanted: int, seed: int
) -> list[Example]:
    """Cases drawn at random, with what every folder says of them; first those of which the verdicts differ."""
    by_case: dict[str, dict[str, ItemScore]] = {}
    for name, scored in items.items():
        for item in scored:
            if item.sample == 0:
                by_case.setdefault(item.case_id, {}).setdefault(name, item)
    differing = [case for case, of_case in by_case.items() if len({_verdict(i) for i in of_case.values()}) > 1]
    others = sorted(set(by_case) - set(differing))
    rng = random.Random(seed)
    chosen = rng.sample(sorted(differing), min(wanted, len(differing)))
    notes = {
        case: f"drawn among the {len(differing)} of {len(by_case)} cases of which verdicts differ"
        for case in chosen
    }
    for case in rng.sample(others, min(wanted - len(chosen), len(others))):
        notes[case] = f"drawn at random among the {len(others)} other cases"
    opened = [RecordFolder(folder, Case) for folder in given.folders]
    sources = {case.id: folder for folder in opened for case in folder if case.id in notes}
    said = {name: _said(Path(name), set(notes)) for name in items}
    return [
        _example(given.cases[case], note, by_case[case], sources[case], said, called, logic)
        for case, note in notes.items()
    ]


def _verdict(item: ItemScore) -> float | None:
    return next(iter(item.metrics.values()), None)


def _said(folder: Path, cases: set[str]) -> dict[tuple[str, int, str], Candidate]:
    found: dict[tuple[str, int, str], Candidate] = {}
    for candidate in RecordFolder(folder, Candidate):
        if candidate.case_id in cases:
            found[candidate.case_id, candidate.sampling.sample, task_of(candidate)] = candidate
    return found


def _example(
    case: Case,
    note: str,
    scored: Mapping[str, ItemScore],
    source: RecordFolder[Case],
    said: Mapping[str, Mapping[tuple[str, int, str], Candidate]],
    called: Mapping[str, str],
    logic: Logic,
) -> Example:
    answers = []
    for name, item in scored.items():
        candidate = said[name][item.case_id, item.sample, item.task]
        answers.append(ExampleAnswer(called[name], spans_of(candidate, logic, item.truth)))
    images = [small_png(source.image(ref, record=case.id)) for ref in case.images]
    truth = next(iter(scored.values())).truth
    return Example(case.id, images, case.messages[-1].text, answers, truth, note)
