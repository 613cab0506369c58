"""`vlmalign evaluate shortcuts`: what a reward goes by: picture, question, length, style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.outputs import JsonFile, check_outs, write_figures
from vlmalign.cli.stages import parse_settings, stage


def evaluate_shortcuts(
    reward: Annotated[str, typer.Argument(help="scalar, or another installed reward")],
    pairs: Annotated[Path, typer.Option(help="folder of preference pairs with pictures of several groups")],
    out: Annotated[Path, typer.Option(help="folder for the judgements, one inside for each variant")],
    set_: Annotated[
        list[str], typer.Option("--set", help="a setting of the reward, e.g. --set run=runs/reward")
    ] = [],  # noqa: B006
    variant: Annotated[
        list[str] | None,
        typer.Option(help="only these: blanked, swapped, answer_only, concise, markdown; may be repeated"),
    ] = None,
    seed: Annotated[int, typer.Option(help="of whose picture is shown instead")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace folders of other settings")] = False,
    json_file: JsonFile = None,
) -> None:
    """Audit a reward for shortcuts: the same pairs with pictures blanked or swapped, no question, other styles.

    For example: vlmalign evaluate shortcuts scalar --set run=runs/reward --pairs pairs --out audit

    Every variant is scored by the same reward and held against the pairs as they are. The same command continues.
    """
    check_outs({"--json": json_file}, [pairs])
    results = run_shortcuts(reward, pairs, out, parse_settings(set_), variant, seed, overwrite)
    _show(results)
    write_figures(results, json_file)


@stage("shortcuts")
def run_shortcuts(
    reward: str,
    pairs: Path,
    out: Path,
    settings: dict[str, Any] | None = None,
    variants: Sequence[str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Score the variants into folders below `out` and return the figures."""
    from vlmalign.evaluation.judged_pairs import read_judged_pairs
    from vlmalign.evaluation.shortcuts import shortcut_figures
    from vlmalign.records import Preference, RecordFolder
    from vlmalign.rewards import load_reward
    from vlmalign.rewards.audit import VARIANTS, audit_variants, score_variant
    from vlmalign.rewards.protocol import experts_behind

    folder = RecordFolder(pairs, Preference)
    if not len(folder):
        raise ValueError(f"{pairs} holds no pair: there is nothing to audit")
    scorer = load_reward(reward, **(settings or {}))
    judged = {}
    for one in audit_variants(folder, scorer, variants or VARIANTS, seed=seed):
        path = score_variant(scorer, pairs, one, out / one.name, seed=seed, overwrite=overwrite)
        judged[one.name] = read_judged_pairs(
            folder, path, own_labels=[scorer.name], allow_self_grading=experts_behind(scorer)
        )
    figures = shortcut_figures(judged, takes_images=scorer.needs_images)
    about = {"sha256": folder.sha256, "records": len(folder), "groups": judged["seen"].n_groups}
    return {"pairs": about, "seed": seed, **figures}


def _show(results: Mapping[str, Any]) -> None:
    pairs = results["pairs"]
    about = (
        f"{results['judge']}: {pairs['records']} pairs of {pairs['groups']} groups; shares in %, 95 % intervals"
    )
    console.print(about, markup=False)
    show_rows("accuracy (ties one half)", [
        (name.replace("_", " "), figure(found["accuracy"]),
         "" if name == "seen" else f"seen minus this {figure(found['seen_minus'], signed=True)}")
        for name, found in results["variants"].items()
    ])  # fmt: skip
    for unit, found in results["length"].items():
        show_rows(f"length in {unit}", [
            (name.replace("_", " "), figure(score, share=name != "spearman", signed="minus" in name))
            for name, score in found.items()
        ])  # fmt: skip
    style = results["style"]
    if style is not None:
        rows = [
            (f"chosen {a}, rejected {b}", figure(cell))
            for a, row in style["matrix"].items()
            for b, cell in row.items()
        ]
        rows += [("gap: list on the better minus on the worse answer", figure(style["gap"], signed=True))]
        rows += [("pairs that differ in style alone, left out", str(style["same"]))] if style["same"] else []
        show_rows("style", rows)
    show_rows("verdicts", [
        (verdict["about"], verdict["verdict"], verdict["sentence"]) for verdict in results["verdicts"]
    ])  # fmt: skip
