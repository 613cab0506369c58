"""Phantom OCT scans of the macula: procedural pictures whose content is known exactly, in micrometres.

Patients are simulated; there are none. A patient has two eyes, each with a stage of age-related macular
degeneration and with signs that make it; scans of an eye show the same signs in other places and sizes. The
group is the patient. Under the default policy of `amd_oct` all stages and referrals occur, and every value of
every observed concept. The phantom keeps clear of the limits between sizes (63, 125 and 250 um) by more than a
pixel, draws drusen apart from each other, and keeps some signs together as they mostly come: the irregularity of
the pigment epithelium follows from how far it is raised (above 10 um small, above 60 um large); the outer
retina is thinned only over lost pigment epithelium or fibrosis; pseudocysts and tubulation lie in old lesions.
What it does not show: confluent drusen, reticular pseudodrusen, bleeding and other diseases.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from data_builders.sources.oct_drawing import LABELS, draw_oct
from data_builders.sources.oct_scene import EYES, Eye, OctScene, sample_oct
from data_builders.sources.phantom import check_least, write_phantoms
from data_builders.sources.png import png_bytes
from data_builders.sources.prompt import report_request
from vlmalign.records import Case, DatasetBuild, Finding, ImageRef, Reference, Region
from vlmalign.records.hashing import pseudonym

VERSION = 1
EXPERT = f"oct_phantom@{VERSION}"
DOMAIN = "amd_oct"
KEY = b"vlmalign oct phantoms: simulated patients, nothing to protect"  # published on purpose
SHOWN_BY = {"rpe_irregularity": "pigment_epithelium"}  # concepts that another structure's label shows
NOTES = {
    "content": "Procedural OCT scans of the macula, 3 mm wide, with exact label masks and sizes.",
    "patients": "There are none: patients are simulated. group_id is a pseudonym of one, with a published key.",
    "grouping": "A group is one simulated patient with two eyes; scans of an eye share stage and signs.",
    "labels": "Label masks: 0 background, " + ", ".join(f"{label} {name}" for name, label in LABELS.items()) + ".",
}


def build_oct(
    out: str | Path,
    *,
    n_groups: int,
    scans_per_eye: int = 2,
    seed: int = 0,
    size: int = 384,
    overwrite: bool = False,
    first_group: int = 0,
) -> Path:
    """Phantom: OCT scans of the macula with exact masks and sizes, a case per scan.

    Patient g of seed s is the same whatever `n_groups` is.

    Args:
        out: the dataset folder.
        n_groups: how many patients, with two eyes each.
        scans_per_eye: scans of each eye.
        seed: the whole dataset's seed.
        size: columns of a scan in pixels, a multiple of 8 and at least 320, for small drusen to show; rows are
            five eighths of it.
        overwrite: replace a folder built with other settings.
        first_group: number of the first patient, to draw ones that another folder does not have.

    Returns:
        The folder.

    Raises:
        ValueError: a number out of range.
        DataError: the folder holds something else.

    Example:
        >>> import tempfile
        >>> from vlmalign.records import read_records
        >>> cases = read_records(build_oct(tempfile.mkdtemp() + "/oct", n_groups=1, scans_per_eye=1), Case)
        >>> [(case.id, case.images[0].laterality) for case in cases]
        [('oct-0-0-right-0', 'right'), ('oct-0-0-left-0', 'left')]
    """
    check_least(
        n_groups=(n_groups, 1), scans_per_eye=(scans_per_eye, 1), size=(size, 320), first_group=(first_group, 0)
    )
    if size % 8:
        raise ValueError(f"size is {size}: a multiple of 8 is required, so that rows are five eighths of it")

    def draw(build: DatasetBuild, group: int) -> list[Case]:
        scans = [(eye, scan) for eye in EYES for scan in range(scans_per_eye)]
        return [oct_case(build, seed, group, eye, scan, size) for eye, scan in scans]

    settings = {
        "n_groups": n_groups,
        "scans_per_eye": scans_per_eye,
        "seed": seed,
        "size": size,
        "first_group": first_group,
    }
    return write_phantoms(
        out, f"oct@{VERSION}", settings, draw,
        unit="patient", domain=DOMAIN, notes=NOTES, overwrite=overwrite,
    )  # fmt: skip


def oct_case(build: DatasetBuild, seed: int, group: int, eye: Eye, scan: int, size: int) -> Case:
    """Draw one scan, store its picture and its label mask, and say what is true of it."""
    scene = sample_oct(seed, group, eye, scan)
    drawing = draw_oct(scene, size)
    row, column = drawing.spacing_um
    image = build.add_image(
        png_bytes(Image.fromarray(drawing.image)),
        modality="oct",
        laterality=eye,
        spacing_mm=(row / 1000, column / 1000),
    )
    mask = build.add_image(png_bytes(Image.fromarray(drawing.labels)))
    case_id = f"oct-{seed}-{group}-{eye}-{scan}"
    return Case(
        id=case_id,
        images=(image,),
        messages=report_request(DOMAIN, case_id),
        reference=Reference(findings=oct_findings(case_id, scene, image, mask)),
        domain=DOMAIN,
        group_id=pseudonym(f"oct-{seed}-{group}", KEY),
        group_kind="patient",
        extra={"patient": group, "eye": eye, "scan": scan},
    )


def oct_findings(case_id: str, scene: OctScene, image: ImageRef, mask: ImageRef) -> tuple[Finding, ...]:
    """What is true of a scan: each observed concept of the logic, and the sizes of what is drawn (um).

    `drusen` and `hypertransmission` are given by their sizes alone, which the bands of the logic read. The
    other sizes, which no logic reads, are for whoever measures. A structure's size is that of its largest part.
    An absent structure has its label too, which then does not occur in the mask.
    """
    peds = ("serous", "drusenoid", "fibrovascular")
    sizes = {
        "drusen_size": (scene.largest("druse"), "drusen"),
        "hypertransmission_width": (scene.largest("gap"), "hypertransmission"),
        "ped_width": (scene.largest(*peds), "ped"),
        "double_layer_width": (scene.largest("double_layer"), "double_layer_sign"),
        "ped_height": (scene.highest(*peds), "ped"),
        "subretinal_fluid_height": (scene.highest("fluid"), "subretinal_fluid"),
        "rpe_rise": (scene.rise, "pigment_epithelium"),
    }
    findings = [
        Finding(
            id=f"{case_id}/{concept}",
            image=image,
            concept=concept,
            status="present" if value > 0 else "absent",
            value=float(value),
            unit="um",
            region=Region(mask=mask.path, label=LABELS[structure]),
            expert=EXPERT,
            case_id=case_id,
        )
        for concept, (value, structure) in sizes.items()
    ]
    for concept, value in scene.answers.items():
        if concept in ("drusen", "hypertransmission"):
            continue
        label = LABELS.get(SHOWN_BY.get(concept, concept))
        findings.append(
            Finding(
                id=f"{case_id}/{concept}",
                image=image,
                concept=concept,
                status="absent" if value == "absent" else "present",
                value=None if value in ("absent", "present") else value,
                region=None if label is None else Region(mask=mask.path, label=label),
                expert=EXPERT,
                case_id=case_id,
            )
        )
    return tuple(findings)
