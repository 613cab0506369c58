"""Measuring an expert: what it says is present, with thresholds on some groups and performance on the others, and
what it draws and measures, against masks and numbers of people.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from experts.adoption import ADOPTABLE, files_of, settings_of
from experts.classifier_metrics import classifier_metrics
from experts.expert_files import CARD, PERFORMANCE_UNKNOWN, check_place, put_in_place, read_expert, write_expert
from experts.labelled import UNKNOWN, LabelledImages, load_labelled
from experts.mask_performance import MaskPerformance, mask_performance
from experts.mask_references import parse_compared
from experts.pixel_baseline import pixel_baseline, tiny_pictures
from experts.protocol import Expert, ExpertCard, ImageContext, Metric, OperatingPoint, examine
from experts.registry import load_expert, read_card
from experts.thresholds import choose_threshold, parse_rule
from vlmalign.records import Case, DataError, RecordFolder
from vlmalign.records.hashing import derive_seed
from vlmalign.records.progress import progress_bar

if TYPE_CHECKING:
    from experts.segmentation import SegmentationExpert

BATCH = 32
CHOICE_SHARE = 0.4
UNMEASURED = "Performance unknown for"
NO_THRESHOLD = "No threshold was chosen for"


def measure_expert(
    expert_folder: str | Path,
    cases_folder: str | Path,
    out: str | Path,
    *,
    choose: str | None = None,
    choice_share: float | None = None,
    seed: int = 0,
    observer: str | None = None,
    compare: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write a copy of an expert whose card states what it does on cases that it has not seen.

    Cases of groups that its training has seen are left out. With `choose`, the thresholds are chosen on a random
    share of the groups and the performance is that on the other groups, beside a logistic regression on 16 x 16
    pixels that was trained on the choice groups. An expert that draws structures is measured by
    `mask_performance`: Dice against reference masks, and the errors of its areas, counts, ratios and lengths.

    Args:
        expert_folder: an adopted or trained expert.
        cases_folder: cases whose reference findings are present or absent, have a mask or boxes, or a value.
        out: the measured expert's folder.
        choose: `youden`, `f1` or `sensitivity>=X`; None keeps the thresholds that it has, and uses all groups.
        choice_share: share of the groups that thresholds are chosen on; default 0.4. Only with `choose`.
        seed: of the division into groups.
        observer: masks: whose references count, where several people drew.
        compare: masks: `REFERENCE=STRUCTURE`, which reference is held against which structures (joined by +);
            default each structure against the reference of its name.
        overwrite: replace an expert that is there.

    Returns:
        The folder `out`.

    Raises:
        DataError: no case of an unseen group, none with a concept of the expert, or another expert in `out`.
        ValueError: an unknown rule, a share that is not in (0, 1), an expert without presences, or options of
            masks and presences mixed.
    """
    expert_folder, out = Path(expert_folder), Path(out)
    card = read_card(expert_folder)
    _check(expert_folder, out, card, choose, choice_share, overwrite)
    if card.structures and choose is None:
        return _measure_masks(expert_folder, cases_folder, out, card, observer, compare, overwrite)
    if observer is not None or compare:
        raise ValueError("observer and compare are for experts that draw masks, without choose: drop them")
    _, settings = read_expert(expert_folder, settings_of(card.architecture))
    data = load_labelled(cases_folder)
    concepts = tuple(c for c in card.concepts if c in data.concepts)
    if not concepts:
        raise DataError(
            f"no case says whether one of {card.concepts} is present", "Give cases with such findings.",
            file=data.folder.path,
        )  # fmt: skip
    share = CHOICE_SHARE if choice_share is None else choice_share
    choice, test = _divide(data, set(card.training_groups), choose is not None, share, seed)
    expert = load_expert(expert_folder)
    points: tuple[OperatingPoint, ...] = card.operating_points
    places = [*choice, *test]
    found = _probabilities(expert, data, places, concepts)
    if choose is not None:
        points = tuple(
            _point(data, choice, found[: len(choice), k], c, choose, seed) for k, c in enumerate(concepts)
        )
        thresholds = {**getattr(settings, "thresholds", {}), **{p.concept: p.threshold for p in points}}
        settings = settings.model_copy(update={"thresholds": thresholds})
    thresholds = getattr(settings, "thresholds", {})
    pictures = tiny_pictures(data.images(places)) if choice else None
    metrics: list[Metric] = []
    for k, concept in enumerate(concepts):
        metrics += _metrics(
            data, choice, test, found[len(choice) :, k], concept, thresholds.get(concept), pictures
        )
    measured = card.model_copy(
        update={
            "performance": tuple(metrics),
            "operating_points": points,
            "training_groups": tuple(sorted({*card.training_groups, *(data.groups[i] for i in choice)})),
            "limits": _limits(card, concepts, thresholds),
        }
    )
    return _write(expert_folder, out, measured, settings, overwrite)


def _check(
    folder: Path, out: Path, card: ExpertCard, choose: str | None, share: float | None, overwrite: bool
) -> None:
    """Refuse what cannot be meant, before any work; first what needs no library of networks to be known."""
    if choose is not None:
        parse_rule(choose)
    elif share is not None:
        raise ValueError(f"choice_share is {share} and choose is not given: no threshold is chosen, drop one")
    if share is not None and not 0 < share < 1:
        raise ValueError(f"choice_share is {share}: it must lie between 0 and 1")
    if out.resolve() == folder.resolve():
        raise ValueError(f"out is the expert's own folder {out}: give another, the card's version changes")
    check_place(out)
    if not overwrite and (out / CARD).is_file() and not _may_be_measured(read_card(out), card):
        raise DataError(
            "another expert is here", "Choose another folder, or pass --overwrite to replace it.", file=out
        )
    architecture = card.architecture
    if card.structures and choose is not None and architecture != "ensemble":
        raise ValueError(
            f"choose is {choose!r}, and {card.name} draws masks: thresholds are for presences, drop it"
        )
    if card.structures and choose is None:
        return
    if architecture not in ADOPTABLE or "thresholds" not in settings_of(architecture).model_fields:
        raise ValueError(f"{architecture} has no thresholds: what can be measured here are presences")


def _measure_masks(
    folder: Path, cases_folder: str | Path, out: Path, card: ExpertCard, observer: str | None,
    compare: Sequence[str], overwrite: bool,
) -> Path:  # fmt: skip
    from experts.segmentation import SegmentationExpert  # loads MONAI

    compared = parse_compared(compare, card.structures)
    opened = RecordFolder(cases_folder, Case)
    cases = [case for case in opened if case.group_id not in card.training_groups]
    if not cases:
        raise DataError(
            "no case is of a group that is new to the expert",
            "Give cases of groups that took no part in its training.",
            file=opened.path,
        )
    expert = load_expert(folder)
    settings = getattr(expert, "settings", None)
    found = mask_performance(
        expert,
        opened,
        cases,
        compared=compared,
        measures=getattr(settings, "measures", ()),
        thresholds=getattr(settings, "thresholds", {}),
        observer=observer,
    )
    measured = card.model_copy(
        update={"performance": found.metrics, "limits": _mask_limits(card, list(compared), found, observer)}
    )
    if isinstance(expert, SegmentationExpert):
        return _write_trained(SegmentationExpert(expert.network, measured, expert.settings), out, overwrite)
    assert isinstance(settings, BaseModel)
    return _write(folder, out, measured, settings, overwrite)


def _mask_limits(
    card: ExpertCard, compared: list[str], found: MaskPerformance, observer: str | None
) -> tuple[str, ...]:
    kept = [text for text in card.limits if text != PERFORMANCE_UNKNOWN]
    unmeasured = [name for name in (*compared, *card.concepts) if name not in found.measured]
    if unmeasured:
        kept.insert(0, f"{UNMEASURED} {', '.join(unmeasured)}: the cases do not tell.")
    if found.in_masks:
        kept.append(f"{', '.join(found.in_masks)}: the references were measured in the reference masks.")
    if found.of_boxes:
        kept.append(f"{', '.join(found.of_boxes)}: the reference masks are ellipses in boxes, and coarse.")
    if observer is not None:
        kept.append(f"Measured against the findings of {observer}.")
    return tuple(kept)


def _may_be_measured(there: ExpertCard, card: ExpertCard) -> bool:
    """Whether a card can be what comes of measuring this expert: the same one, with a performance."""
    alike = ("name", "architecture", "modality", "domain", "structures", "concepts")
    return bool(there.performance) and all(getattr(there, key) == getattr(card, key) for key in alike)


def _divide(
    data: LabelledImages, seen: set[str], choose: bool, share: float, seed: int
) -> tuple[list[int], list[int]]:
    names = sorted(set(data.groups) - seen)
    needed = 2 if choose else 1
    if len(names) < needed:
        raise DataError(
            f"{len(names)} of {len(set(data.groups))} groups are new to the expert, at least {needed} are "
            "required",
            "Give cases of groups that took no part in its training.",
            file=data.folder.path,
        )
    if not choose:
        return [], data.of_groups(names)
    order = np.random.default_rng(derive_seed(seed, "measure")).permutation(len(names))
    n = min(max(round(share * len(names)), 1), len(names) - 1)
    chosen = {names[i] for i in order[:n]}
    return data.of_groups(chosen), data.of_groups(set(names) - chosen)


def _probabilities(
    expert: Expert, data: LabelledImages, places: list[int], concepts: tuple[str, ...]
) -> NDArray[np.float64]:
    """Probabilities (N, K); NaN where the expert could not assess the concept."""
    found = np.full((len(places), len(concepts)), np.nan)
    use = data.folder.manifest.data_use
    with progress_bar(f"Measuring {expert.card.id}", len(places)) as show:
        for start in range(0, len(places), BATCH):
            some = places[start : start + BATCH]
            contexts = [ImageContext(data.refs[i].spacing_mm, data.refs[i].laterality, use) for i in some]
            for row, seen in enumerate(examine(expert, list(data.images(some)), contexts), start):
                for k, concept in enumerate(concepts):
                    if concept in seen.presences:
                        found[row, k] = seen.presences[concept].probability
            show(start + len(some), "")
    return found


def _known(
    data: LabelledImages, places: list[int], p: NDArray[np.float64], concept: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[str]]:
    """Which images can be used, and their truth and groups."""
    truth = data.truth[places, data.concepts.index(concept)]
    kept = (truth != UNKNOWN) & np.isfinite(p)
    return kept, truth[kept] == 1, [data.groups[i] for i, here in zip(places, kept, strict=True) if here]


def _point(
    data: LabelledImages, places: list[int], p: NDArray[np.float64], concept: str, rule: str, seed: int
) -> OperatingPoint:
    kept, truth, groups = _known(data, places, p, concept)
    try:
        return choose_threshold(p[kept], truth, groups, concept=concept, rule=rule, seed=seed)
    except ValueError as error:
        raise DataError(f"{concept}, choice groups: {error}", "Give more groups.", file=data.folder.path) from None


def _metrics(
    data: LabelledImages, choice: list[int], test: list[int], p: NDArray[np.float64], concept: str,
    threshold: float | None, pictures: NDArray[np.float64] | None,
) -> tuple[Metric, ...]:  # fmt: skip
    kept, truth, groups = _known(data, test, p, concept)
    baseline = None
    if pictures is not None:
        learnt = data.truth[choice, data.concepts.index(concept)]
        usable = learnt != UNKNOWN
        baseline = pixel_baseline(pictures[: len(choice)][usable], learnt[usable], pictures[len(choice) :][kept])
    try:
        return classifier_metrics(p[kept], truth, groups, concept=concept, threshold=threshold, baseline=baseline)
    except ValueError as error:
        raise DataError(
            f"{concept}, measured groups: {error}", "Give more groups.", file=data.folder.path
        ) from None


def _limits(card: ExpertCard, concepts: tuple[str, ...], thresholds: dict[str, float]) -> tuple[str, ...]:
    kept = [text for text in card.limits if text != PERFORMANCE_UNKNOWN and not text.startswith(NO_THRESHOLD)]
    unmeasured = [c for c in card.concepts if c not in concepts]
    bare = [c for c in card.concepts if c not in thresholds]
    if unmeasured:
        kept.insert(0, f"{UNMEASURED} {', '.join(unmeasured)}: the cases say nothing of it.")
    if bare:
        kept.append(f"{NO_THRESHOLD} {', '.join(bare)}: 0.2 and 0.8 decide, between is uncertain.")
    return tuple(kept)


def _write_trained(expert: SegmentationExpert, out: Path, overwrite: bool) -> Path:
    from experts.segmentation import save_expert

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".measuring-", dir=out.parent) as temporary:
        return put_in_place(save_expert(expert, Path(temporary) / "expert"), out, overwrite=overwrite)


def _write(source: Path, out: Path, card: ExpertCard, settings: object, overwrite: bool) -> Path:
    kind = settings_of(card.architecture)
    assert isinstance(settings, kind)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".measuring-", dir=out.parent) as temporary:
        made = Path(temporary) / "expert"
        made.mkdir()
        for path in source.iterdir():
            if path.is_dir():
                shutil.copytree(path, made / path.name)
            elif path.suffix == ".safetensors":
                shutil.copyfile(path, made / path.name)
        write_expert(made, card, settings, files_of(card.architecture, made, settings))
        return put_in_place(made, out, overwrite=overwrite)
