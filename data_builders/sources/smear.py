"""Phantom blood-smear fields: procedural pictures whose content is known exactly.

Slides are simulated; there are no patients. Fields of one slide share stain, cell size, density tendency,
focus tendency and noise, so a slide is the unit that a split must keep together.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from data_builders.sources.phantom import check_least, write_phantoms
from data_builders.sources.png import png_bytes
from data_builders.sources.prompt import report_request
from data_builders.sources.smear_drawing import LABELS, Drawing, draw_smear
from data_builders.sources.smear_scene import Scene, sample_scene
from vlmalign.records import Case, DatasetBuild, Finding, ImageRef, Reference, Region
from vlmalign.records.hashing import pseudonym

VERSION = 1
EXPERT = f"smear_phantom@{VERSION}"
DOMAIN = "peripheral_smear"
KEY = b"vlmalign smear phantoms: simulated slides, nothing to protect"  # published on purpose
NOTES = {
    "content": "Procedural pictures of blood smears with exact label masks and counts.",
    "patients": "There are none: slides are simulated. group_id is a pseudonym of the slide with a published key.",
    "grouping": "A group is one simulated slide; its fields share stain, density, focus tendency and noise.",
    "labels": "Label masks: 0 background, 1 red_cell, 2 leukocyte, 3 platelet.",
}


def build_smear(
    out: str | Path,
    *,
    n_groups: int,
    fields_per_group: int = 4,
    seed: int = 0,
    size: int = 96,
    overwrite: bool = False,
    first_group: int = 0,
) -> Path:
    """Phantom: blood smear fields with exact masks and counts, a case per field.

    Slide g of seed s is the same whatever `n_groups` is. A cell of which less than 35 % lies inside the
    field is drawn and labelled but not counted, and does not decide the leukocyte's kind.

    Args:
        out: the dataset folder.
        n_groups: how many slides.
        fields_per_group: fields per slide.
        seed: the whole dataset's seed.
        size: side of a field in pixels, at least 32.
        overwrite: replace a folder built with other settings.
        first_group: number of the first slide, to draw slides that another folder does not have.

    Returns:
        The folder.

    Raises:
        ValueError: a number out of range.
        DataError: the folder holds something else.

    Example:
        >>> import tempfile
        >>> from vlmalign.records import read_records
        >>> cases = read_records(build_smear(tempfile.mkdtemp() + "/smear", n_groups=1, fields_per_group=2), Case)
        >>> [case.id for case in cases]
        ['smear-0-0-0', 'smear-0-0-1']
    """
    check_least(
        n_groups=(n_groups, 1),
        fields_per_group=(fields_per_group, 1),
        size=(size, 32),
        first_group=(first_group, 0),
    )

    def draw(build: DatasetBuild, group: int) -> list[Case]:
        return [smear_case(build, seed, group, field, size) for field in range(fields_per_group)]

    settings = {
        "n_groups": n_groups,
        "fields_per_group": fields_per_group,
        "seed": seed,
        "size": size,
        "first_group": first_group,
    }
    return write_phantoms(
        out, f"smear@{VERSION}", settings, draw,
        unit="slide", domain=DOMAIN, notes=NOTES, overwrite=overwrite,
    )  # fmt: skip


def smear_case(build: DatasetBuild, seed: int, group: int, field: int, size: int) -> Case:
    """Draw one field, store its picture and its label mask, and say what is true of it."""
    scene = sample_scene(seed, group, field)
    drawing = draw_smear(scene, size)
    image = build.add_image(png_bytes(Image.fromarray(drawing.image)), modality="light_microscopy")
    mask = build.add_image(png_bytes(Image.fromarray(drawing.labels)))
    case_id = f"smear-{seed}-{group}-{field}"
    return Case(
        id=case_id,
        images=(image,),
        messages=report_request(DOMAIN, case_id),
        reference=Reference(findings=_findings(case_id, scene, drawing, image, mask)),
        domain=DOMAIN,
        group_id=pseudonym(f"smear-{seed}-{group}", KEY),
        group_kind="slide",
        extra={"slide": group, "field": field},
    )


def _findings(
    case_id: str, scene: Scene, drawing: Drawing, image: ImageRef, mask: ImageRef
) -> tuple[Finding, ...]:
    measured = {
        "red_cell_count": (drawing.counts["red_cell"], "red_cell"),
        "leukocyte_count": (drawing.counts["leukocyte"], "leukocyte"),
        "platelet_count": (drawing.counts["platelet"], "platelet"),
        "red_cell_cover": (drawing.red_cell_cover, "red_cell"),
    }
    named = {"focus": "blurred" if scene.blurred else "sharp", "stain": scene.stain}
    if drawing.counts["leukocyte"]:
        named["leukocyte_kind"] = scene.leukocytes[0].kind
    findings = [
        Finding(
            id=f"{case_id}/{concept}",
            image=image,
            concept=concept,
            status="present" if value > 0 else "absent",
            value=float(value),
            unit="1",
            region=Region(mask=mask.path, label=LABELS[structure]),
            probability=(1.0 if value > 0 else 0.0) if concept.endswith("_count") else None,
            expert=EXPERT,
            case_id=case_id,
        )
        for concept, (value, structure) in measured.items()
    ]
    findings += [
        Finding(
            id=f"{case_id}/{concept}",
            image=image,
            concept=concept,
            status="present",
            value=category,
            expert=EXPERT,
            case_id=case_id,
        )
        for concept, category in named.items()
    ]
    return tuple(findings)
