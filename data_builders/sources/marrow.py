"""Phantom fields of bone marrow aspirates: procedural pictures whose content is known exactly.

Aspirates are simulated; there are no patients. Fields of one aspirate share its disease, the shares of the
kinds of cells, the stain and how often a field holds blood or clot, so an aspirate is the unit that a split
must keep together. The findings give the domain `bone_marrow` every value of its three observed concepts
(content, blasts, plasma_cells). What the phantom does not show: shares that a field leaves doubtful (each
field's count settles its band), blasts and plasma cells increased together (which the logic excludes), poor
quality for another reason than blood or clot, megakaryocytes, and dysplasia.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from data_builders.sources.marrow_drawing import LABELS, MarrowDrawing, draw_marrow
from data_builders.sources.marrow_scene import MarrowScene, sample_marrow
from data_builders.sources.phantom import check_least, write_phantoms
from data_builders.sources.png import png_bytes
from data_builders.sources.prompt import report_request
from vlmalign.records import Case, DatasetBuild, Finding, ImageRef, Reference, Region
from vlmalign.records.hashing import pseudonym

VERSION = 1
EXPERT = f"marrow_phantom@{VERSION}"
DOMAIN = "bone_marrow"
KEY = b"vlmalign marrow phantoms: simulated aspirates, nothing to protect"  # published on purpose
COUNTED = ("blast", "plasma_cell", "granulocyte", "erythroblast", "lymphocyte")
NOTES = {
    "content": "Procedural pictures of bone marrow aspirates with exact label masks and counts.",
    "patients": "There are none: aspirates are simulated. group_id is a pseudonym of the aspirate, with a "
    "published key.",
    "grouping": "A group is one simulated aspirate; its fields share disease, composition and stain.",
    "labels": "Label masks: 0 background, " + ", ".join(f"{label} {name}" for name, label in LABELS.items()) + ".",
}


def build_marrow(
    out: str | Path,
    *,
    n_groups: int,
    fields_per_group: int = 4,
    seed: int = 0,
    size: int = 224,
    overwrite: bool = False,
    first_group: int = 0,
) -> Path:
    """Phantom: bone marrow fields with exact masks and counts, a case per field.

    Aspirate g of seed s is the same whatever `n_groups` is. Every nucleated cell of a field has its centre in
    the field and is counted; none touches another, so that the parts of the mask are the cells.

    Args:
        out: the dataset folder.
        n_groups: how many aspirates.
        fields_per_group: fields per aspirate.
        seed: the whole dataset's seed.
        size: side of a field in pixels, at least 96.
        overwrite: replace a folder built with other settings.
        first_group: number of the first aspirate, to draw ones that another folder does not have.

    Returns:
        The folder.

    Raises:
        ValueError: a number out of range.
        DataError: the folder holds something else.

    Example:
        >>> import tempfile
        >>> from vlmalign.records import read_records
        >>> cases = read_records(build_marrow(tempfile.mkdtemp() + "/m", n_groups=1, fields_per_group=1), Case)
        >>> [case.id for case in cases]
        ['marrow-0-0-0']
    """
    check_least(
        n_groups=(n_groups, 1),
        fields_per_group=(fields_per_group, 1),
        size=(size, 96),
        first_group=(first_group, 0),
    )

    def draw(build: DatasetBuild, group: int) -> list[Case]:
        return [marrow_case(build, seed, group, field, size) for field in range(fields_per_group)]

    settings = {
        "n_groups": n_groups,
        "fields_per_group": fields_per_group,
        "seed": seed,
        "size": size,
        "first_group": first_group,
    }
    return write_phantoms(
        out, f"marrow@{VERSION}", settings, draw,
        unit="aspirate", domain=DOMAIN, notes=NOTES, overwrite=overwrite,
    )  # fmt: skip


def marrow_case(build: DatasetBuild, seed: int, group: int, field: int, size: int) -> Case:
    """Draw one field, store its picture and its label mask, and say what is true of it."""
    scene = sample_marrow(seed, group, field)
    drawing = draw_marrow(scene, size)
    image = build.add_image(png_bytes(Image.fromarray(drawing.image)), modality="light_microscopy")
    mask = build.add_image(png_bytes(Image.fromarray(drawing.labels)))
    case_id = f"marrow-{seed}-{group}-{field}"
    return Case(
        id=case_id,
        images=(image,),
        messages=report_request(DOMAIN, case_id),
        reference=Reference(findings=marrow_findings(case_id, scene, drawing, image, mask)),
        domain=DOMAIN,
        group_id=pseudonym(f"marrow-{seed}-{group}", KEY),
        group_kind="aspirate",
        extra={"aspirate": group, "field": field},
    )


def marrow_findings(
    case_id: str, scene: MarrowScene, drawing: MarrowDrawing, image: ImageRef, mask: ImageRef
) -> tuple[Finding, ...]:
    """What is true of a field: its content, and how many cells of each kind it holds, with their label.

    In blood and clot the cells are counted too, but shares do not apply there: `blasts` and `plasma_cells` are
    stated to be inadequate.
    """
    counts = {f"{kind}_count": (drawing.counts[kind], kind) for kind in COUNTED}
    findings = [
        Finding(
            id=f"{case_id}/{concept}",
            image=image,
            concept=concept,
            status="present" if value else "absent",
            value=float(value),
            unit="1",
            region=Region(mask=mask.path, label=LABELS[kind]),
            expert=EXPERT,
            case_id=case_id,
        )
        for concept, (value, kind) in counts.items()
    ]
    named: dict[str, float | str] = {"nucleated_cell_count": float(sum(value for value, _ in counts.values()))}
    named["content"] = scene.content
    if scene.content != "adequate":
        named |= {"blasts": "inadequate", "plasma_cells": "inadequate"}
    findings += [
        Finding(
            id=f"{case_id}/{concept}",
            image=image,
            concept=concept,
            status="present" if value else "absent",
            value=value,
            unit="1" if isinstance(value, float) else None,
            expert=EXPERT,
            case_id=case_id,
        )
        for concept, value in named.items()
    ]
    return tuple(findings)
