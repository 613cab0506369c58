"""BCCD: photographs of blood smears with boxes around the cells, cut into fields.

Each 640 x 480 photograph is tiled into centred, non-overlapping square fields. Cells come from the boxes;
focus and stain from fixed pixel rules (`pixel_rules`); the kind of a leukocyte is not known and is left out.
What keeps photographs together in a split, and what was measured for it, is in `bccd_groups`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from data_builders.sources import pixel_rules
from data_builders.sources.bccd_groups import group_of
from data_builders.sources.pixel_rules import focus_of, stain_of, stained_share
from data_builders.sources.png import png_bytes
from data_builders.sources.prompt import prompt_bank, report_request
from data_builders.sources.voc import OnBad, VocPhotograph, read_voc
from vlmalign.records import Case, DataError, DatasetBuild, Finding, ImageRef, Reference, Region, load_image
from vlmalign.records.finding import Status
from vlmalign.records.hashing import config_hash, pseudonym

VERSION = 1
DOMAIN = "peripheral_smear"
EXPERT = "bccd_annotation@1"
STRUCTURES = {"RBC": "red_cell", "WBC": "leukocyte", "Platelets": "platelet"}
COUNTED_SHARE = {"red_cell": 0.5, "leukocyte": 0.35, "platelet": 0.6}
SEEN_SHARE = 0.10  # a leukocyte of which this much shows is seen, though not counted: the field is uncertain
MISSED_SHARE = 0.25  # stained share of the field minus annotated cover above which cells were surely missed
KEY = b"vlmalign bccd: file numbers, no patient identifiers"  # published: there is nothing to protect
NOTES = {
    "licence": "MIT (Shenggan/BCCD_Dataset, train and validation part, revision d272fb1).",
    "patients": "No patient ids exist. Whether two photographs show one patient is unknown.",
    "grouping": "A group is a block of consecutive file numbers, joined with every block that shows some of the "
    "same cells again (found by cross-correlation; the pairs are listed in data_builders.sources.bccd_groups).",
    "annotation": "Some cells are not annotated, so counts and cover are lower bounds. Twelve photographs have no "
    "red-cell box at all: their red cells are not_assessed. Where pixels show much more red than the boxes cover, "
    "red-cell findings are uncertain (value kept).",
    "review": "Looked at by an engineer, not by a haematologist: 50 fields without an annotated platelet and 50 "
    "without an annotated leukocyte, drawn by random.Random(20261125).sample and "
    "random.Random(20261126).sample from the fields of that status sorted by id. Platelets: 2 of 50 "
    "fields show one (4 %, exact 95 % interval 0.5 to 13.7 %), 7 more a small dark body that may be one. "
    "Leukocytes: 0 of 50 show a countable one (0 to 7.1 %), 1 is doubtful, 5 show a sliver of less than a "
    "tenth. A grey blotch at one place of many photographs (upper right) is dirt on the optics.",
    "cut_cells": "A cell counts if half of its box lies in the field (leukocyte 35 %, platelet 60 %). A leukocyte "
    "of which 10 to 35 % shows, with none counted, makes the leukocyte count uncertain. extra.annotation.cut "
    "counts what was not counted.",
    "pixel_rules": "Focus and stain are measured from pixels by fixed rules, not annotated: definitions, see "
    "data_builders.sources.pixel_rules.",
}

Box = tuple[float, float, float, float]


@dataclass
class FieldCells:
    """What the annotation says of one field; boxes in pixels of the field, clipped to it."""

    counted: dict[str, list[Box]] = field(default_factory=lambda: {name: [] for name in COUNTED_SHARE})
    cut: Counter[str] = field(default_factory=Counter)
    largest_cut_leukocyte: float = 0.0  # share of its box that lies in the field
    red_boxes: list[Box] = field(default_factory=list)  # counted or cut
    red_cell_cover: float = 0.0


def build_bccd(
    data: str | Path,
    out: str | Path,
    *,
    field: int = 208,
    block: int = 10,
    overwrite: bool = False,
    limit: int | None = None,
    on_bad: OnBad = "refuse",
) -> Path:
    """BCCD: real blood smear photographs, tiled into fields, with what their boxes say.

    Everything is checked before anything is written. A build that is killed continues and ends with the
    same bytes. Photographs or annotations that changed since are other settings: the folder is refused.

    Args:
        data: folder with `JPEGImages/` and `Annotations/`.
        out: the dataset folder.
        field: side of a field in pixels.
        block: consecutive file numbers in a group, before overlapping blocks are joined.
        overwrite: replace a folder built with other settings.
        limit: use only the first so many photographs.
        on_bad: "skip" leaves boxes without area or outside the picture out and counts them (`bad_boxes`).

    Returns:
        The folder.

    Raises:
        DataError: anything wrong with the data (see `read_voc`), a file name without a number, a photograph
            smaller than a field.
        ValueError: a number out of range.
    """
    for name, value, least in (
        ("field", field, 16),
        ("block", block, 1),
        ("limit", 1 if limit is None else limit, 1),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}: at least {least} is required")
    photographs = read_voc(data, classes=STRUCTURES, on_bad=on_bad)[:limit]
    for photograph in photographs:
        _number(photograph)
        if min(photograph.width, photograph.height) < field:
            size = f"{photograph.width} x {photograph.height}"
            raise DataError(
                f"the photograph has {size} pixels, less than a field of {field}",
                f"Choose a smaller field: --set field={min(photograph.width, photograph.height)} or less.",
                file=photograph.image,
            )
    config = {
        "source": f"bccd@{VERSION}",
        "photographs": len(photographs),
        "photographs_sha256": config_hash([(photograph.stem, photograph.sha256) for photograph in photographs]),
        "field": field,
        "block": block,
        "on_bad": on_bad,
        "prompts": prompt_bank(DOMAIN),
        "missed_share": MISSED_SHARE,
        "pixel_rule": [pixel_rules.BLURRED_ABOVE, pixel_rules.PALE_BELOW, pixel_rules.DARK_ABOVE],
    }
    with DatasetBuild(out, "case", config, overwrite=overwrite, notes=NOTES, data_use="open") as build:
        if build.finished:
            return build.path
        mine = build.part(len(photographs))
        for photograph in photographs[mine.start : mine.stop]:
            if not build.has(photograph.stem):
                cases = photograph_cases(build, photograph, field, block)
                build.commit(photograph.stem, cases, _counts(photograph, cases))
    return build.path


def _counts(photograph: VocPhotograph, cases: list[Case]) -> Counter[str]:
    """What the manifest says of one photograph's fields: what was left out, cut, or not settled."""
    counts = Counter({"photographs": 1, "bad_boxes": photograph.bad_boxes})
    for case in cases:
        for structure, number in case.extra["annotation"]["cut"].items():
            counts[f"cut_{structure}"] += number
        for finding in case.reference.findings if case.reference else ():
            if finding.status in ("uncertain", "not_assessed"):
                counts[f"{finding.status}_{finding.concept}"] += 1
    return counts


def photograph_cases(build: DatasetBuild, photograph: VocPhotograph, side: int, block: int) -> list[Case]:
    """Cut one photograph into fields, row by row, and store each as a case."""
    picture = load_image(photograph.image).convert("RGB")
    number = _number(photograph)
    annotates_red = any(STRUCTURES[item.name] == "red_cell" for item in photograph.boxes)
    cases = []
    for row, column, x, y in field_corners(photograph.width, photograph.height, side):
        tile = picture.crop((x, y, x + side, y + side))
        cells = cells_in_field(photograph, x, y, side)
        image = build.add_image(png_bytes(tile), modality="light_microscopy")
        case_id = f"bccd-{number:05d}-{row}-{column}"
        stained = stained_share(tile)
        found = _cell_findings(case_id, cells, _states(cells, stained, annotates_red), image)
        cases.append(
            Case(
                id=case_id,
                images=(image,),
                messages=report_request(DOMAIN, case_id),
                reference=Reference(findings=found + _pixel_findings(case_id, tile, image)),
                domain=DOMAIN,
                group_id=pseudonym(f"bccd-{block}-{group_of(number, block)}", KEY),
                group_kind="photograph_block",
                extra={
                    "photograph": photograph.stem,
                    "photograph_number": number,
                    "corner": [x, y],
                    "annotation": {"cut": dict(sorted(cells.cut.items())), "stained_share": round(stained, 4)},
                },
            )
        )
    return cases


def field_corners(width: int, height: int, side: int) -> list[tuple[int, int, int, int]]:
    """(row, column, x, y) of every field; what does not fill a field is left at both ends alike.

    Example:
        >>> field_corners(640, 480, 208)[-1]
        (1, 2, 424, 240)
    """
    columns, rows = width // side, height // side
    x0, y0 = (width - columns * side) // 2, (height - rows * side) // 2
    return [(r, c, x0 + c * side, y0 + r * side) for r in range(rows) for c in range(columns)]


def cells_in_field(photograph: VocPhotograph, x: int, y: int, side: int) -> FieldCells:
    """Clip the boxes to a field; count a cell if enough of its box lies inside, else note that it is cut.

    The red-cell cover is the area of the union of the ellipses inscribed in the red-cell boxes, clipped to
    the field, as a fraction of the field; cells that are cut belong to it.
    """
    cells = FieldCells()
    union = np.zeros((side, side), dtype=bool)
    axis = np.arange(side) + 0.5
    for item in photograph.boxes:
        structure = STRUCTURES[item.name]
        x0, y0, x1, y1 = item.box
        clipped = (max(x0 - x, 0.0), max(y0 - y, 0.0), min(x1 - x, float(side)), min(y1 - y, float(side)))
        if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
            continue
        share = (clipped[2] - clipped[0]) * (clipped[3] - clipped[1]) / ((x1 - x0) * (y1 - y0))
        if share >= COUNTED_SHARE[structure]:
            cells.counted[structure].append(clipped)
        else:
            cells.cut[structure] += 1
            if structure == "leukocyte":
                cells.largest_cut_leukocyte = max(cells.largest_cut_leukocyte, share)
        if structure == "red_cell":
            cells.red_boxes.append(clipped)
            u = (axis - ((x0 + x1) / 2 - x)) / ((x1 - x0) / 2)
            v = (axis - ((y0 + y1) / 2 - y)) / ((y1 - y0) / 2)
            union |= u[None, :] ** 2 + v[:, None] ** 2 <= 1
    cells.red_cell_cover = float(union.mean())
    return cells


def _states(cells: FieldCells, stained: float, annotates_red: bool) -> dict[str, Status]:
    """For each structure, what its boxes allow to say: `present` here means that the numbers hold."""
    states: dict[str, Status] = dict.fromkeys(COUNTED_SHARE, "present")
    if not annotates_red:
        states["red_cell"] = "not_assessed"
    elif stained - cells.red_cell_cover > MISSED_SHARE:
        states["red_cell"] = "uncertain"
    if not cells.counted["leukocyte"] and cells.largest_cut_leukocyte >= SEEN_SHARE:
        states["leukocyte"] = "uncertain"
    return states


def _cell_findings(
    case_id: str, cells: FieldCells, states: dict[str, Status], image: ImageRef
) -> tuple[Finding, ...]:
    findings = []
    for structure, boxes in cells.counted.items():
        findings.append((f"{structure}_count", structure, float(len(boxes)), boxes))
    findings.append(("red_cell_cover", "red_cell", cells.red_cell_cover, cells.red_boxes))
    return tuple(
        _cell_finding(case_id, concept, value, boxes, states[structure], image)
        for concept, structure, value, boxes in findings
    )


def _cell_finding(
    case_id: str, concept: str, value: float, boxes: list[Box], state: Status, image: ImageRef
) -> Finding:
    assessed = state != "not_assessed"
    certain = state == "present"
    return Finding(
        id=f"{case_id}/{concept}",
        image=image,
        concept=concept,
        status=("present" if value > 0 else "absent") if certain else state,
        value=value if assessed else None,
        unit="1",
        region=Region(boxes=tuple(boxes)) if assessed else None,
        probability=(1.0 if value > 0 else 0.0) if certain and concept.endswith("_count") else None,
        expert=EXPERT,
        case_id=case_id,
    )


def _pixel_findings(case_id: str, tile: Image.Image, image: ImageRef) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            id=f"{case_id}/{concept}",
            image=image,
            concept=concept,
            status="not_assessed" if category is None else "present",
            value=category,
            expert=pixel_rules.EXPERT,
            case_id=case_id,
        )
        for concept, category in (("focus", focus_of(tile)), ("stain", stain_of(tile)))
    )


def _number(photograph: VocPhotograph) -> int:
    digits = photograph.stem.rpartition("_")[2]
    if not digits.isdecimal():
        raise DataError(
            f"the file name {photograph.stem!r} does not end in _<number>",
            "Keep the original names: photographs are grouped by their numbers.",
            file=photograph.image,
        )
    return int(digits)
