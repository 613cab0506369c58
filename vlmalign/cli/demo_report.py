"""The demo's report: results, figures, and examples with both answers side by side."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_builders import HIDDEN_STATEMENTS
from vlmalign.cli.demo_plan import LOGIC
from vlmalign.cli.demo_results import Seed
from vlmalign.clinical import load_logic
from vlmalign.evaluation import Example, ExampleAnswer, Figure, ItemScore, mark_report, render_report
from vlmalign.evaluation.kl_plot import reward_over_kl_plot
from vlmalign.evaluation.plots import confusion_plot
from vlmalign.records import Candidate, Case, RecordFolder, read_records

SHOWN = ("sft_more", "dpo")
TITLE = "Does preference training make a small vision-language model say true things?"


def write_report(
    results: Mapping[str, Any], items: Mapping[str, Sequence[ItemScore]], seed: Seed, out: Path, margin: float
) -> Path:
    """Write `report.html` for finished results; examples come from one seed."""
    figures = confusion_figures(items)
    if any(run["evaluations"] for runs in results.get("online", {}).values() for run in runs):
        figures.insert(0, _over_kl(results["online"]))
    examples = paired_examples(items, seed.number, seed.path("roles", "test"), seed.path("answers"))
    return render_report(results, examples, figures, out, title=TITLE, margin=margin)


def confusion_figures(items: Mapping[str, Sequence[ItemScore]]) -> list[Figure]:
    """What the two arms of the main comparison say against what is true, by concept."""
    return [_confusion(items, arm) for arm in SHOWN]


def _over_kl(online: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """The first seed's curve of every online arm."""
    runs = {arm: its[0]["evaluations"] for arm, its in online.items()}
    kept = {arm: its[0]["kept_round"] for arm, its in online.items()}
    invalid = "; ".join(
        f"{arm}: {sum(sum(run['invalid'].values()) for run in its):,} of {sum(run['answers'] for run in its):,}"
        for arm, its in online.items()
    )
    caption = (
        "Validation slides, one sampled answer per field, the same draws every time. Gold: claims against the "
        "truth. Bars: 95% interval over slides, first seed. Circled: the model that was kept, by the proxy alone. "
        f"Answers without a score while training, all seeds: {invalid}."
    )
    return Figure.drawn("Proxy and gold reward over KL", caption, reward_over_kl_plot, runs, kept)


def _confusion(items: Mapping[str, Sequence[ItemScore]], arm: str) -> Figure:
    logic = load_logic(LOGIC)
    reports = [item for item in items[arm] if item.task == "report"]
    concepts = [c for c in logic.order if any(c in item.truth for item in reports)]
    values = {concept: list(logic.concepts[concept].values) for concept in concepts}
    caption = f"{arm}, greedy reports: rows are true, columns are said. n = {len(reports)} reports."
    return Figure.drawn(f"What {arm} says, by concept", caption, confusion_plot, reports, values)


def paired_examples(
    items: Mapping[str, Sequence[ItemScore]], seed: int, cases_of: Path, answers_of: Path, n: int = 6
) -> list[Example]:
    """Pictures at random, and some in which the two arms differ, said so on each.

    Args:
        items: greedy items of every arm.
        seed: the training seed that they are of.
        cases_of: the cases that were answered.
        answers_of: one folder of answers per arm.
        n: how many to show.
    """
    a, b = ({i.case_id: i for i in items[arm] if i.task == "report" and i.seed == seed} for arm in SHOWN)
    metric = "whole_report_accuracy"
    changed = [case for case in a if a[case].metrics[metric] != b[case].metrics[metric]]
    rng = random.Random(seed)
    some = rng.sample(sorted(a), min(n // 2, len(a)))
    differ = rng.sample(sorted(set(changed) - set(some)), min(n - len(some), len(set(changed) - set(some))))
    notes = {case: "drawn at random" for case in some}
    notes |= {
        case: f"drawn among the {len(changed)} of {len(a)} fields in which one arm is right" for case in differ
    }
    folder = RecordFolder(cases_of, Case)
    cases = {case.id: case for case in folder if case.id in notes}
    texts = {
        arm: {c.case_id: c.text for c in read_records(answers_of / arm / "greedy_report", Candidate)}
        for arm in SHOWN
    }
    logic = load_logic(LOGIC)
    found = []
    for case_id, note in notes.items():
        case = cases[case_id]
        truth = dict(a[case_id].truth)
        answers = [
            ExampleAnswer(arm, mark_report(logic, texts[arm][case_id], truth, HIDDEN_STATEMENTS)) for arm in SHOWN
        ]
        image = folder.resolve(case.images[0]).read_bytes()
        found.append(Example(case_id, [image], case.messages[-1].text, answers, truth, note))
    return found
