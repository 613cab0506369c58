"""How well an expert's masks, and what it measures in them, agree with people's, with intervals over groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice

import numpy as np
from PIL import Image

from experts.classifier_metrics import classifier_metrics
from experts.geometry import Quantity
from experts.mask_measures import MaskMeasure, measure_masks
from experts.mask_references import Compared, ImageReference, aliases, names_of, read_reference
from experts.measurement import Mask
from experts.performance import ratio_interval
from experts.protocol import Examination, Expert, ImageContext, Metric, examine
from vlmalign.records import Case, DataError, ImageRef, RecordFolder
from vlmalign.records.hashing import derive_seed
from vlmalign.records.progress import progress_bar

BATCH = 8  # images at their own size, with their masks


@dataclass
class _Column:
    """One number an image: numerators and denominators of a ratio of sums, and the images' groups."""

    top: list[float] = field(default_factory=list)
    bottom: list[float] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def add(self, top: float, bottom: float, group: str) -> None:
        self.top.append(float(top))
        self.bottom.append(float(bottom))
        self.groups.append(group)


@dataclass
class MaskPerformance:
    """What measuring found.

    Attributes:
        metrics: for the card.
        measured: structures and concepts that the cases say something of.
        in_masks: concepts whose reference was measured in the reference masks, as the cases give no value.
        of_boxes: structures whose reference masks are made of boxes.
    """

    metrics: tuple[Metric, ...]
    measured: frozenset[str]
    in_masks: tuple[str, ...]
    of_boxes: tuple[str, ...]


def mask_performance(
    expert: Expert,
    folder: RecordFolder[Case],
    cases: Sequence[Case],
    *,
    compared: Compared,
    measures: Sequence[MaskMeasure] = (),
    thresholds: Mapping[str, float] | None = None,
    observer: str | None = None,
) -> MaskPerformance:
    """Examine cases, and hold masks, numbers and presences against the reference findings.

    Per compared structure Dice (1945, Ecology 26:297) in the image's own pixels: `dice`, pooled over images, and
    `mean_dice`, the mean over images in which either mask holds something. Per number its mean absolute error
    (`mae`), its mean error (`bias`, expert minus reference), and the share of images that the expert could not
    assess although the reference could (`not_assessed`, where there are some). The reference of a number is its
    value in the cases or, where no case gives one, the same measurement of the reference masks. Presences are
    measured as a classifier's. Every interval is over groups.

    Args:
        expert: draws the structures of its card.
        folder: of the cases.
        cases: of groups that the expert has not seen.
        compared: by reference, the structures whose union is held against it.
        measures: how the expert's numbers come from masks.
        thresholds: of presences.
        observer: see `read_reference`.

    Raises:
        DataError: nothing of the cases can be compared, references overlap that the expert draws apart, or a
            number comes in another unit.
    """
    if observer is not None:
        _check_observer(folder, cases, observer)
    tables = _Tables(expert.card.structures, compared, measures)
    places = aliases(compared, measures)
    todo = ((case, ref) for case in cases for ref in case.images)
    use = folder.manifest.data_use
    with progress_bar(f"Measuring {expert.card.id}", sum(len(case.images) for case in cases)) as show:
        done = 0
        while batch := list(islice(todo, BATCH)):
            images = [folder.image(ref) for _, ref in batch]
            contexts = [ImageContext(ref.spacing_mm, ref.laterality, use) for _, ref in batch]
            for (case, ref), image, seen in zip(batch, images, examine(expert, images, contexts), strict=True):
                reference = read_reference(folder, case, ref, image.size, places, observer)
                tables.add(folder, case, ref, image, reference, seen)
            done += len(batch)
            show(done, "")
    found = tables.performance(thresholds or {})
    if not found.metrics:
        raise DataError(
            f"no case has a mask of {', '.join(compared)}, nor a value or presence of "
            f"{', '.join(expert.card.concepts)}",
            "Give cases with such findings, or say what is held against what: --compare REFERENCE=STRUCTURE.",
            file=folder.path,
        )
    return found


def _check_observer(folder: RecordFolder[Case], cases: Sequence[Case], observer: str) -> None:
    known = {f.expert: names_of(f) for case in cases if case.reference for f in case.reference.findings}
    if not any(observer in names for names in known.values()):
        raise DataError(
            f"no reference finding is by {observer!r}", f"Known: {', '.join(sorted(known)) or 'none'}.",
            file=folder.path, field="reference.findings",
        )  # fmt: skip


class _Tables:
    """The sums of all images: masks are forgotten as soon as they are compared."""

    def __init__(self, structures: Sequence[str], compared: Compared, measures: Sequence[MaskMeasure]) -> None:
        self.structures, self.compared = structures, compared
        self.measures = {measure.concept: measure for measure in measures}
        self.dice: dict[str, _Column] = {}
        self.mean_dice: dict[str, _Column] = {}
        self.errors: dict[str, dict[bool, _Column]] = {}  # by concept and whether it was measured in masks
        self.missing: dict[str, dict[bool, _Column]] = {}
        self.presences: dict[str, tuple[list[float], list[bool], list[str]]] = {}
        self.of_boxes: set[str] = set()

    def add(
        self,
        folder: RecordFolder[Case],
        case: Case,
        ref: ImageRef,
        image: Image.Image,
        reference: ImageReference,
        seen: Examination,
    ) -> None:
        """Compare one image."""
        if seen.labels is not None and reference.masks:
            self._refuse_overlap(folder, case, reference.masks)
            for name, theirs in reference.masks.items():
                wanted = [self.structures.index(part) + 1 for part in self.compared[name]]
                mine = np.isin(seen.labels, wanted)
                both, total = int((mine & theirs).sum()), int(mine.sum()) + int(theirs.sum())
                self.dice.setdefault(name, _Column()).add(2 * both, total, case.group_id)
                self.mean_dice.setdefault(name, _Column()).add(
                    2 * both / total if total else 0.0, float(total > 0), case.group_id
                )
        self.of_boxes |= reference.boxes
        for concept in (*seen.measurements, *seen.not_assessed):
            for in_masks, truth in self._truths(concept, reference, ref):
                self._compare(folder, case, concept, truth, in_masks, seen)
        for concept, presence in seen.presences.items():
            if concept in reference.statuses:
                p, truth_of, groups = self.presences.setdefault(concept, ([], [], []))
                p.append(presence.probability)
                truth_of.append(reference.statuses[concept])
                groups.append(case.group_id)

    def _refuse_overlap(self, folder: RecordFolder[Case], case: Case, masks: Mapping[str, Mask]) -> None:
        """A reference disc that holds its cup cannot be held against a label image that leaves the cup out."""
        for one, other in combinations(masks, 2):
            apart = not set(self.compared[one]) & set(self.compared[other])
            if apart and masks[one].shape == masks[other].shape and (masks[one] & masks[other]).any():
                inner, outer = sorted((one, other), key=lambda name: int(masks[name].sum()))
                joined = "+".join((*self.compared[outer], *self.compared[inner]))
                own = "+".join(self.compared[inner])
                raise DataError(
                    f"the reference masks of {outer} and {inner} overlap, and the expert draws the two apart",
                    f"Say what is held against what: --compare {outer}={joined} --compare {inner}={own}.",
                    file=folder.path, record=case.id, field="reference.findings",
                )  # fmt: skip

    def _truths(self, concept: str, reference: ImageReference, ref: ImageRef) -> Iterator[tuple[bool, Quantity]]:
        """What the reference says of a number: its value, and what its masks give."""
        if concept in reference.values:
            value, unit = reference.values[concept]
            yield False, Quantity(value, unit or "1")  # type: ignore[arg-type]
        measure = self.measures.get(concept)
        if measure is None:
            return
        of, to = self._joined(measure.of, reference), self._joined(measure.to, reference)
        if of is not None and (measure.to is None or to is not None):
            found = measure_masks(of, to, measure, ref.spacing_mm)
            if isinstance(found, Quantity):
                yield True, found

    def _joined(self, name: str | None, reference: ImageReference) -> Mask | None:
        """The reference mask of structures joined by +."""
        if name is None:
            return None
        wanted = set(name.split("+"))
        for compared, mask in reference.masks.items():
            if set(self.compared[compared]) == wanted:
                return mask
        parts = [mask for c, mask in reference.masks.items() if set(self.compared[c]) <= wanted]
        held = {part for c in reference.masks for part in self.compared[c] if set(self.compared[c]) <= wanted}
        return np.logical_or.reduce(parts) if held == wanted else None

    def _compare(
        self, folder: RecordFolder[Case], case: Case, concept: str, truth: Quantity, in_masks: bool,
        seen: Examination,
    ) -> None:  # fmt: skip
        measured = seen.measurements.get(concept)
        missing = self.missing.setdefault(concept, {}).setdefault(in_masks, _Column())
        missing.add(float(measured is None), 1.0, case.group_id)
        if measured is None:
            return
        if measured.unit != truth.unit:
            raise DataError(
                f"{concept} is in {truth.unit} in the reference and in {measured.unit} for the expert",
                "Give the images' spacing, or references in the expert's unit.",
                file=folder.path, record=case.id, field=concept,
            )  # fmt: skip
        errors = self.errors.setdefault(concept, {}).setdefault(in_masks, _Column())
        errors.add(measured.value - truth.value, 1.0, case.group_id)

    def performance(self, thresholds: Mapping[str, float]) -> MaskPerformance:
        """The metrics over all images."""
        metrics: list[Metric] = []
        for name in self.dice:
            metrics += _metric("dice", name, self.dice[name], share=True)
            metrics += _metric("mean_dice", name, self.mean_dice[name], share=True)
        in_masks = []
        for concept, missing in self.missing.items():
            drawn = False not in missing  # no case gives a value
            if drawn:
                in_masks.append(concept)
            errors = self.errors.get(concept, {}).get(drawn, _Column())
            absolute = _Column([abs(error) for error in errors.top], errors.bottom, errors.groups)
            metrics += _metric("mae", concept, absolute)
            metrics += _metric("bias", concept, errors, signed=True)
            if any(missing[drawn].top):
                metrics += _metric("not_assessed", concept, missing[drawn], share=True)
        for concept, (p, truth, groups) in self.presences.items():
            if len(set(truth)) == 2:
                metrics += classifier_metrics(p, truth, groups, concept=concept, threshold=thresholds.get(concept))
        about = frozenset(metric.structure for metric in metrics)
        return MaskPerformance(tuple(metrics), about, tuple(in_masks), tuple(sorted(self.of_boxes)))


def _metric(name: str, about: str, column: _Column, *, share: bool = False, signed: bool = False) -> list[Metric]:
    """A ratio of sums with its interval; nothing where there is nothing to average."""
    kept = [group for group, bottom in zip(column.groups, column.bottom, strict=True) if bottom > 0]
    if not kept:
        return []
    found = ratio_interval(
        column.top, column.bottom, column.groups, share=share, signed=signed, seed=derive_seed(name, about)
    )
    return [Metric(name=name, structure=about, images=len(kept), groups=len(set(kept)), **found._asdict())]
