"""`vlmalign evaluate checklist`: a reporting checklist, filled from what runs wrote down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import check_outs, show_rows, write_figures

ENDINGS = (".html", ".md")


def evaluate_checklist(
    name: Annotated[str, typer.Argument(help="mi-claim-gen or elevate-ai")],
    places: Annotated[
        list[Path], typer.Argument(help="runs, folders of them, dataset folders, JSON files of figures")
    ],
    out: Annotated[Path | None, typer.Option(help="write the page here: FILE.html or FILE.md")] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="YAML file of what a human wrote: `1a: text`, or `4d: {not_applicable: why}`"),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write states and evidence here")] = None,
) -> None:
    """Fill a reporting checklist from manifests, runs and figures; what no file tells stays a gap to write.

    For example: vlmalign evaluate checklist mi-claim-gen runs/demo scores.json --out checklist.html
    --answers answers.yaml

    No item is filled without a file or a human behind it, and none is left out unless a human says that it does
    not apply.
    """
    from vlmalign.evaluation.checklists import (
        checklist_html,
        checklist_markdown,
        fill_checklist,
        load_checklist,
        read_answers,
        read_evidence,
    )
    from vlmalign.records.writing import put

    checklist = load_checklist(name)
    if out is not None and out.suffix not in ENDINGS:
        raise ValueError(f"--out is {out}: name a file that ends on {' or '.join(ENDINGS)}")
    # a folder of runs is a good place for the page on them; a file that is read is not to be replaced
    read = [*(place for place in places if place.is_file()), *([answers] if answers is not None else [])]
    check_outs({"--json": json_file, "--out": out}, read)
    written = read_answers(answers, checklist) if answers is not None else {}
    filled = fill_checklist(checklist, read_evidence(places), written)
    counts = filled.counts
    console.print(checklist.title, markup=False)
    show_rows(
        f"{len(filled.items)} items: "
        + ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in counts.items()),
        [(found.item.number, found.state, found.item.text) for found in filled.items],
    )
    console.print(f"\n{checklist.note}", markup=False)
    write_figures(filled.to_dict(), json_file)
    if out is not None:
        put(out, (checklist_html if out.suffix == ".html" else checklist_markdown)(filled).encode())
        console.print(f"wrote {out}", markup=False)
