"""`vlmalign evaluate critique-gate`: whether a critique model's critiques help it to prefer the better answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.outputs import JsonFile, check_outs, write_figures
from vlmalign.cli.scoring_options import LOGIC, MARGIN, AllowSelfGrading, LogicName, OwnLabels


def evaluate_critiques(
    pairs: Annotated[Path, typer.Option(help="the folder of held-out preference pairs that was scored")],
    own: Annotated[Path, typer.Option(help="judgements of the critique model after its own critiques")],
    plain: Annotated[
        Path, typer.Option(help="judgements of a scalar reward model trained on the same pairs, without critiques")
    ],
    given: Annotated[
        Path | None, typer.Option(help="judgements after given critiques (--set given=PAIRS): a bound from above")
    ] = None,
    cases: Annotated[
        list[Path] | None, typer.Option(help="cases whose findings are known, to check critiques; repeat it")
    ] = None,
    logic: LogicName = LOGIC,
    own_labels: OwnLabels = None,
    allow_self_grading: AllowSelfGrading = None,
    margin: Annotated[float, typer.Option(help="differences below it are of no interest")] = MARGIN,
    json_file: JsonFile = None,
) -> None:
    """Say whether critiques help on held-out pairs: help, hurt, do not help, or undecided.

    For example: vlmalign evaluate critique-gate --pairs pairs --own judged-critique --plain judged-scalar
    --cases cases

    Score the same pairs first: vlmalign score critique --set run=RUN --pairs pairs --out judged-critique, and
    with scalar. Do not put critiques to use where the answer is not `help`.
    """
    from vlmalign.evaluation.critique_gate import critique_gate
    from vlmalign.evaluation.judged_pairs import read_judged_pairs
    from vlmalign.records import Preference, RecordFolder

    judged = [own, plain] if given is None else [own, plain, given]
    check_outs({"--json": json_file}, [pairs, *judged, *(cases or ())])
    folder = RecordFolder(pairs, Preference)
    after_own, without, *bound = (
        read_judged_pairs(folder, path, own_labels=own_labels or (), allow_self_grading=allow_self_grading or ())
        for path in judged
    )
    agreement = None if not cases else _agreement(after_own, own, cases, logic)
    gate = critique_gate(after_own, without, *bound, agreement=agreement, margin=margin)
    results = gate.to_dict()
    console.print("\n".join(gate.sentences), markup=False)
    _show(results)
    write_figures(results, json_file)


def _agreement(judged: Any, path: Path, cases: list[Path], logic: str) -> Any:
    from vlmalign.cli.given_truth import read_cases
    from vlmalign.clinical import load_logic
    from vlmalign.evaluation.critique_gate import critique_agreement
    from vlmalign.records.scores import read_scores

    domain = load_logic(logic)
    truths = read_cases(cases, domain).truths
    known = {name: truth.answers for name, truth in truths.items()}
    return critique_agreement(judged, read_scores(path).judgements, domain, known)


def _show(results: dict[str, Any]) -> None:
    rows = [
        ("accuracy after own critiques", figure(results["own"]["accuracy"])),
        ("accuracy without critiques", figure(results["plain"]["accuracy"])),
        ("own less without, points", figure(results["own_minus_plain"], signed=True)),
        ("unscored after own critiques", figure(results["own"]["unscored"])),
    ]
    if results["given_upper_bound"] is not None:
        rows.append(("accuracy after given critiques (bound)", figure(results["given_upper_bound"]["accuracy"])))
        rows.append(("given less own, points", figure(results["given_minus_own"], signed=True)))
    if results["agreement"] is not None:
        rows.append(("statements of critiques that agree", figure(results["agreement"]["statements"])))
        rows.append(("critiques that are right as a whole", figure(results["agreement"]["whole"])))
        counted = {"unchecked": "saying nothing that can be checked", "unknown_case": "of a case without findings"}
        rows += [(f"critiques {words}", str(results["agreement"][name])) for name, words in counted.items()]
    show_rows("critiques", rows)
