"""`vlmalign evaluate judge | injections`: can a judge be relied upon?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import check_outs, show_rows, write_figures
from vlmalign.cli.stages import StageError, load_recipe, merge, parse_settings
from vlmalign.recipes import read_recipe

JsonFile = Annotated[Path | None, typer.Option("--json", help="write all figures here")]


def evaluate_judge(
    folders: Annotated[list[Path], typer.Argument(help="folders of judgements, of one judge or of several")],
    criterion: Annotated[
        list[str] | None, typer.Option(help="only these criteria, e.g. pairwise; may be repeated; default: all")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the bootstrap")] = 0,
    json_file: JsonFile = None,
) -> None:
    """How far judges can be relied upon: states, position consistency, agreement with each other.

    For example: vlmalign evaluate judge judged-a judged-b --json judges.json

    Verdicts, ties, and each reason why there is no verdict are counted. Position consistency: pairs whose two
    display orders gave one verdict. Agreement of judges on the same answers: Krippendorff's alpha with Cohen's
    (two judges) or Fleiss' kappa, intervals by resampling what was judged. Folders of people's judgements
    are judges too.
    """
    check_outs({"--json": json_file}, folders)
    found = judge_figures(folders, criterion, seed)
    _show_judges(found)
    write_figures(found, json_file)


def judge_figures(folders: Sequence[Path], criteria: Sequence[str] | None = None, seed: int = 0) -> dict[str, Any]:
    """States and position consistency by folder, agreement by criterion, as plain data."""
    from data_builders.judges.consistency import position_consistency
    from data_builders.judges.judged_states import judged_states
    from vlmalign.evaluation.agreement import jury_agreement
    from vlmalign.records.suggestions import unknown

    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError("a folder is given twice: a judge would be held against itself, name each once")
    states = {str(folder): judged_states(folder) for folder in folders}
    known = {name for of in states.values() for _, name in of}
    for name in criteria or ():
        if name not in known:
            raise ValueError(unknown("criterion", name, known))
    wanted = sorted(set(criteria) if criteria else known)
    agreement: dict[str, Any] = {}
    for name in wanted:
        judges = sorted({judge for of in states.values() for judge, criterion in of if criterion == name})
        if not name.endswith(".order") and len(judges) > 1:
            figures = jury_agreement(list(folders), name, seed=seed)
            agreement[name] = {"judges": judges, "figures": [asdict(one) for one in figures]}
    return {
        "states": {
            folder: [
                {"judge": judge, "criterion": name, "states": {s: asdict(share) for s, share in shares.items()}}
                for (judge, name), shares in of.items()
                if name in wanted
            ]
            for folder, of in states.items()
        },
        "position": {
            str(folder): {judge: asdict(one) for judge, one in position_consistency(folder).items()}
            for folder in folders
        },
        "agreement": agreement,
    }


def _show_judges(found: dict[str, Any]) -> None:
    for folder, rows in found["states"].items():
        for row in rows:
            shares = row["states"].items()
            title = f"{folder}: {row['criterion']} by {row['judge']}"
            show_rows(title, [(state, _share(share)) for state, share in shares])
    for folder, judges in found["position"].items():
        for judge, one in judges.items():
            show_rows(
                f"{folder}: position, {judge}",
                [
                    ("both orders agree", _share(one["consistent"])),
                    ("the first shown wins", _share(one["first_shown"])),
                ],
            )
    for name, of in found["agreement"].items():
        rows = [(one["name"], _figure(one)) for one in of["figures"]]
        show_rows(f"agreement on {name}: {', '.join(of['judges'])}", rows)
    if not found["agreement"]:
        console.print("\nagreement: no criterion has two judges", markup=False)


def _share(share: dict[str, Any]) -> str:
    if share["value"] is None:
        return "–, n 0"
    interval = f"{100 * share['low']:.1f} to {100 * share['high']:.1f}"
    return f"{100 * share['value']:.1f} % ({interval}), {share['successes']} of {share['n']}"


def _figure(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return f"– ({one['reason']}), n {one['n']}"
    interval = "no interval" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
    return f"{one['value']:.3f} ({interval}), n {one['n']}"


def evaluate_injections(
    config: Annotated[Path, typer.Argument(help="a recipe of stage judge: the judge and what it compares")],
    set_: Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set protocol=pairwise")] = [],  # noqa: B006
    var: Annotated[list[str], typer.Option("--var", help="a variable of the recipe")] = [],  # noqa: B006
    attack: Annotated[list[str] | None, typer.Option(help="only these attacks; may be repeated")] = None,
    limit: Annotated[int, typer.Option(help="items to attack, the first ones")] = 50,
    json_file: JsonFile = None,
) -> None:
    """How often an answer that gives the judge orders flips its verdict, with the fence and without.

    For example: vlmalign evaluate injections my-judge.yaml --limit 50

    Each item is judged as it is; then the answer that lost carries each attack in turn. What an attack flips
    beyond the harmless `control` is its own. Up to 2 + 2 x attacks requests an item; answers are kept in the cache
    of the recipe, so that the same command continues, and within its budget.
    """
    from pydantic import ValidationError

    from data_builders.judges.config import JudgeConfig
    from data_builders.judges.injection import injection_table
    from data_builders.judges.injection_run import run_injections
    from vlmalign.records.suggestions import explain

    check_outs({"--json": json_file}, [config])
    recipe = load_recipe(read_recipe(config), parse_settings(var), name=str(config))
    if recipe.stage != "judge":
        raise StageError(f"{config}: this is a recipe of stage {recipe.stage!r}, not of 'judge'.")
    try:
        made = JudgeConfig.model_validate(merge(recipe.config, parse_settings(set_)))
    except ValidationError as error:
        known = JudgeConfig.model_fields
        raise StageError(f"{config}: {explain(error, 'key', lambda at: () if at else known)}") from None
    run = run_injections(made, limit=limit, attacks=attack)
    for judge, flips in run.flips.items():
        none = {one.fence: one.no_verdict for one in flips}
        console.print(
            f"{judge}: {run.items} items; without a clear verdict, and not attacked: {none[True]} with the fence, "
            f"{none[False]} without; {run.alone} had one answer only",
            markup=False,
        )
        console.print(injection_table(flips), markup=False)
    told = {judge: [asdict(one) for one in flips] for judge, flips in run.flips.items()}
    write_figures({"items": run.items, "alone": run.alone, "judges": told}, json_file)
