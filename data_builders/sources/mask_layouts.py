"""Where the pictures and masks of a retinal set lie: rules of file names, with presets for well-known sets.

A layout has one regular expression for the pictures, whose named groups (`patient`, `eye`, and any other) fill the
templates of the masks. `{folder}` is the folder of the picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vlmalign.records.manifest import DataUse

FOV = "field_of_view"
DISC, CUP, VESSELS = "optic_disc", "optic_cup", "vessels"
EYES = {"L": "left", "R": "right", "OS": "left", "OD": "right"}


@dataclass(frozen=True)
class MaskRule:
    """One kind of mask: its concept, who drew it, where it lies, and which grey values are the structure.

    Attributes:
        concept: the structure.
        observer: who drew it.
        templates: paths relative to the data folder, tried in order; `{group}` of the picture's expression.
        below: None takes every value above 0; a number takes every value at or below it (REFUGE: the disc is not
            white).
        required: whether a picture without it is an error.
    """

    concept: str
    observer: str
    templates: tuple[str, ...]
    below: int | None = None
    required: bool = True


@dataclass(frozen=True)
class MaskLayout:
    """One set's rules, and what is known of its licence and patients."""

    pictures: str
    masks: tuple[MaskRule, ...]
    licence: str
    data_use: DataUse
    patients: str
    domain: str = "glaucoma_fundus"
    modality: str = "fundus"
    group_kind: str = "image"
    splits: dict[str, str] = field(default_factory=dict)  # value of the group `part` -> split
    labels: dict[str, str] = field(default_factory=dict)  # value of the group `label` -> category

    def expression(self) -> re.Pattern[str]:
        """The pictures' expression, compiled.

        Raises:
            ValueError: it is none.
        """
        try:
            return re.compile(self.pictures)
        except re.error as error:
            raise ValueError(f"pictures is {self.pictures!r}, not a regular expression: {error}") from None


PRESETS = {
    "chase_db1": MaskLayout(
        pictures=r"(?:.*/)?Image_(?P<patient>\d+)(?P<eye>[LR])\.jpg",
        masks=(
            MaskRule(VESSELS, "observer1", ("observer1/{name}_1stHO.png", "{folder}{name}_1stHO.png")),
            MaskRule(
                VESSELS, "observer2", ("observer2/{name}_2ndHO.png", "{folder}{name}_2ndHO.png"), required=False
            ),
            MaskRule(FOV, "field_of_view", ("fov/{name}.gif", "fov/{name}.png"), required=False),
        ),
        licence="CC BY 4.0 as far as known (CHASE_DB1, Kingston University London; Fraz et al. 2012).",
        data_use="open",
        patients="14 children, both eyes of each; a group is a child, by the number in the file name.",
        group_kind="patient",
    ),
    "drive": MaskLayout(
        pictures=r"(?:.*/)?(?P<part>training|test)/images/(?P<number>\d+)_(?:training|test)\.(?:tif|png)",
        masks=(
            MaskRule(VESSELS, "observer1", ("{above}1st_manual/{number}_manual1.gif",), required=False),
            MaskRule(VESSELS, "observer2", ("{above}2nd_manual/{number}_manual2.gif",), required=False),
            MaskRule(FOV, "field_of_view", ("{above}mask/{name}_mask.gif",), required=False),
        ),
        licence="Research use after registration (DRIVE, Staal et al. 2004): not known to be free (local_only).",
        data_use="local_only",
        patients="The files name no patients: every photograph is its own group.",
        splits={"training": "train", "test": "test"},
    ),
    "refuge": MaskLayout(
        pictures=r"(?:.*/)?(?P<label>[gnVT])\d{4}\.jpg",
        masks=tuple(
            MaskRule(
                concept,
                "refuge_consensus",
                (
                    "{beside}gts/{name}.bmp",
                    "{beside}Masks/{name}.bmp",
                    "{beside}mask/{name}.bmp",
                    "Annotation-Training400/Disc_Cup_Masks/{kind}/{name}.bmp",
                    "Disc_Cup_Masks/{kind}/{name}.bmp",
                ),
                below=below,
                required=False,
            )
            for concept, below in ((DISC, 191), (CUP, 63))  # cup 0, rim 128, background 255
        ),
        licence="REFUGE challenge (Orlando et al. 2020): research use, no redistribution (local_only).",
        data_use="local_only",
        patients="The files name no patients: every photograph is its own group.",
        labels={"g": "glaucoma", "n": "no_glaucoma"},
    ),
}
