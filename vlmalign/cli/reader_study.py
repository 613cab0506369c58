"""`vlmalign reader-study`: clinicians rate texts blind in a browser; their ratings come back as records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vlmalign.cli.console import console, errors
from vlmalign.cli.named_values import named_values
from vlmalign.cli.reader_study_analyze import analyze

app = typer.Typer(no_args_is_help=True, help="Reader studies: design, export, import, analyse.")

Study = Annotated[Path, typer.Argument(help="the study folder")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what was written with other settings")]
KeyFile = Annotated[Path | None, typer.Option("--key", help="the key, where it is kept elsewhere")]


@app.command("design")
def design(
    out: Annotated[Path, typer.Option(help="the study folder to write")],
    reader: Annotated[list[str], typer.Option(help="a reader's name or pseudonym; may be repeated")],
    purpose: Annotated[
        Literal["training", "evaluation"], typer.Option(help="what the answers are for; a case serves one only")
    ],
    cases: Annotated[list[Path] | None, typer.Option(help="folder of cases; may be repeated")] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="NAME=candidates, NAME=reference (the cases' reports) or NAME=reports.csv; repeat it"),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="instead of cases and arms: pairs, e.g. of `vlmalign data uncertain`")
    ] = None,
    n: Annotated[int | None, typer.Option(min=1, help="how many cases; default all that can be used")] = None,
    select: Annotated[
        Literal["all", "random", "stratified", "uncertain", "listed"], typer.Option(help="which cases")
    ] = "random",
    stratify: Annotated[
        str | None, typer.Option(help="domain, split, attributes.NAME or finding.CONCEPT; with select stratified")
    ] = None,
    judged: Annotated[
        Path | None, typer.Option(help="scores of the candidates with std; with select uncertain")
    ] = None,
    case_list: Annotated[Path | None, typer.Option(help="a file, one case id a line; with select listed")] = None,
    alone: Annotated[bool, typer.Option("--alone", help="one text at a time instead of two side by side")] = False,
    preference: Annotated[
        int | None, typer.Option(help="steps of the preference question: 3, 5, or 0 for none; default 3, alone 0")
    ] = None,
    criterion: Annotated[
        list[str] | None, typer.Option(help="rated from 1 to 5, e.g. correctness; may be repeated")
    ] = None,
    mark_errors: Annotated[bool, typer.Option("--mark-errors", help="readers mark wrong sentences")] = False,
    repeats: Annotated[int, typer.Option(min=0, help="cases that each reader reads twice")] = 0,
    kappa: Annotated[
        bool, typer.Option("--kappa", help="refuse fewer repeats than intra-reader kappa needs")
    ] = False,
    crossed: Annotated[
        bool, typer.Option("--crossed", help="each case in every comparison, a washout between the parts")
    ] = False,
    washout_days: Annotated[int, typer.Option(min=0, help="between the parts of a crossed study")] = 28,
    readers_per_case: Annotated[
        int | None, typer.Option(min=1, help="default all; fewer in balanced blocks")
    ] = None,
    per_group: Annotated[int, typer.Option(min=1, help="at most so many cases of one patient")] = 1,
    earlier: Annotated[
        list[Path] | None, typer.Option(help="an earlier study, whose cases are not reused")
    ] = None,
    trained_on: Annotated[
        list[Path] | None, typer.Option(help="records that models learnt from; not read for evaluation")
    ] = None,
    leave_out_used: Annotated[
        bool, typer.Option("--leave-out-used", help="leave such cases out and count them, instead of refusing")
    ] = False,
    title: Annotated[str, typer.Option(help="readers see it")] = "Reader study",
    instructions: Annotated[str, typer.Option(help="readers see them first")] = "",
    set_: Annotated[
        list[str], typer.Option("--set", help="a further setting, e.g. guesses=0, balance=equal, max_pixels=3000")
    ] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="of cases, order and sides")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Choose cases, allocate them to readers, and write the study with its key.

    For example: vlmalign reader-study design --cases test --arm before=sft --arm after=dpo --reader anna
    --reader ben --purpose evaluation --n 60 --criterion correctness --criterion completeness --out study

    Sides are balanced within each reader. STUDY/public tells nothing of the arms; keep STUDY/private to yourself.
    """
    from vlmalign.cli.settings import make_settings
    from vlmalign.cli.stages import parse_settings
    from vlmalign.reader_study import StudyPlan, design_study, read_key, read_public
    from vlmalign.reader_study.what_meets import limits

    settings: dict[str, Any] = {
        "readers": reader,
        "purpose": purpose,
        "title": title,
        "instructions": instructions,
        "texts_per_item": 1 if alone else 2,
        "preference": preference if preference is not None else (0 if alone else 3),
        "criteria": criterion or (),
        "mark_errors": mark_errors,
        "n_cases": n,
        "select": select,
        "stratify": stratify,
        "per_group": per_group,
        "crossed": crossed,
        "washout_days": washout_days,
        "readers_per_case": readers_per_case,
        "repeats": repeats,
        "kappa": kappa,
        "seed": seed,
    }
    plan = make_settings(StudyPlan, settings | parse_settings(set_), where="reader-study design")
    design_study(
        plan,
        out,
        cases=cases or (),
        arms=named_values(arm or (), "--arm", "NAME=FOLDER, NAME=reference or NAME=reports.csv"),
        pairs=pairs,
        judged=judged,
        listed=_lines(case_list) if case_list else (),
        earlier=earlier or (),
        trained_on=trained_on or (),
        leave_out_used=leave_out_used,
        overwrite=overwrite,
    )
    public, key = read_public(out), read_key(out)
    counts = key.counts
    left_out = ", ".join(f"{name} {k}" for name, k in counts.items() if name != "cases")
    console.print(f"wrote {out}: {counts['cases']} cases" + (f" ({left_out})" if left_out else ""), markup=False)
    for form in public.forms:
        console.print(f"  {form.reader}: {len(form.readings)} screens", markup=False)
    for limit in limits(key):
        errors.print(f"note: {limit}", markup=False)
    console.print(f"key committed to: SHA-256 {public.key_sha256}", markup=False)
    console.print(f"Keep {out / 'private'} from readers.", markup=False)
    console.print(f"Next: vlmalign reader-study export {out} --out for-readers", markup=False)


def _lines(file: Path) -> list[str]:
    """Case ids, one a line; they may hold spaces."""
    names = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    if not (found := [name for name in names if name]):
        raise ValueError(f"--case-list {file}: the file names no case; write one case id a line")
    return found


@app.command("size")
def size(
    half_width: Annotated[float, typer.Option(help="of the wanted 95 % interval of a win rate, e.g. 0.1")],
    readers: Annotated[int, typer.Option(min=1, help="each reading every case")],
    win_rate: Annotated[float, typer.Option(help="expected, among decided answers")] = 0.5,
    tie_rate: Annotated[float, typer.Option(help="expected share of ties")] = 0.0,
    case_share: Annotated[
        float, typer.Option(help="share of the answers' variance that lies between cases")
    ] = 0.3,
    reader_share: Annotated[float, typer.Option(help="the same between readers")] = 0.05,
    new_readers: Annotated[bool, typer.Option("--new-readers", help="readers in general, not these")] = False,
) -> None:
    """How many cases are needed for an interval of the wanted width.

    For example: vlmalign reader-study size --half-width 0.1 --readers 3
    """
    from vlmalign.reader_study import cases_needed

    n = cases_needed(
        half_width,
        readers,
        win_rate=win_rate,
        tie_rate=tie_rate,
        case_share=case_share,
        reader_share=reader_share,
        estimand="new readers" if new_readers else "these readers",
    )
    console.print(f"{n} cases, each read by {readers} reader{'s' * (readers != 1)}", markup=False)


@app.command("export")
def export(
    study: Study,
    out: Annotated[Path, typer.Option(help="folder to write: one folder for each reader inside")],
    format_: Annotated[
        list[str],
        typer.Option(
            "--format", help="form: pages that open from disk; csv: tables; redcap: a project; repeatable"
        ),
    ] = ["form"],  # noqa: B006
    reader: Annotated[list[str] | None, typer.Option(help="only this reader; may be repeated")] = None,
    inline: Annotated[bool, typer.Option("--inline", help="images within the page, as a single file")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write what readers get: pages that open in any browser from disk, without server or network.

    For example: vlmalign reader-study export study --out for-readers
    """
    from vlmalign.reader_study import export_study

    folders = export_study(study, out, formats=format_, readers=reader or (), inline=inline, overwrite=overwrite)
    for folder in folders:
        page = folder / "index.html"
        console.print(f"wrote {page if page.is_file() else folder}", markup=False)


@app.command("import")
def import_(
    study: Study,
    files: Annotated[list[Path], typer.Argument(help="readers' files, JSON or CSV")],
    out: Annotated[Path, typer.Option(help="folder to write: judgements, preferences, and lists")],
    key: KeyFile = None,
    on_bad: Annotated[
        Literal["refuse", "skip"],
        typer.Option(help="refuse faulty files, naming every fault; or set the faulty answers aside"),
    ] = "refuse",
    votes: Annotated[
        Literal["majority", "each"], typer.Option(help="one pair for each comparison, or for each verdict")
    ] = "majority",
    rating_gap: Annotated[
        float,
        typer.Option(min=0, help="no preference was asked: mean ratings no farther apart than this are a tie"),
    ] = 0.5,
    overwrite: Overwrite = False,
) -> None:
    """Check readers' files, undo the blinding with the key, and write judgements and preference pairs.

    For example: vlmalign reader-study import study anna.json ben.json --out read
    """
    from vlmalign.reader_study import import_answers

    found = import_answers(
        study, files, out, key=key, on_bad=on_bad, votes=votes, rating_gap=rating_gap, overwrite=overwrite
    )
    told = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in sorted(found.counts.items()))
    console.print(f"wrote {out}: {told}", markup=False)
    for name, readings in found.missing.items():
        shown = ", ".join(readings[:5]) + (" ..." if len(readings) > 5 else "")
        errors.print(f"missing of {name}: {len(readings)} readings ({shown}; all in report.json)", markup=False)
    for name, partial in found.incomplete.items():
        shown = ", ".join(f"{reading}: {' '.join(asked)}" for reading, asked in list(partial.items())[:3])
        more = " ..." if len(partial) > 3 else ""
        errors.print(
            f"in part of {name}: {len(partial)} readings ({shown}{more}; all in report.json)", markup=False
        )
    if found.absent:
        errors.print(f"no file of: {', '.join(found.absent)}", markup=False)
    for problem in found.problems:
        errors.print(f"set aside: {problem}", markup=False)


app.command("analyze")(analyze)
