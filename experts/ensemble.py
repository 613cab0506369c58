"""Many opinions as one: an ensemble of any experts, and any expert under several views of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from experts.expert_files import CARD, check_version, inside, read_expert
from experts.protocol import Examination, Expert, ExpertCard, ImageContext, Measured, Presence, examine
from experts.views import View, check_views, show, undo
from vlmalign.records import DataError
from vlmalign.records.base import Part
from vlmalign.records.image import RelativePath

T = TypeVar("T")
ARCHITECTURE, VIEWS_ARCHITECTURE = "ensemble", "views"


class EnsembleSettings(Part):
    """Which experts' folders, below the ensemble's own, speak together.

    Example:
        >>> EnsembleSettings(members=("a", "b"), only={"pneumothorax": ("b",)}).members_for("pneumothorax")
        ('b',)
    """

    members: tuple[RelativePath, ...] = Field(min_length=1)
    only: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="by concept: the members asked for it; default all that know it"
    )
    thresholds: dict[str, float] = Field(default_factory=dict, description="by concept, for the mean probability")

    @model_validator(mode="after")
    def _members_exist(self) -> EnsembleSettings:
        if len(set(self.members)) < len(self.members):
            raise ValueError(f"members {self.members} hold one twice: it would count double")
        for concept, names in self.only.items():
            wrong = sorted(set(names) - set(self.members))
            if wrong or not names:
                raise ValueError(f"only.{concept} is {names}: expected some of the members {self.members}")
        return self

    def members_for(self, concept: str) -> tuple[str, ...]:
        """The members that a concept is asked of."""
        return self.only.get(concept, self.members)


class ViewSettings(Part):
    """Which expert's folder, below the own one, looks at which views."""

    member: RelativePath
    views: tuple[View, ...] = Field(min_length=2)
    laterality_matters: bool = Field(True, description="a mirrored image is another image; forbids 'mirrored'")


def combine(examinations: Sequence[Examination], thresholds: dict[str, float] | None = None) -> Examination:
    """What several examinations of one image say together, concept by concept, over those that speak of it.

    Means of values and probabilities; the variance is the members' mean variance plus the variance of their means
    (law of total variance). A concept that more than half of its members could not assess is not assessed. Labels
    are the most frequent at each pixel, the lowest on a tie. Thresholds stay where all members share one.

    Args:
        examinations: one a member.
        thresholds: replace the members'.

    Raises:
        ValueError: no member, or members that disagree on a unit, a label or an image's size.

    Example:
        >>> a, b = (Examination({}, presences={"mass": Presence(p, 0.0)}) for p in (0.2, 0.6))
        >>> combine([a, b]).presences["mass"]
        Presence(probability=0.4, std=0.2, threshold=None)
    """
    if not examinations:
        raise ValueError("there is no examination to combine: give at least one")
    measured: dict[str, Measured] = {}
    presences: dict[str, Presence] = {}
    not_assessed: dict[str, str] = {}
    concepts = [c for one in examinations for c in (*one.measurements, *one.presences, *one.not_assessed)]
    for concept in dict.fromkeys(concepts):
        values = [one.measurements[concept] for one in examinations if concept in one.measurements]
        seen = [one.presences[concept] for one in examinations if concept in one.presences]
        reasons = [one.not_assessed[concept] for one in examinations if concept in one.not_assessed]
        if values and seen:
            raise ValueError(f"{concept!r} is a number for some members and a presence for others: rename one")
        if len(reasons) > len(values) + len(seen):
            why = max(dict.fromkeys(reasons), key=reasons.count)
            total = len(values) + len(seen) + len(reasons)
            not_assessed[concept] = (
                why if not (values or seen) else f"only {total - len(reasons)} of {total}: {why}"
            )
        elif values:
            measured[concept] = _mean_measured(concept, values, len(reasons))
        else:
            presences[concept] = _mean_presence(seen, (thresholds or {}).get(concept))
    labels, label_of = _vote(examinations)
    return Examination(measured, labels, label_of, presences, not_assessed)


def _spread(means: Sequence[float], stds: Sequence[float]) -> float:
    return math.sqrt(float(np.var(means) + np.mean(np.square(stds))))


def _mean_measured(concept: str, values: Sequence[Measured], undefined: int) -> Measured:
    units = sorted({one.unit for one in values})
    if len(units) > 1:
        raise ValueError(f"members measure {concept!r} in {' and '.join(units)}: give all the same unit")
    mean = float(np.mean([one.value for one in values]))
    std = _spread([one.value for one in values], [one.std for one in values])
    known = [one.probability for one in values if one.probability is not None]
    share = sum(known) / (len(known) + undefined) if known else None
    probability = None if share is None else round(share, 6)
    return Measured(round(mean, 6), round(std, 6), probability, units[0])


def _mean_presence(seen: Sequence[Presence], threshold: float | None) -> Presence:
    shared = {one.threshold for one in seen}
    if threshold is None and len(shared) == 1:
        threshold = shared.pop()
    mean = float(np.mean([one.probability for one in seen]))
    std = _spread([one.probability for one in seen], [one.std for one in seen])
    return Presence(round(mean, 6), round(std, 6), threshold)


def _vote(examinations: Sequence[Examination]) -> tuple[NDArray[np.uint8] | None, dict[str, int]]:
    drawn = [one for one in examinations if one.labels is not None]
    if not drawn:
        return None, {}
    first = drawn[0]
    if any(one.label_of != first.label_of for one in drawn):
        raise ValueError("members give one structure different labels: draw with one of them only")
    stack = np.stack([one.labels for one in drawn if one.labels is not None])
    votes = [(stack == k).sum(0) for k in range(int(stack.max()) + 1)]
    return np.argmax(votes, 0).astype(np.uint8), dict(first.label_of)


class EnsembleExpert:
    """Several experts that examine every image together."""

    def __init__(self, members: dict[str, Expert], card: ExpertCard, settings: EnsembleSettings) -> None:
        self.members = members
        self._card = card
        self.settings = settings

    @property
    def card(self) -> ExpertCard:
        """Who it is and how good."""
        return self._card

    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """Examine images, with nothing known of them but their pixels."""
        return self.examine_in_context(images, [ImageContext()] * len(images))

    def examine_in_context(
        self, images: Sequence[Image.Image], contexts: Sequence[ImageContext]
    ) -> list[Examination]:
        """Examine images by every member, and combine what they say."""
        found = [
            [self._asked(name, one) for one in examine(member, images, contexts)]
            for name, member in self.members.items()
        ]
        return [combine(opinions, self.settings.thresholds) for opinions in zip(*found, strict=True)]

    def _asked(self, name: str, found: Examination) -> Examination:
        """What a member says of the concepts that it is asked for."""

        def kept(said: dict[str, T]) -> dict[str, T]:
            return {c: value for c, value in said.items() if name in self.settings.members_for(c)}

        return Examination(
            kept(found.measurements), found.labels, found.label_of, kept(found.presences), kept(found.not_assessed)
        )


class ViewsExpert:
    """An expert that examines several views of every image: test-time augmentation of any architecture."""

    def __init__(self, member: Expert, card: ExpertCard, settings: ViewSettings) -> None:
        check_views(settings.views, member.card.concepts, laterality_matters=settings.laterality_matters)
        self.member = member
        self._card = card
        self.settings = settings

    @property
    def card(self) -> ExpertCard:
        """Who it is and how good."""
        return self._card

    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """Examine images, with nothing known of them but their pixels."""
        return self.examine_in_context(images, [ImageContext()] * len(images))

    def examine_in_context(
        self, images: Sequence[Image.Image], contexts: Sequence[ImageContext]
    ) -> list[Examination]:
        """Examine every view of every image, and combine what is found; labels are put back first."""
        found = []
        for view in self.settings.views:
            seen = examine(self.member, [show(image, view) for image in images], contexts)
            found.append([_put_back(one, view) for one in seen])
        return [combine(views) for views in zip(*found, strict=True)]


def _put_back(found: Examination, view: View) -> Examination:
    labels = None if found.labels is None else undo(found.labels, view)
    return Examination(found.measurements, labels, found.label_of, found.presences, found.not_assessed)


def load_ensemble(folder: Path) -> EnsembleExpert:
    """Load an ensemble and its members.

    Raises:
        DataError: a member is missing, damaged, or another than the card was written for.
    """
    from experts.registry import load_expert

    card, settings = read_expert(folder, EnsembleSettings)
    check_version(folder, card, settings, tuple(f"{name}/{CARD}" for name in settings.members))
    members = {name: load_expert(inside(folder, name)) for name in settings.members}
    return EnsembleExpert(members, card, settings)


def load_views(folder: Path) -> ViewsExpert:
    """Load an expert that looks at several views.

    Raises:
        DataError: the member is missing, damaged or another, or a view is forbidden.
    """
    from experts.registry import load_expert

    card, settings = read_expert(folder, ViewSettings)
    check_version(folder, card, settings, (f"{settings.member}/{CARD}",))
    try:
        return ViewsExpert(load_expert(inside(folder, settings.member)), card, settings)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(
            str(error), "Correct settings.views.", file=folder / CARD, field="settings.views"
        ) from None
