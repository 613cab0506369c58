"""Training targets: what each pixel of an image is, from mask files or from boxes.

Boxes are coarse: a box becomes the ellipse inscribed in it, structures with smaller boxes drawn later and
so on top. Cells that nobody annotated become background, which is wrong but not known to be; train with
`label_smoothing` on boxes, and do not read counts of such data as exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmalign.records import Case, DataError, Finding, ImageRef, RecordFolder, load_image

SUFFIX = "_count"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Target:
    """One image with its target, both at the working resolution.

    Attributes:
        image: (H, W, 3).
        labels: (H, W), 0 background, k the k-th structure.
        counts: the true count of each structure.
        group: what a split must keep together.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    counts: tuple[int, ...]
    group: str


@dataclass(frozen=True)
class TargetSet:
    """The fields of a Case folder that can be learnt from, in file order; `left_out` counts the others."""

    structures: tuple[str, ...]
    fields: tuple[Target, ...]
    modality: str
    domain: str
    sha256: str
    boxes_only: bool
    left_out: int


def working_size(size: tuple[int, int], limit: int) -> tuple[int, int]:
    """Width and height at which an image is worked on: its own, unless the longer side exceeds `limit`.

    Example:
        >>> working_size((96, 96), 256), working_size((640, 480), 320)
        ((96, 96), (320, 240))
    """
    scale = min(1.0, limit / max(size))
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def to_array(image: Image.Image, limit: int) -> NDArray[np.uint8]:
    """An image as (H, W, 3) at the working resolution."""
    size = working_size(image.size, limit)
    image = image.convert("RGB")
    return np.asarray(image if size == image.size else image.resize(size, Image.Resampling.BOX))


def ellipse_labels(
    boxes: Sequence[Sequence[Box]], size: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.uint8]:
    """Label image of the ellipses inscribed in boxes.

    A pixel belongs to an ellipse if its centre lies inside. Structures are drawn in order of falling
    median box area, so that small ones lie on top.

    Args:
        boxes: for each structure its boxes (x0, y0, x1, y1) in pixels of the original image.
        size: width and height of the result.
        scale: factors from original to result, x and y.

    Returns:
        (H, W), k + 1 where structure k was drawn.

    Example:
        >>> ellipse_labels([[(0, 0, 4, 4)], [(1, 1, 3, 3)]], (4, 4))
        array([[0, 1, 1, 0],
               [1, 2, 2, 1],
               [1, 2, 2, 1],
               [0, 1, 1, 0]], dtype=uint8)
    """
    labels = np.zeros((size[1], size[0]), dtype=np.uint8)
    areas = [float(np.median([(b[2] - b[0]) * (b[3] - b[1]) for b in some])) if some else 0.0 for some in boxes]
    for k in sorted(range(len(boxes)), key=lambda k: -areas[k]):
        for box in boxes[k]:
            x0, x1, y0, y1 = box[0] * scale[0], box[2] * scale[0], box[1] * scale[1], box[3] * scale[1]
            left, top = max(int(x0), 0), max(int(y0), 0)
            x = (np.arange(left, min(int(np.ceil(x1)), size[0])) + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2)
            y = (np.arange(top, min(int(np.ceil(y1)), size[1])) + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2)
            inside = x[None, :] ** 2 + y[:, None] ** 2 <= 1
            labels[top : top + len(y), left : left + len(x)][inside] = k + 1
    return labels


def load_targets(folder: str | Path, *, limit: int) -> TargetSet:
    """Read a Case folder whose reference findings say where each structure lies.

    The structures are those of the findings' concepts `<structure>_count`: with masks in the order of
    their labels, with boxes in alphabetical order. Boxes of `<structure>_cover`, where there are some, come
    before those of the count: they may hold cells that the border cuts and nobody counts. Images in which a
    structure is uncertain or not assessed are left out: their background may hold it.

    Args:
        folder: a Case folder.
        limit: longest side of the working resolution, in pixels.

    Raises:
        DataError: the folder is empty, a case has no such findings or lacks one that others have, a finding
            has no value or no region, or no image is left.
    """
    opened = RecordFolder(folder, Case)
    found = [(case, ref, _counted(opened.path, case, ref)) for case in opened for ref in case.images]
    if not found:
        raise DataError("the folder holds no case", "Give a folder with training cases.", file=opened.path)
    structures = _structures([counted for _, _, counted in found])
    fields: list[Target] = []
    for case, ref, counted in found:
        missing = sorted(set(structures) - set(counted))
        if missing:
            raise _error(
                opened.path, case, f"no finding for {missing}, which other cases have", missing[0] + SUFFIX
            )
        if all(finding.status in ("present", "absent") for finding in counted.values()):
            fields.append(_field(opened, case, ref, [counted[name] for name in structures], limit))
    if not fields:
        rule = f"all {len(found)} images have a structure that is uncertain or not assessed"
        raise DataError(rule, "Give cases in which every structure is assessed.", file=opened.path)
    first, ref, _ = found[0]
    return TargetSet(
        structures=structures,
        fields=tuple(fields),
        modality=ref.modality,
        domain=first.domain,
        sha256=opened.sha256,
        boxes_only=not any(f.region and f.region.mask for _, _, counted in found for f in counted.values()),
        left_out=len(found) - len(fields),
    )


def _error(folder: Path, case: Case, rule: str, field: str) -> DataError:
    return DataError(
        rule,
        "Train on cases whose reference holds <structure>_count with value and region for every structure; from "
        "findings without regions train a classifier: --architecture classification.",
        file=folder,
        record=case.id,
        field=field,
    )


def _counted(folder: Path, case: Case, image: ImageRef) -> dict[str, Finding]:
    """The count findings of one image, by structure."""
    found = {
        finding.concept.removesuffix(SUFFIX): finding
        for finding in (case.reference.findings if case.reference else ())
        if finding.concept.endswith(SUFFIX) and finding.image.sha256 == image.sha256
    }
    if not found:
        raise _error(folder, case, "no finding counts any structure", "reference.findings")
    for finding in found.values():
        if finding.status not in ("present", "absent"):
            continue
        if not isinstance(finding.value, float) or finding.value < 0:
            raise _error(folder, case, f"the value {finding.value!r} is no count", finding.concept)
        if finding.value > 0 and finding.region is None:
            raise _error(folder, case, "the finding has no region", finding.concept)
    return found


def _boxes(case: Case, finding: Finding) -> tuple[Box, ...]:
    """The boxes to draw for a structure: those of its cover, which may be more, or else of its count."""
    cover = finding.concept.removesuffix(SUFFIX) + "_cover"
    for other in case.reference.findings if case.reference else ():
        if other.concept == cover and other.image.sha256 == finding.image.sha256 and other.region:
            return other.region.boxes
    return finding.region.boxes if finding.region else ()


def _structures(counted: Sequence[dict[str, Finding]]) -> tuple[str, ...]:
    labels: dict[str, int] = {}
    for found in counted:
        for name, finding in found.items():
            labels[name] = max(labels.get(name, 0), (finding.region.label or 0) if finding.region else 0)
    return tuple(sorted(labels, key=lambda name: (labels[name], name)))


def _field(
    opened: RecordFolder[Case], case: Case, ref: ImageRef, findings: Sequence[Finding], limit: int
) -> Target:
    image = opened.image(ref)
    size = working_size(image.size, limit)
    scale = (size[0] / image.width, size[1] / image.height)
    boxes = [_boxes(case, finding) for finding in findings]
    labels = ellipse_labels(boxes, size, scale)
    masks: dict[str, NDArray[np.uint8]] = {}
    for k, finding in enumerate(findings):
        region = finding.region
        if region is None or region.mask is None:
            continue
        if region.mask not in masks:
            mask = load_image(opened.resolve(region.mask)).convert("L")
            if mask.size != image.size:
                raise _error(
                    opened.path, case, f"mask of {mask.size} pixels on an image of {image.size}", finding.concept
                )
            masks[region.mask] = np.asarray(
                mask if size == mask.size else mask.resize(size, Image.Resampling.NEAREST)
            )
        found = masks[region.mask]
        labels[found == region.label if region.label else found > 0] = k + 1
    counts = tuple(int(f.value) for f in findings if isinstance(f.value, float))
    return Target(to_array(image, limit), labels, counts, case.group_id)


def split_groups(
    groups: Sequence[str], shares: tuple[float, float], seed: int
) -> tuple[set[str], set[str], set[str]]:
    """Divide groups at random into training, choice and held-out groups; each gets at least one.

    Args:
        groups: group of each field, repeats allowed.
        shares: of the groups, for choice and held-out.
        seed: decides the division.

    Raises:
        ValueError: fewer than three groups.

    Example:
        >>> [len(part) for part in split_groups(list("abcdefghij"), (0.1, 0.2), 0)]
        [7, 1, 2]
    """
    names = sorted(set(groups))
    if len(names) < 3:
        raise ValueError(
            f"the cases come from {len(names)} groups, at least 3 are required: one each to train on, to choose "
            "the best epoch on and to report on. Give cases of more groups."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    n_choice = min(max(round(shares[0] * len(names)), 1), len(names) - 2)
    n_held = min(max(round(shares[1] * len(names)), 1), len(names) - 1 - n_choice)
    shuffled = [names[i] for i in order]
    return (
        set(shuffled[n_choice + n_held :]),
        set(shuffled[:n_choice]),
        set(shuffled[n_choice : n_choice + n_held]),
    )
