"""How well an expert's findings agree with annotation, on fields that it never saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experts import ellipse_labels
from vlmalign.evaluation import cluster_estimate
from vlmalign.records import Case, Finding, RecordFolder, load_image

SUFFIX = "_count"


def score_expert(cases: Path, findings: Path, only: Iterable[str]) -> list[dict[str, Any]]:
    """One row per field and structure: Dice and absolute error of the count, None where not known.

    Args:
        cases: Case folder whose reference findings carry masks or boxes.
        findings: the expert's Finding folder.
        only: ids of the cases to score.
    """
    wanted = set(only)
    opened, predicted = RecordFolder(cases, Case), RecordFolder(findings, Finding)
    by_case: dict[str, dict[str, Finding]] = {}
    for finding in predicted:
        if finding.concept.endswith(SUFFIX) and finding.case_id is not None:
            by_case.setdefault(finding.case_id, {})[finding.concept] = finding
    rows = []
    for case in opened:
        if case.id not in wanted or case.reference is None:
            continue
        truths = {f.concept: f for f in case.reference.findings if f.concept.endswith(SUFFIX)}
        size = opened.image(case.images[0]).size
        for concept, truth in truths.items():
            found = by_case.get(case.id, {}).get(concept)
            sure = truth.status in ("present", "absent")
            rows.append(
                {
                    "structure": concept.removesuffix(SUFFIX),
                    "group": case.group_id,
                    "dice": _dice(opened, predicted, truth, found, size) if sure and found else None,
                    "count_error": _count_error(truth, found) if sure and found else None,
                }
            )
    return rows


def expert_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`dice` and `count_mae` over all structures, and each structure's own.

    A field in which neither annotation nor expert has a structure has no Dice, and counts as excluded.
    """
    figures = {}
    for name, key in (("dice", "dice"), ("count_mae", "count_error")):
        figures[name] = _estimate(rows, key)
        for structure in dict.fromkeys(row["structure"] for row in rows):
            figures[f"{name}_{structure}"] = _estimate([r for r in rows if r["structure"] == structure], key)
    return figures


def _estimate(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
    values, groups = [row[key] for row in rows], [row["group"] for row in rows]
    return cluster_estimate(values, groups, proportion=key == "dice").to_dict()


def _count_error(truth: Finding, found: Finding) -> float | None:
    if isinstance(truth.value, float) and isinstance(found.value, float):
        return abs(truth.value - found.value)
    return None


def _dice(
    cases: RecordFolder[Case],
    findings: RecordFolder[Finding],
    truth: Finding,
    found: Finding,
    size: tuple[int, int],
) -> float | None:
    theirs, mine = _region(cases, truth, size), _region(findings, found, size)
    total = int(theirs.sum()) + int(mine.sum())
    return 2 * int((theirs & mine).sum()) / total if total else None


def _region(folder: RecordFolder[Any], finding: Finding, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels of a finding's region, (H, W)."""
    region = finding.region
    if region is None:
        return np.zeros((size[1], size[0]), dtype=bool)
    if region.mask is None:
        return ellipse_labels([region.boxes], size) > 0
    mask = load_image(folder.resolve(region.mask), record=finding.id).convert("L")
    labels = np.asarray(mask.resize(size, Image.Resampling.NEAREST))
    return labels == region.label if region.label else labels > 0
