"""Phantom photographs of the optic disc: procedural pictures of both eyes whose content is known exactly.

Persons are simulated; there are no patients. The two eyes of a person share the fundus, the size of the disc, the
camera and a tendency to signs, so a person is the unit that a split must keep together.

Every value of every observed concept of `glaucoma_fundus` occurs. The disc's size is assessed where the scale of
the photograph is known; an ungradable visit leaves both eyes ungradable; rim loss occurs from ratios of about
0.55 on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from data_builders.sources.fundus_drawing import LABELS, Drawing, draw_fundus
from data_builders.sources.fundus_scene import EYES, SIGNS, EyeName, Scene, sample_scene, worse_eye
from data_builders.sources.phantom import check_least, write_phantoms
from data_builders.sources.png import png_bytes
from data_builders.sources.prompt import report_request
from vlmalign.clinical.between_eyes import ASYMMETRY, RATIO, compare_eyes
from vlmalign.records import Case, DatasetBuild, Finding, ImageRef, Reference, Region
from vlmalign.records.hashing import pseudonym

VERSION = 1
EXPERT = f"fundus_phantom@{VERSION}"
DOMAIN = "glaucoma_fundus"
DIAMETER = "vertical_disc_diameter"
GRADED = ("vcdr", "disc_size", "rim", "rim_sector", "isnt", *SIGNS, "asymmetry")
MODES = ("single", "both")
KEY = b"vlmalign fundus phantoms: simulated persons, nothing to protect"  # published on purpose
NOTES = {
    "content": "Procedural photographs of optic discs with exact masks, ratios and signs.",
    "patients": "There are none: persons are simulated. group_id is a pseudonym with a published key.",
    "grouping": "A group is one simulated person; the eyes share fundus, disc size, camera and tendencies.",
    "labels": "Label masks: 0 outside the disc, 1 rim, 2 cup. Each sign that is there has a mask of its own, 1.",
    "pairs": (
        "A case of both eyes has the larger ratio, the worse rim, any sign, and the asymmetry of the ratios; "
        "extra.eyes has the ratio, rim and signs of each eye."
    ),
}


def build_fundus(
    out: str | Path,
    *,
    n_groups: int,
    eyes: str = "single",
    seed: int = 0,
    size: int = 192,
    overwrite: bool = False,
    first_group: int = 0,
) -> Path:
    """Phantom: fundus photographs with exact truth, a case per eye or per pair of eyes.

    Person g of seed s is the same whatever `n_groups` and `eyes` are.

    Args:
        out: the dataset folder.
        n_groups: how many persons.
        eyes: `single` for a case per eye, `both` for one case with the photographs of the right and the left eye.
        seed: the whole dataset's seed.
        size: side of a photograph in pixels, at least 128.
        overwrite: replace a folder built with other settings.
        first_group: number of the first person, to draw persons that another folder does not have.

    Returns:
        The folder.

    Raises:
        ValueError: a number out of range, or an unknown value of `eyes`.
        DataError: the folder holds something else.

    Example:
        >>> import tempfile
        >>> from vlmalign.records import read_records
        >>> cases = read_records(build_fundus(tempfile.mkdtemp() + "/fundus", n_groups=1), Case)
        >>> [(case.id, case.images[0].laterality) for case in cases]
        [('fundus-0-0-right', 'right'), ('fundus-0-0-left', 'left')]
    """
    check_least(n_groups=(n_groups, 1), size=(size, 128), first_group=(first_group, 0))
    if eyes not in MODES:
        raise ValueError(f"eyes is {eyes!r}: choose one of {list(MODES)}")

    def draw(build: DatasetBuild, group: int) -> list[Case]:
        photographs = [_Photograph(build, seed, group, eye, size) for eye in EYES]
        made = [photographs] if eyes == "both" else [[one] for one in photographs]
        return [_case(seed, group, shown) for shown in made]

    settings = {"n_groups": n_groups, "eyes": eyes, "seed": seed, "size": size, "first_group": first_group}
    return write_phantoms(
        out, f"fundus@{VERSION}", settings, draw,
        unit="person", domain=DOMAIN, notes=NOTES, overwrite=overwrite,
    )  # fmt: skip


class _Photograph:
    """A photograph that is drawn and stored, and what is true of it."""

    def __init__(self, build: DatasetBuild, seed: int, group: int, eye: EyeName, size: int) -> None:
        self.scene: Scene = sample_scene(seed, group, eye)
        self.drawing: Drawing = draw_fundus(self.scene, size)
        person = self.scene.person
        self.spacing = person.field_mm / size if person.spacing_known else None
        spacing = None if self.spacing is None else (self.spacing, self.spacing)
        self.image: ImageRef = build.add_image(
            png_bytes(Image.fromarray(self.drawing.image)), modality="fundus", laterality=eye, spacing_mm=spacing
        )
        self.regions: dict[str, Region] = {}
        if self.gradable:
            disc = build.add_image(png_bytes(Image.fromarray(self.drawing.labels))).path
            self.regions |= {name: Region(mask=disc, label=label) for name, label in LABELS.items()}
            for sign, shape in self.drawing.signs.items():
                mask = build.add_image(png_bytes(Image.fromarray(shape.astype("uint8"))))
                self.regions[sign] = Region(mask=mask.path, label=1)

    @property
    def gradable(self) -> bool:
        return self.scene.quality != "ungradable"

    @property
    def isnt(self) -> str:
        return "followed" if self.scene.disc.isnt_margin > 0 else "broken"

    def finding(self, case_id: str, concept: str, value: Any = None, **fields: Any) -> Finding:
        given = {"status": "present", "expert": EXPERT, "case_id": case_id, "value": value, **fields}
        return Finding(id=f"{case_id}/{concept}", image=self.image, concept=concept, **given)

    def ratio(self, case_id: str) -> Finding:
        return self.finding(case_id, RATIO, self.drawing.ratio, unit="1", region=self.regions["cup"])

    def diameter(self, case_id: str) -> Finding:
        if self.spacing is None:
            return self.finding(case_id, DIAMETER, status="not_assessed")
        height = self.drawing.diameter * self.spacing
        return self.finding(case_id, DIAMETER, height, unit="mm", region=self.regions["rim"])

    def sign(self, case_id: str, sign: str) -> Finding:
        status = "present" if sign in self.regions else "absent"
        return self.finding(case_id, sign, status=status, region=self.regions.get(sign))

    def facts(self) -> dict[str, Any]:
        """What a case of both eyes keeps of this one."""
        if not self.gradable:
            return {"image_quality": self.scene.quality}
        return {
            "image_quality": self.scene.quality,
            RATIO: self.drawing.ratio,
            "rim": self.scene.disc.rim,
            "rim_sector": self.scene.disc.sector,
            "isnt": self.isnt,
            "signs": [sign for sign in SIGNS if sign in self.drawing.signs],
        }


def _case(seed: int, group: int, shown: list[_Photograph]) -> Case:
    eye = "both" if len(shown) == 2 else shown[0].scene.eye
    case_id = f"fundus-{seed}-{group}-{eye}"
    findings = _findings_of_pair(case_id, *shown) if eye == "both" else _findings(case_id, shown[0])
    extra: dict[str, Any] = {"person": group, "eye": eye}
    if eye == "both":
        extra["eyes"] = {one.scene.eye: one.facts() for one in shown}
    return Case(
        id=case_id,
        images=tuple(one.image for one in shown),
        messages=report_request(DOMAIN, case_id, images=len(shown)),
        reference=Reference(findings=tuple(findings)),
        domain=DOMAIN,
        group_id=pseudonym(f"fundus-{seed}-{group}", KEY),
        group_kind="person",
        extra=extra,
    )


def _ungradable(case_id: str, one: _Photograph, eye: str) -> list[Finding]:
    found = [one.finding(case_id, "eye", eye), one.finding(case_id, "image_quality", "ungradable")]
    return found + [one.finding(case_id, concept, "not_gradable") for concept in GRADED]


def _findings(case_id: str, one: _Photograph) -> list[Finding]:
    if not one.gradable:
        return _ungradable(case_id, one, one.scene.eye)
    return [
        one.finding(case_id, "eye", one.scene.eye),
        one.finding(case_id, "image_quality", one.scene.quality),
        one.ratio(case_id),
        one.diameter(case_id),
        one.finding(case_id, "rim", one.scene.disc.rim, region=one.regions["rim"]),
        one.finding(case_id, "rim_sector", one.scene.disc.sector),
        one.finding(case_id, "isnt", one.isnt),
        *(one.sign(case_id, sign) for sign in SIGNS),
        one.finding(case_id, "asymmetry", "one_eye"),
    ]


def _findings_of_pair(case_id: str, right: _Photograph, left: _Photograph) -> list[Finding]:
    """One finding for each concept, of the eye that decides it; two of one concept would be averaged."""
    if not right.gradable:
        return _ungradable(case_id, right, "both")
    worse = right if worse_eye(right.scene, left.scene) is right.scene else left
    larger = max(right, left, key=lambda one: one.drawing.ratio)
    hazier = max(right, left, key=lambda one: one.scene.quality == "limited")
    disordered = max(worse, right, left, key=lambda one: one.isnt == "broken")
    compared = {finding.concept: finding for finding in compare_eyes([right.ratio("right"), left.ratio("left")])}
    return [
        *(compared[name].model_copy(update=_named(case_id, name)) for name in ("eye", ASYMMETRY)),
        hazier.finding(case_id, "image_quality", hazier.scene.quality),
        larger.ratio(case_id),
        worse.diameter(case_id),
        worse.finding(case_id, "rim", worse.scene.disc.rim, region=worse.regions["rim"]),
        worse.finding(case_id, "rim_sector", worse.scene.disc.sector),
        disordered.finding(case_id, "isnt", disordered.isnt),
        *(max(worse, right, left, key=lambda one: sign in one.regions).sign(case_id, sign) for sign in SIGNS),
    ]


def _named(case_id: str, concept: str) -> dict[str, str]:
    return {"id": f"{case_id}/{concept}", "case_id": case_id}
