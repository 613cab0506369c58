"""Phantom chest films: procedural frontal radiographs whose content is known exactly.

Persons are simulated; there are no patients. Films of one person share the thorax, the size of heart and
mediastinum, the exposure and a tendency to bedside films, so a person is the unit that a split must keep together.

Every value of every observed concept of `chest_xray` occurs but these: no film is `lateral`, and `pneumonia` is
never present, as a picture without a history does not tell it from another consolidation (beside one it is
`not_assessed`). Pneumothoraces are drawn on erect films only. Of devices there are central lines, pacemakers and
three kinds of tube. Severities of the heart are ranges of the ratio, a definition of this project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_builders.sources.cxr_drawing import LABELS, Drawing, draw_cxr
from data_builders.sources.cxr_film import Mask
from data_builders.sources.cxr_scene import TUBES, Scene, intended_answers, sample_scene
from data_builders.sources.phantom import check_least, write_phantoms
from data_builders.sources.png import png_bytes
from data_builders.sources.prompt import report_request
from vlmalign.records import Case, DatasetBuild, Finding, ImageRef, Reference, Region
from vlmalign.records.hashing import pseudonym

VERSION = 1
EXPERT = f"cxr_phantom@{VERSION}"
DOMAIN = "chest_xray"
RATIO = "cardiothoracic_ratio"
CATEGORIES = (
    "age_group", "projection", "position", "inspiration", "rotation", "mediastinum", "cardiomegaly_severity",
    "opacity_side", "pneumothorax_side", "pneumothorax_size", "effusion_side", "effusion_size", "tube_kind",
)  # fmt: skip
PRESENCES = (
    "enlarged_cardiomediastinum", "lung_opacity", "lung_lesion", "edema", "consolidation", "pneumonia",
    "atelectasis", "pneumothorax", "pleural_effusion", "pleural_other", "fracture", "support_devices",
    "central_line", "cardiac_device", "tube",
)  # fmt: skip
KEY = b"vlmalign cxr phantoms: simulated persons, nothing to protect"  # published on purpose
NOTES = {
    "content": "Procedural frontal chest radiographs with exact masks, cardiothoracic ratios and findings.",
    "patients": "There are none: persons are simulated. group_id is a pseudonym with a published key.",
    "grouping": "A group is one simulated person; its films share thorax, heart, mediastinum and exposure.",
    "labels": (
        "Label masks: 0 elsewhere, 1 right lung, 2 left lung (their pleural spaces), 3 heart. Each finding and "
        "device that is there has a mask of its own, 1."
    ),
    "ratio": (
        "The cardiothoracic ratio is that of the film's labels; it answers for the heart's size on adult, PA, "
        "erect, straight films in full inspiration only. extra.shares has the parts of the pleural spaces that "
        "fluid or free air takes."
    ),
}


def build_cxr(
    out: str | Path,
    *,
    n_groups: int,
    films_per_group: int = 2,
    seed: int = 0,
    size: int = 192,
    overwrite: bool = False,
    first_group: int = 0,
) -> Path:
    """Phantom: frontal chest films with exact masks and ratios, a case per film.

    Person g of seed s is the same whatever `n_groups` is.

    Args:
        out: the dataset folder.
        n_groups: how many persons.
        films_per_group: films per person.
        seed: the whole dataset's seed.
        size: side of a film in pixels, at least 128.
        overwrite: replace a folder built with other settings.
        first_group: number of the first person, to draw persons that another folder does not have.

    Returns:
        The folder.

    Raises:
        ValueError: a number out of range.
        DataError: the folder holds something else.

    Example:
        >>> import tempfile
        >>> from vlmalign.records import read_records
        >>> cases = read_records(build_cxr(tempfile.mkdtemp() + "/cxr", n_groups=1), Case)
        >>> [case.id for case in cases]
        ['cxr-0-0-0', 'cxr-0-0-1']
    """
    check_least(
        n_groups=(n_groups, 1),
        films_per_group=(films_per_group, 1),
        size=(size, 128),
        first_group=(first_group, 0),
    )

    def draw(build: DatasetBuild, group: int) -> list[Case]:
        return [cxr_case(build, seed, group, film, size) for film in range(films_per_group)]

    settings = {
        "n_groups": n_groups,
        "films_per_group": films_per_group,
        "seed": seed,
        "size": size,
        "first_group": first_group,
    }
    return write_phantoms(
        out, f"cxr@{VERSION}", settings, draw,
        unit="person", domain=DOMAIN, notes=NOTES, overwrite=overwrite,
    )  # fmt: skip


def cxr_case(build: DatasetBuild, seed: int, group: int, film: int, size: int) -> Case:
    """Draw one film, store its picture and its masks, and say what is true of it."""
    scene = sample_scene(seed, group, film)
    drawing = draw_cxr(scene, size)
    image = build.add_image(png_bytes(Image.fromarray(drawing.image)), modality="xray")
    heart = build.add_image(png_bytes(Image.fromarray(drawing.labels))).path
    regions = {RATIO: Region(mask=heart, label=LABELS["heart"])}
    for name, shape in _masks(drawing).items():
        mask = build.add_image(png_bytes(Image.fromarray(shape.astype(np.uint8))))
        regions[name] = Region(mask=mask.path, label=1)
    case_id = f"cxr-{seed}-{group}-{film}"
    return Case(
        id=case_id,
        images=(image,),
        messages=report_request(DOMAIN, case_id),
        reference=Reference(findings=_findings(case_id, scene, drawing.ratio, image, regions)),
        domain=DOMAIN,
        group_id=pseudonym(f"cxr-{seed}-{group}", KEY),
        group_kind="person",
        extra={"person": group, "film": film, "shares": _shares(drawing)},
    )


def _masks(drawing: Drawing) -> dict[str, Mask]:
    """One mask for each concept that has a place."""
    signs = drawing.signs
    found = {name: signs[name] for name in PRESENCES if name in signs}
    tubes = [signs[name] for name in TUBES if name in signs]
    if tubes:
        found["tube"] = np.any(tubes, axis=0)
    devices = [found[name] for name in ("central_line", "cardiac_device", "tube") if name in found]
    if devices:
        found["support_devices"] = np.any(devices, axis=0)
    return found


def _shares(drawing: Drawing) -> dict[str, dict[str, float]]:
    """Share of the pleural space of each side that fluid or free air takes."""
    found: dict[str, dict[str, float]] = {}
    for name in ("pleural_effusion", "pneumothorax"):
        for side in ("right", "left"):
            space = drawing.labels == LABELS[f"{side}_lung"]
            taken = drawing.signs[name][space].mean() if name in drawing.signs else 0.0
            if taken > 0:
                found.setdefault(name, {})[side] = round(float(taken), 6)
    return found


def _findings(
    case_id: str, scene: Scene, ratio: float, image: ImageRef, regions: dict[str, Region]
) -> tuple[Finding, ...]:
    """A finding for every observed concept; `not_assessed` where the film cannot settle it."""
    answers = intended_answers(scene)

    def finding(concept: str, status: str, **fields: Any) -> Finding:
        given = {"status": status, "region": regions.get(concept), "expert": EXPERT, "case_id": case_id, **fields}
        return Finding(id=f"{case_id}/{concept}", image=image, concept=concept, **given)

    found = [finding(RATIO, "present", value=ratio, unit="1")]
    found += [finding(name, answers.get(name, "not_assessed")) for name in PRESENCES]
    for name in CATEGORIES:
        said = answers.get(name)
        found.append(finding(name, "present", value=said) if said else finding(name, "not_assessed"))
    return tuple(found)
