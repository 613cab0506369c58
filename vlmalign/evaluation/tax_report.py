"""The page of the alignment tax: tasks, findings and subgroups before and after alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.finding_changes import STATES, worse_in_words
from vlmalign.evaluation.page_parts import Figure
from vlmalign.evaluation.page_template import write_page
from vlmalign.evaluation.plots import comparison_plot
from vlmalign.evaluation.report_titles import title_of
from vlmalign.evaluation.report_view import Cell, cell_of, flat_rows, methods_of, shaded, show_p

KINDS = {"tax": "harm", "no tax beyond the margin": "benefit"}
#: figures of a subgroup, and whether they are differences
SUBGROUP_CELLS = {
    "before": False, "after": False, "change": True, "gap_before": True, "gap_after": True, "gap_change": True,
}  # fmt: skip
VERDICTS = {"better": "benefit", "worse": "harm"}


@dataclass(frozen=True)
class TaskRow:
    """A task as a line of the table."""

    name: str
    metric: str
    tags: Sequence[str]
    before: Cell | None
    after: Cell | None
    gain: Cell | None
    items: str
    p: str
    verdict: str
    kind: str
    margin: str
    words: Cell | None


@dataclass(frozen=True)
class ChangeRow:
    """A measure of a finding, or of a subgroup."""

    name: str
    note: str
    cells: Sequence[Cell | None]
    p: str = ""
    kind: str = "none"
    verdict: str = ""


def render_tax(results: Mapping[str, Any], out: str | Path) -> Path:
    """Write the page. All text is escaped; it forbids scripts and every outside address.

    Args:
        results: what `vlmalign evaluate tax --json` writes.
        out: the file to write; replaced in one step.

    Returns:
        The path written.
    """
    tasks = results["tasks"]
    return write_page(
        out,
        "tax.html.j2",
        results=results,
        kind=KINDS.get(results["verdict"], "undecided"),
        macro=cell_of(results["macro"]["gain"], signed=True),
        forest=_forest(results),
        rows=[_task(name, each) for name, each in tasks.items()],
        methods_text=methods_of(each["gain"] for each in tasks.values()),
        sentences=_sentences(results),
        findings={name: _findings(found) for name, found in results["findings"].items()},
        changes={name: _right(found, results["margin"]) for name, found in results["findings"].items()},
        tables={name: [(shaded(both["before"]), shaded(both["after"])) for both in found["tables"].values()]
                for name, found in results["findings"].items()},
        subgroups={name: {attribute: _subgroups(rows, tasks[name]["share"]) for attribute, rows in found.items()}
                   for name, found in results["subgroups"].items()},
        titles={name: title_of(each["metric"]) for name, each in tasks.items()},
        counts=flat_rows(results["read"]),
        setup=flat_rows(results["setup"]),
    )  # fmt: skip


def _forest(results: Mapping[str, Any]) -> Figure | None:
    gains = {
        name + (" (target)" if each["target"] else ""): Estimate.from_dict(each["gain"])
        for name, each in results["tasks"].items()
        if each["share"] and each["gain"]["mean"] is not None
    }
    if not gains:
        return None
    if results["macro"]["gain"]["mean"] is not None and len(results["macro"]["over"]) > 1:
        gains["all but targets (macro)"] = Estimate.from_dict(results["macro"]["gain"])
    caption = (
        "After minus before, paired by item, in the direction in which more is better; 95% intervals over groups. "
        "Left of the shaded band is a tax beyond the margin."
    )
    return Figure.drawn("Gains and taxes", caption, comparison_plot, gains, margin=results["margin"],
                        label="gain, after minus before")  # fmt: skip


def _task(name: str, each: Mapping[str, Any]) -> TaskRow:
    share = bool(each["share"])
    tags = ["target"] * each["target"] + ["less is better"] * each["less_is_better"]
    asked = each["non_inferior"]
    margin = "no margin given: its metric is no share"
    if asked is not None:
        word = {True: "within", False: "not shown within", None: "cannot be said:"}[asked["shown"]]
        margin = f"{word} {100 * each['margin']:g} points" if share else f"{word} {each['margin']:g}"
    items = each["items"]
    words = None if each["words"] is None else cell_of(each["words"]["ratio"], share=False)
    return TaskRow(
        name=name,
        metric=title_of(each["metric"]),
        tags=tags,
        before=cell_of(each["before"], share=share),
        after=cell_of(each["after"], share=share),
        gain=cell_of(each["gain"], share=share, signed=share),
        items=f"{items['better']} / {items['equal']} / {items['worse']}",
        p="–" if each["target"] else show_p(each["p_holm"]),
        verdict=each["verdict"],
        kind=VERDICTS.get(each["verdict"], "undecided"),
        margin=margin,
        words=words,
    )


def _sentences(results: Mapping[str, Any]) -> list[str]:
    told = []
    for side, word in (("only_before", "before"), ("only_after", "after")):
        names = results["missing_tasks"][side]
        if names:
            told.append(
                f"{len(names)} tasks are there only {word} alignment and were left out: {', '.join(names)}."
            )
    for name, each in results["tasks"].items():
        counts = each["counts"]
        if counts["only_before"] or counts["only_after"]:
            only = f"{counts['only_before']} items are only before and {counts['only_after']} only after"
            told.append(f"{name}: {only}; they were left out.")
    told += [f"{name} is not in the overall figure: {why}." for name, why in results["macro"]["left_out"].items()]
    return told


def _findings(found: Mapping[str, Any]) -> dict[str, Any]:
    rows = []
    surely = {tuple(pair): word for word in ("worse", "better") for pair in found[word]}
    for name, each in found["findings"].items():
        about = f"{each['known']} known"
        if each["present"] is not None:
            about += f", {each['present']} have it"
        if each["one_side_only"]:
            about += f"; {each['one_side_only']} on one side only"
        unverified = each["unverified"]
        if any(unverified.values()):
            about += f"; said where nothing is known: {unverified['before']} before, {unverified['after']} after"
        for measure in ("sensitivity", "specificity", *STATES):
            one = each.get(measure)
            if one is None:
                continue
            cells = _cells(one)
            verdict = surely.get((name, measure), "")
            rows.append(ChangeRow(f"{name.replace('_', ' ')}: {measure}", about, cells, show_p(one.get("p_holm")),
                                  VERDICTS.get(verdict, "none"), verdict))  # fmt: skip
            about = ""
    everything = [ChangeRow(f"all claims: {state}", "", _cells(one)) for state, one in found["all"].items()]
    return {"sentence": worse_in_words(found), "rows": [*everything, *rows], "unknown_only": found["unknown_only"]}


def _right(found: Mapping[str, Any], margin: float) -> Figure | None:
    """Each finding's change of the share right."""
    changes = {
        name.replace("_", " "): Estimate.from_dict(each["right"]["difference"])
        for name, each in found["findings"].items()
    }
    if not changes:
        return None
    caption = "Of items whose truth is known; 95% intervals over groups."
    return Figure.drawn("Claims right, by finding", caption, comparison_plot, changes, margin=margin,
                        label="share right, after minus before")  # fmt: skip


def _cells(one: Mapping[str, Any]) -> list[Cell | None]:
    return [cell_of(one["before"]), cell_of(one["after"]), cell_of(one["difference"], signed=True)]


def _subgroups(rows: Mapping[str, Any], share: bool) -> list[ChangeRow]:
    shown = []
    for name, each in rows.items():
        state = each["state"] + (f"; small: {each['groups']} groups" if each["small"] else "")
        cells = [
            None if each[key]["mean"] is None else cell_of(each[key], share=share, signed=signed and share)
            for key, signed in SUBGROUP_CELLS.items()
        ]
        shown.append(ChangeRow(name, f"{each['items']} items", cells, verdict=state))
    return shown
