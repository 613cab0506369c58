"""`vlmalign evaluate prompts`: wins, ties and losses over tasks, each model with the prompt that suits it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.outputs import JsonFile, check_outs, write_figures

if TYPE_CHECKING:
    from vlmalign.evaluation.prompt_scores import PromptRow

PLACE = "MODEL/TASK/PROMPT/SPLIT"


def evaluate_prompts(
    table: Annotated[
        Path | None,
        typer.Argument(help="CSV: task, model, prompt, split, item, score, and group", show_default=False),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(help=f"instead: {PLACE}=FOLDER of judgements, or of candidates with --cases; repeat it"),
    ] = None,
    cases: Annotated[
        list[Path] | None, typer.Option(help="with --run: the cases, validation and test; may be repeated")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="with --run: which metric or criterion; default: the only one")
    ] = None,
    logic: Annotated[
        str | None, typer.Option(help="with --run of candidates: clinical logic; default peripheral_smear")
    ] = None,
    models: Annotated[str | None, typer.Option(help="which two, the first one first: A,B")] = None,
    seed: Annotated[int, typer.Option(help="of bootstraps")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Compare two models over many tasks; each prompt is chosen on validation items only (Jeong et al. 2024).

    For example: vlmalign evaluate prompts scores.csv --models tuned,base --json prompts.json

    A prompt that was tuned for one model makes it look better than it is; so each gets its own. Items or patients
    on both sides of validation and test are refused.
    """
    from vlmalign.evaluation.prompt_scores import compare_prompts, read_prompt_rows

    if (table is None) == (not run):
        raise ValueError(f"give a table of scores, or --run {PLACE}=FOLDER, and not both")
    if table is not None and (cases or metric or logic):
        raise ValueError("--cases, --metric and --logic go with --run: drop them")
    check_outs({"--json": json_file}, [] if table is None else [table])
    chosen = None if models is None else _two(models)
    rows = read_prompt_rows(table) if table is not None else _rows(run or [], cases or [], metric, logic)
    found = compare_prompts(rows, chosen, seed=seed)
    _show(found)
    write_figures(found, json_file)


def _two(models: str) -> tuple[str, str]:
    names = [name.strip() for name in models.split(",")]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise ValueError(f"--models is {models!r}: expected two different ones, A,B")
    return names[0], names[1]


def _rows(runs: Sequence[str], cases: Sequence[Path], metric: str | None, logic: str | None) -> list[PromptRow]:
    """One row for each item of each folder."""
    from vlmalign.cli.given_truth import read_cases
    from vlmalign.clinical import load_logic
    from vlmalign.evaluation.prompt_scores import PromptRow

    places = [_place(text) for text in runs]
    domain = load_logic(logic or "peripheral_smear") if cases else None
    given = None if domain is None else read_cases(cases, domain)
    rows: list[PromptRow] = []
    for (model, task, prompt, split), folder in places:
        for item, group, values in _items(folder, given, domain):
            name = metric or next(iter(values), "")
            if name not in values or (metric is None and len(values) > 1):
                raise ValueError(
                    f"{folder} has the metrics {', '.join(values) or 'none'}: choose one with --metric"
                )
            rows.append(PromptRow(task, model, prompt, split, item, group, values[name]))  # type: ignore[arg-type]
    return rows


def _items(folder: Path, given: Any, domain: Any) -> list[tuple[str, str, dict[str, float | None]]]:
    """Each item's name, group and scores, of judgements or of candidates."""
    from vlmalign.cli.given_truth import score_against
    from vlmalign.evaluation.run_items import items_of_judgements
    from vlmalign.records import DataError
    from vlmalign.records.manifest import read_manifest

    kind = read_manifest(folder).kind
    if kind == "judgement":
        groups = None if given is None else given.groups
        judged, _ = items_of_judgements(folder, groups)
        return [(item.case_id, item.group, dict(item.values)) for item in judged]
    if kind != "candidate":
        raise DataError(f"it holds {kind} records", "Give folders of judgements or of candidates.", file=folder)
    if given is None:
        raise ValueError("--cases is not given: candidates are scored against what is known of their cases")
    scored, _ = score_against(folder, given, domain, domain.observed_concepts)
    return [("/".join(str(part) for part in item.key[1:]), item.group_id, dict(item.metrics)) for item in scored]


def _place(text: str) -> tuple[tuple[str, str, str, str], Path]:
    place, equals, folder = text.partition("=")
    parts = place.split("/")
    if not equals or not folder or len(parts) != 4 or not all(parts):
        raise ValueError(f"--run {text!r}: expected {PLACE}=FOLDER")
    if parts[3] not in ("validation", "test"):
        raise ValueError(f"--run {text!r}: the split is {parts[3]!r}, expected validation or test")
    return (parts[0], parts[1], parts[2], parts[3]), Path(folder)


def _show(found: dict[str, Any]) -> None:
    first, second = found["models"]
    rows = [("task", "prompt", "prompt", f"{first} minus {second}", "p, Holm", "outcome")]
    for name, task in found["tasks"].items():
        p = "–" if task["p_holm"] is None else f"{task['p_holm']:.3f}"
        difference = figure(task["difference"], share=False)
        rows.append((name, *task["prompts"], difference, p, task["outcome"]))
    rows[0] = ("task", f"prompt of {first}", f"prompt of {second}", *rows[0][3:])
    show_rows(f"{first} against {second}, over {len(found['tasks'])} tasks", rows)
    titles = {"tested": "each by its interval", "after_holm": "all together (Holm)", "raw": "by the sign alone",
              "one_prompt": f"with {first}'s prompt for both"}  # fmt: skip
    show_rows(f"wins, ties and losses of {first}", [
        (title, ", ".join(f"{n} {outcome}" for outcome, n in found[key].items())) for key, title in titles.items()
    ])  # fmt: skip
    spreads = [
        (name, model, f"{told['best']} minus {told['worst']}", figure(told["difference"], share=False))
        for name, task in found["tasks"].items()
        for model, told in task["prompt_spread"].items()
        if told is not None
    ]
    if spreads:
        show_rows("what the prompt does on test items, best minus worst of validation", spreads)
    console.print("\nprompts were chosen on validation items; no test item chose any", markup=False)
