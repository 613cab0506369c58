"""What a report says of the fourteen CheXpert findings: positive, negative, uncertain, or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from vlmalign.clinical import Logic, parse_text
from vlmalign.records import DataError

FindingState = Literal["positive", "negative", "uncertain", "blank", "contradictory"]

#: concept of chest_xray.yaml -> column of CheXpert's tables
CHEXPERT = {
    "enlarged_cardiomediastinum": "Enlarged Cardiomediastinum", "cardiomegaly": "Cardiomegaly",
    "lung_opacity": "Lung Opacity", "lung_lesion": "Lung Lesion", "edema": "Edema", "consolidation": ""
    "Consolidation",
    "pneumonia": "Pneumonia", "atelectasis": "Atelectasis", "pneumothorax": "Pneumothorax",
    "pleural_effusion": "Pleural Effusion", "pleural_other": "Pleural Other", "fracture": "Fracture",
    "support_devices": "Support Devices", "no_finding": "No Finding",
}  # fmt: skip
FIVE = ("cardiomegaly", "edema", "consolidation", "atelectasis", "pleural_effusion")

_NOTHING_ACUTE = re.compile(
    r"\b(?:no|without|negative for)(?: radiographic| evidence of| convincing| definite| significant)*"
    r" (?:acute|active)(?:[ /,-]+\w+){0,4}? (?:abnormalit\w+|disease|process\w*|findings?|patholog\w+)\b",
    re.IGNORECASE,
)
_SAID: Mapping[str, FindingState] = {
    "present": "positive", "absent": "negative", "uncertain": "uncertain", "not_assessed": "blank",
    "contradictory": "contradictory",
}  # fmt: skip


class ReportStates(NamedTuple):
    """State of each of the fourteen findings, and whether the parser read anything at all in the text."""

    states: Mapping[str, FindingState]
    read: bool


def states_of_answers(answers: Mapping[str, str]) -> dict[str, FindingState]:
    """States from answers (concept -> value); what is not among them is blank.

    No Finding, where it is not stated, is positive if no finding but devices is positive, uncertain or
    contradictory (the rule of CheXpert's labeller), but only if something is known: a text of which nothing is
    read is not normal.

    Example:
        >>> states_of_answers({"edema": "absent", "support_devices": "present"})["no_finding"]
        'positive'
    """
    states: dict[str, FindingState] = {
        concept: _SAID.get(answers[concept], "blank") if concept in answers else "blank" for concept in CHEXPERT
    }
    if states["no_finding"] == "blank" and any(state != "blank" for state in states.values()):
        others = [states[c] for c in CHEXPERT if c not in ("support_devices", "no_finding")]
        states["no_finding"] = (
            "negative" if {"positive", "uncertain", "contradictory"} & set(others) else "positive"
        )
    return states


def states_of_text(logic: Logic, text: str) -> ReportStates:
    """States as our claim parser reads a report.

    "No acute cardiopulmonary abnormality" and its like are no claim of the logic (an old fracture may be there),
    and many reports say nothing else: with no other claim they make No Finding positive, as CheXpert's labeller
    has it.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> found = states_of_text(load_logic("chest_xray"), "No acute cardiopulmonary disease.")
        >>> found.states["no_finding"], found.states["edema"], found.read
        ('positive', 'blank', True)
    """
    parsed = parse_text(logic, text)
    states = states_of_answers(parsed.answers)
    nothing_acute = _NOTHING_ACUTE.search(text) is not None
    if nothing_acute and states["no_finding"] == "blank":
        states["no_finding"] = "positive"
    return ReportStates(states, bool(parsed.claims) or nothing_acute)


def states_of_columns(row: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, FindingState] | None:
    """States from CheXpert's columns (1, 0, -1, blank); None where the row has none of them.

    Raises:
        DataError: a cell holds something else.
    """
    if not any(column in row for column in CHEXPERT.values()):
        return None
    found: dict[str, FindingState] = {}
    codes: dict[float, FindingState] = {1.0: "positive", 0.0: "negative", -1.0: "uncertain"}
    for concept, column in CHEXPERT.items():
        cell = row.get(column)
        if cell is None or str(cell).strip().lower() in ("", "nan"):
            found[concept] = "blank"
            continue
        try:
            found[concept] = codes[float(cell)]
        except (ValueError, KeyError):
            raise DataError(f"the cell is {cell!r}, expected 1, 0, -1 or nothing", "Correct it.",
                            field=column, **place) from None  # fmt: skip
    return found
