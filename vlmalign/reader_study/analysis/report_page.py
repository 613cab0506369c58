"""The page and files of an analysis: results.json, report.html, methods.md and the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmalign.evaluation.page_parts import Figure
from vlmalign.evaluation.page_template import page_template
from vlmalign.evaluation.report_view import flat_rows
from vlmalign.reader_study.analysis import report_tables as tables
from vlmalign.reader_study.analysis.analyze import FORMAT
from vlmalign.reader_study.analysis.forest import rating_forest, win_forest
from vlmalign.reader_study.analysis.methods_text import methods_text
from vlmalign.records import DataError
from vlmalign.records.writing import put

FIGURES = {f"{name}.{kind}" for name in ("preferences", "ratings") for kind in ("svg", "png")}
RESULTS, REPORT, METHODS = "results.json", "report.html", "methods.md"


def write_analysis(results: Mapping[str, Any], out: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write the files of an analysis; results.json comes last, so that a folder that has it is whole.

    Args:
        results: what `analyze` returns.
        out: the folder to write; an earlier analysis of the same study is replaced.
        overwrite: replace that of another study.

    Returns:
        The files.

    Raises:
        DataError: the folder holds something else.
    """
    out = Path(out)
    _refuse_other(out, results["design"]["study"], overwrite)
    files: dict[str, bytes] = {}
    for name, draw in _drawings(results).items():
        for kind in ("svg", "png"):
            files[f"{name}.{kind}"] = draw(image_format=kind)
    files[METHODS] = methods_text(results).encode()
    files[REPORT] = render_analysis(results).encode()
    files[RESULTS] = (json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    (out / RESULTS).unlink(missing_ok=True)  # not whole while the others are written
    for name in FIGURES - files.keys():
        (out / name).unlink(missing_ok=True)  # of an earlier analysis, about another study or other questions
    for name, data in files.items():
        put(out / name, data)
    return [out / name for name in files]


def _refuse_other(out: Path, study: str, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        found = json.loads((out / RESULTS).read_text(encoding="utf-8"))
        ours = isinstance(found, dict) and found.get("format") == FORMAT
    except (OSError, ValueError):
        ours = False
    if not ours:
        if out.is_dir() and {path.name for path in out.iterdir()} <= FIGURES | {REPORT, METHODS}:
            return  # an analysis that was broken off
        raise DataError("the folder is not empty and holds no analysis", "Choose another --out.", file=out)
    if found["design"]["study"] != study and not overwrite:
        raise DataError(
            f"the folder holds the analysis of study {found['design']['study']!r}",
            "Choose another --out, or pass --overwrite.",
            file=out,
        )


def _drawings(results: Mapping[str, Any]) -> dict[str, Any]:
    drawings: dict[str, Any] = {}
    if results["preference"]:
        drawings["preferences"] = lambda **look: win_forest(results["preference"]["pairs"], **look)
    if results["ratings"]:
        drawings["ratings"] = lambda **look: rating_forest(results["ratings"]["differences"], **look)
    return drawings


def render_analysis(results: Mapping[str, Any]) -> str:
    """The page. All text is escaped; it forbids scripts and every outside address."""
    used = {one["difference"]["estimand"] for one in (results["ratings"] or {}).get("differences", ())}
    estimands = " or ".join(sorted(used)) or results["estimand"]
    captions = {
        "preferences": (
            "Wins, ties and losses",
            "Left: answers (numbers inside). Right: win rate, a tie counting one half, with its 95 % interval: "
            f"diamonds for {results['estimand']} on new cases, circles for each reader alone. Line: no "
            "preference.",
        ),
        "ratings": (
            "Differences of ratings",
            f"Mean paired difference with its 95 % interval, for {estimands} on new cases. Line: none.",
        ),
    }
    figures = {name: Figure.drawn(*captions[name], draw) for name, draw in _drawings(results).items()}
    preference, ratings, errors = results["preference"], results["ratings"], results["errors"]
    return page_template("analysis.html.j2", "vlmalign.reader_study").render(
        design=results["design"],
        estimand=results["estimand"],
        notes=results["notes"],
        figures=figures,
        sentences=[one["sentence"] for one in preference["pairs"]]
        if preference
        else [f"{tables.difference_sentence(one)}." for one in (ratings or {}).get("differences", ())],
        wins=tables.win_table(preference) if preference else None,
        by_reader=tables.reader_table(preference) if preference else None,
        length=tables.length_table(preference) if preference else None,
        side=tables.side_table(preference) if preference else None,
        ratings=tables.rating_table(ratings) if ratings else None,
        differences=tables.difference_table(ratings) if ratings else None,
        errors=tables.error_table(errors) if errors else None,
        error_differences=tables.error_difference_table(errors) if errors else None,
        agreement=tables.agreement_rows(results["agreement"]),
        mixed=tables.mixed_rows(results),
        blinding=results["blinding"],
        times=tables.time_rows(results["times"]),
        methods=[part for part in methods_text(results).split("\n\n") if not part.startswith("#")],
        counts=flat_rows(results["counts"]),
    )
