"""What people drew and measured in an image: the masks and values that an expert's are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from experts.mask_measures import MaskMeasure
from experts.measurement import Mask
from experts.targets import ellipse_labels
from vlmalign.records import Case, DataError, Finding, ImageRef, RecordFolder, load_image
from vlmalign.records.suggestions import unknown

Compared = Mapping[str, tuple[str, ...]]


@dataclass
class ImageReference:
    """What is known of one image.

    Attributes:
        masks: by compared structure, (H, W); nothing where nobody looked.
        values: by concept, number and unit.
        statuses: by concept, whether it is present.
        boxes: structures whose mask is made of boxes.
    """

    masks: dict[str, Mask] = field(default_factory=dict)
    values: dict[str, tuple[float, str | None]] = field(default_factory=dict)
    statuses: dict[str, bool] = field(default_factory=dict)
    boxes: set[str] = field(default_factory=set)


def parse_compared(wanted: Sequence[str], structures: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Which reference is held against which structures, joined by +; default each structure against its own name.

    Raises:
        ValueError: a text without =, an unknown structure, or a reference that is named twice.

    Example:
        >>> parse_compared(["optic_disc=cup+rim"], ["cup", "rim"])
        {'optic_disc': ('cup', 'rim')}
        >>> parse_compared([], ["cup", "rim"])
        {'cup': ('cup',), 'rim': ('rim',)}
    """
    if not wanted:
        return {name: (name,) for name in structures}
    found: dict[str, tuple[str, ...]] = {}
    for text in wanted:
        concept, equals, joined = text.partition("=")
        parts = tuple(joined.split("+"))
        if not (concept and equals and joined):
            raise ValueError(f"compare is {text!r}: expected REFERENCE=STRUCTURE, e.g. optic_disc=cup+rim")
        for part in parts:
            if part not in structures:
                raise ValueError(f"compare is {text!r}: {unknown('structure', part, structures)}")
        if concept in found:
            raise ValueError(f"compare names {concept!r} twice: give each reference once")
        found[concept] = parts
    return found


def aliases(compared: Compared, measures: Sequence[MaskMeasure]) -> dict[str, tuple[str, ...]]:
    """The concepts whose findings may carry the mask of a compared structure, the first of them first.

    A structure's own name, `<structure>_cover` and `<structure>_count` (as trained experts call them), and what is
    measured of it alone. Of boxes, those of the cover may hold cells that the border cuts and nobody counts.

    Example:
        >>> aliases({"cup": ("cup",)}, [MaskMeasure(concept="cup_area", kind="area", of="cup")])
        {'cup': ('cup', 'cup_cover', 'cup_count', 'cup_area')}
    """
    found = {}
    for name, parts in compared.items():
        own = [m.concept for m in measures if m.to is None and frozenset(m.of.split("+")) == frozenset(parts)]
        found[name] = tuple(dict.fromkeys((name, f"{name}_cover", f"{name}_count", *own)))
    return found


def read_reference(
    folder: RecordFolder[Case],
    case: Case,
    ref: ImageRef,
    size: tuple[int, int],
    places: Mapping[str, Sequence[str]],
    observer: str | None = None,
) -> ImageReference:
    """Read what the reference findings of one image say.

    Args:
        folder: of the cases.
        case: the case.
        ref: its image.
        size: width and height of the image.
        places: by compared structure, the concepts that may carry its mask; see `aliases`.
        observer: whose findings count, by name or name@version; None: everybody's, where
            only one speaks of each concept.

    Raises:
        DataError: two findings of one concept and image, or a mask that is missing or of another size.
    """
    said: dict[str, Finding] = {}
    for finding in case.reference.findings if case.reference else ():
        if finding.image.sha256 != ref.sha256 or observer not in (None, *names_of(finding)):
            continue
        if (other := said.get(finding.concept)) is not None:
            who = sorted({other.expert, finding.expert})
            remedy = "Choose one with --observer." if len(who) > 1 else "Keep one."
            raise DataError(
                f"two findings of {finding.concept!r} for one image, by {' and '.join(who)}", remedy,
                file=folder.path, record=case.id, field="reference.findings",
            )  # fmt: skip
        said[finding.concept] = finding
    found = ImageReference()
    for concept, finding in said.items():
        if finding.status in ("present", "absent"):
            found.statuses[concept] = finding.status == "present"
            if isinstance(finding.value, float):
                found.values[concept] = (finding.value, finding.unit)
    for structure, concepts in places.items():
        known = [said[c] for c in concepts if c in said and said[c].status in ("present", "absent")]
        drawn = [one for one in known if one.region is not None and (one.region.mask or one.region.boxes)]
        if drawn:
            found.masks[structure] = _mask(folder, case, drawn[0], size)
            if drawn[0].region is not None and drawn[0].region.mask is None:
                found.boxes.add(structure)
        elif known and all(one.status == "absent" for one in known):
            found.masks[structure] = np.zeros((size[1], size[0]), dtype=bool)
    return found


def names_of(finding: Finding) -> tuple[str, str]:
    """Who says a finding: with version and without."""
    return finding.expert, finding.expert.partition("@")[0]


def _mask(folder: RecordFolder[Case], case: Case, finding: Finding, size: tuple[int, int]) -> Mask:
    region = finding.region
    assert region is not None
    if region.mask is None:
        return ellipse_labels([region.boxes], size) > 0
    picture: Image.Image = load_image(folder.resolve(region.mask)).convert("L")
    if picture.size != size:
        raise DataError(
            f"mask of {picture.size} pixels on an image of {size}", "Give a mask of the image's size.",
            file=folder.path, record=case.id, field=finding.concept,
        )  # fmt: skip
    labels = np.asarray(picture)
    mask: Mask = labels == region.label if region.label else labels > 0
    return mask
