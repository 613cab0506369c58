"""What a reward is: a score of each candidate answer, or the statement that it has none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from PIL import Image

from vlmalign.records import Candidate, Case


@dataclass(frozen=True)
class RewardOutput:
    """Scores of N candidates. A candidate that could not be scored is invalid and has no number.

    Attributes:
        mean: score, NaN where invalid.
        std: standard deviation of the score, NaN where it is not known.
        valid: whether the candidate was scored.
        reasons: why not, None where valid.
        components: parts of the score by name, NaN where they do not apply.
        critiques: a text per candidate, or None.

    Raises:
        ValueError: lengths that differ, a valid score that is no number, an invalid one that is, or one
            without a reason.

    Example:
        >>> RewardOutput.of([0.5, None], reasons=[None, "no claim parsed"]).valid
        (True, False)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    valid: tuple[bool, ...]
    reasons: tuple[str | None, ...]
    components: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    critiques: tuple[str | None, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.mean)
        lengths = {"std": len(self.std), "valid": len(self.valid), "reasons": len(self.reasons)}
        lengths |= {name: len(values) for name, values in self.components.items()}
        lengths |= {"critiques": len(self.critiques)} if self.critiques is not None else {}
        for name, length in lengths.items():
            if length != n:
                raise ValueError(f"{name} has {length} entries, mean has {n}: give one per candidate")
        for i, (mean, valid, reason) in enumerate(zip(self.mean, self.valid, self.reasons, strict=True)):
            if valid and not math.isfinite(mean):
                raise ValueError(f"candidate {i} is valid and its mean is {mean}: mark it invalid, with a reason")
            if not valid and (not math.isnan(mean) or not reason):
                raise ValueError(f"candidate {i} is invalid: its mean must be NaN and its reason given")

    @classmethod
    def of(
        cls,
        scores: Sequence[float | None],
        *,
        reasons: Sequence[str | None],
        std: Sequence[float] | None = None,
        components: Sequence[Mapping[str, float]] | None = None,
        critiques: Sequence[str | None] | None = None,
    ) -> RewardOutput:
        """From one score per candidate, None where there is none, and one mapping of components each."""
        nan = float("nan")
        rows = list(components or [{}] * len(scores))
        names = sorted({name for row in rows for name in row})
        return cls(
            mean=tuple(nan if score is None else float(score) for score in scores),
            std=tuple(std) if std is not None else (nan,) * len(scores),
            valid=tuple(score is not None for score in scores),
            reasons=tuple(reasons),
            components={name: tuple(float(row.get(name, nan)) for row in rows) for name in names},
            critiques=None if critiques is None else tuple(critiques),
        )

    def __len__(self) -> int:
        return len(self.mean)


@runtime_checkable
class Reward(Protocol):
    """Anything that scores candidates.

    Attributes:
        name: id and version, written into judgements, e.g. `scalar@3f2a91c0`.
        needs_images: whether `images` must be given.
    """

    name: str
    needs_images: bool

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates.

        Args:
            cases: the case of each candidate, N; a case stands once for each of its candidates.
            candidates: N answers.
            images: the images of each candidate's case, N; None for rewards that look at none.
        """
        ...


def check_aligned(
    cases: Sequence[Case], candidates: Sequence[Candidate], images: Sequence[Sequence[Image.Image]] | None
) -> None:
    """Refuse lists that do not belong together.

    Raises:
        ValueError: naming the first candidate that does not belong to its case, or the lengths.
    """
    lengths = {len(cases), len(candidates), *([len(images)] if images is not None else [])}
    if len(lengths) != 1:
        raise ValueError(
            f"{len(cases)} cases, {len(candidates)} candidates and "
            f"{'no' if images is None else len(images)} image lists: give one of each per candidate"
        )
    for case, candidate in zip(cases, candidates, strict=True):
        if case.id != candidate.case_id:
            raise ValueError(f"candidate {candidate.id!r} answers case {candidate.case_id!r}, not {case.id!r}")
