"""Images with what is known to be present or absent in them, from the reference findings of a Case folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmalign.records import Case, DataError, ImageRef, RecordFolder

UNKNOWN = -1


@dataclass(frozen=True)
class LabelledImages:
    """The images of a Case folder with the status of some concepts.

    Attributes:
        concepts: the K concepts.
        truth: (N, K) 1 present, 0 absent, -1 unknown: uncertain, not assessed, or no finding at all.
        groups: the group of each image.
        refs: where each image is.
        folder: the Case folder.
        modality: of the first image.
        domain: of the first case.
        sha256: of the records.
        unknown: by concept, how many images are unknown.
    """

    concepts: tuple[str, ...]
    truth: NDArray[np.int8]
    groups: tuple[str, ...]
    refs: tuple[ImageRef, ...]
    folder: RecordFolder[Case]
    modality: str
    domain: str
    sha256: str
    unknown: dict[str, int]

    def __len__(self) -> int:
        return len(self.refs)

    def images(self, index: Iterable[int]) -> Iterator[Image.Image]:
        """Images by their place, read one after the other."""
        for i in index:
            yield self.folder.image(self.refs[i])

    def of_groups(self, groups: Iterable[str]) -> list[int]:
        """Places of the images of these groups."""
        wanted = set(groups)
        return [i for i, group in enumerate(self.groups) if group in wanted]


def load_labelled(folder: str | Path, concepts: Sequence[str] | None = None) -> LabelledImages:
    """Read the present and absent findings of a Case folder.

    Args:
        folder: a Case folder with reference findings.
        concepts: which to read; default all that are somewhere present or absent, sorted.

    Raises:
        DataError: the folder is empty, no image has a finding of these concepts, or a finding of one concept and
            image comes twice.

    Example:
        >>> load_labelled("nowhere")
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: nowhere: no such folder. Check the path.
    """
    opened = RecordFolder(folder, Case)
    cases = list(opened)
    if not cases:
        raise DataError("the folder holds no case", "Give a folder with cases.", file=opened.path)
    places = [(case, ref, _statuses(opened.path, case, ref)) for case in cases for ref in case.images]
    seen = Counter(name for _, _, known in places for name, value in known.items() if value != UNKNOWN)
    wanted = tuple(concepts) if concepts is not None else tuple(sorted(seen))
    for name in wanted:
        if not seen[name]:
            raise DataError(
                f"no image has a finding {name!r} that is present or absent",
                f"Known are {', '.join(sorted(seen)[:8]) or 'none'}. Of a split, train on role train or labelled: "
                "expert keeps only what has a unit, unlabelled nothing.",
                file=opened.path,
                field="reference.findings",
            )
    if not wanted:
        raise DataError("no reference finding is present or absent", "Give cases with findings.", file=opened.path)
    truth = np.array([[known.get(name, UNKNOWN) for name in wanted] for _, _, known in places], dtype=np.int8)
    return LabelledImages(
        concepts=wanted,
        truth=truth,
        groups=tuple(case.group_id for case, _, _ in places),
        refs=tuple(ref for _, ref, _ in places),
        folder=opened,
        modality=places[0][1].modality,
        domain=cases[0].domain,
        sha256=opened.sha256,
        unknown={name: int((truth[:, k] == UNKNOWN).sum()) for k, name in enumerate(wanted)},
    )


def _statuses(folder: Path, case: Case, ref: ImageRef) -> dict[str, int]:
    found: dict[str, int] = {}
    for finding in case.reference.findings if case.reference else ():
        if finding.image.sha256 != ref.sha256:
            continue
        if finding.concept in found:
            raise DataError(
                f"two findings of {finding.concept!r} for one image",
                "Keep one.",
                file=folder,
                record=case.id,
                field="reference.findings",
            )
        found[finding.concept] = {"present": 1, "absent": 0}.get(finding.status, UNKNOWN)
    return found
