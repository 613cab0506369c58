"""What a reward is: a score of each candidate answer, or the statement that it has none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from vlmalign.records import Candidate, Case

Steps = tuple[tuple[int, float], ...]


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
        steps: per candidate its steps in order, each as (where it ends in the candidate's text, score); None
            where the candidate is invalid; or None for a reward that does not score steps.
        flops: floating point operations that the scores took; 0 for a reward without a model.

    Raises:
        ValueError: lengths that differ, a valid score that is no number, an invalid one that is, or one
            without a reason, steps that a valid candidate lacks or that do not ascend.

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
    steps: tuple[Steps | None, ...] | None = None
    flops: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.mean)
        lengths = {"std": len(self.std), "valid": len(self.valid), "reasons": len(self.reasons)}
        lengths |= {name: len(values) for name, values in self.components.items()}
        lengths |= {"critiques": len(self.critiques)} if self.critiques is not None else {}
        lengths |= {"steps": len(self.steps)} if self.steps is not None else {}
        for name, length in lengths.items():
            if length != n:
                raise ValueError(f"{name} has {length} entries, mean has {n}: give one per candidate")
        for i, (mean, valid, reason) in enumerate(zip(self.mean, self.valid, self.reasons, strict=True)):
            if valid and not math.isfinite(mean):
                raise ValueError(f"candidate {i} is valid and its mean is {mean}: mark it invalid, with a reason")
            if not valid and (not math.isnan(mean) or not reason):
                raise ValueError(f"candidate {i} is invalid: its mean must be NaN and its reason given")
        for i, (valid, steps) in enumerate(zip(self.valid, self.steps or (), strict=False)):
            ends = [end for end, _ in steps or ()]
            if valid and (not ends or ends != sorted(set(ends))):
                raise ValueError(
                    f"candidate {i} is valid and its steps end at {ends}: give one or more, ascending"
                )

    @classmethod
    def of(
        cls,
        scores: Sequence[float | None],
        *,
        reasons: Sequence[str | None],
        std: Sequence[float] | None = None,
        components: Sequence[Mapping[str, float]] | None = None,
        critiques: Sequence[str | None] | None = None,
        steps: Sequence[Steps | None] | None = None,
        flops: float = 0.0,
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
            steps=None if steps is None else tuple(steps),
            flops=flops,
        )

    def __len__(self) -> int:
        return len(self.mean)

    def spread(self, places: Sequence[int], n: int, *, reason: str) -> RewardOutput:
        """These scores as those of some of n candidates, the others invalid.

        Args:
            places: where each of these candidates stands among the n.
            n: how many there are.
            reason: why the others have no score.

        Example:
            >>> RewardOutput.of([0.5], reasons=[None]).spread([1], 2, reason="cut").reasons
            ('cut', None)
        """
        row = {place: i for i, place in enumerate(places)}
        nan = float("nan")

        def over(values: Sequence[Any], empty: Any) -> tuple[Any, ...]:
            return tuple(values[row[place]] if place in row else empty for place in range(n))

        return RewardOutput(
            mean=over(self.mean, nan),
            std=over(self.std, nan),
            valid=over(self.valid, False),
            reasons=over(self.reasons, reason),
            components={name: over(values, nan) for name, values in self.components.items()},
            critiques=None if self.critiques is None else over(self.critiques, None),
            steps=None if self.steps is None else over(self.steps, None),
            flops=self.flops,
        )

    def interleaved(self, other: RewardOutput) -> RewardOutput:
        """These scores and another N by turns: 0 here, 0 there, 1 here ...; operations add up.

        Example:
            >>> one, two = (RewardOutput.of([score, score], reasons=[None, None]) for score in (1.0, 2.0))
            >>> one.interleaved(two).mean
            (1.0, 2.0, 1.0, 2.0)
        """

        def turns(mine: Sequence[Any], theirs: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(value for both in zip(mine, theirs, strict=True) for value in both)

        nan = (float("nan"),) * len(self)
        return RewardOutput(
            mean=turns(self.mean, other.mean),
            std=turns(self.std, other.std),
            valid=turns(self.valid, other.valid),
            reasons=turns(self.reasons, other.reasons),
            components={
                name: turns(self.components.get(name, nan), other.components.get(name, nan))
                for name in dict.fromkeys((*self.components, *other.components))
            },
            critiques=None
            if self.critiques is None or other.critiques is None
            else turns(self.critiques, other.critiques),
            steps=None if self.steps is None or other.steps is None else turns(self.steps, other.steps),
            flops=self.flops + other.flops,
        )

    def without(self, places: Sequence[int], reasons: Sequence[str | None]) -> RewardOutput:
        """The same with some candidates invalid, and why.

        Example:
            >>> RewardOutput.of([1.0, 2.0], reasons=[None, None]).without([0], ["too long"]).valid
            (False, True)
        """
        why = dict(zip(places, reasons, strict=True))
        kept = [i not in why for i in range(len(self))]
        nan = float("nan")
        return replace(
            self,
            mean=tuple(v if keep else nan for v, keep in zip(self.mean, kept, strict=True)),
            std=tuple(v if keep else nan for v, keep in zip(self.std, kept, strict=True)),
            valid=tuple(v and keep for v, keep in zip(self.valid, kept, strict=True)),
            reasons=tuple(why.get(i, reason) for i, reason in enumerate(self.reasons)),
            steps=None
            if self.steps is None
            else tuple(v if keep else None for v, keep in zip(self.steps, kept, strict=True)),
        )

    def costing(self, flops: float) -> RewardOutput:
        """The same with other operations."""
        return replace(self, flops=flops)

    def with_component(self, name: str, values: Sequence[float]) -> RewardOutput:
        """The same with one more component."""
        return replace(self, components={**self.components, name: tuple(values)})


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


@dataclass(frozen=True)
class MarginOutput:
    """Scores of both answers of N pairs, and the doubt in their differences.

    Attributes:
        firsts: scores of the first answers.
        seconds: those of the second ones.
        std: standard deviation of each difference, NaN where it is not known, (N,).
    """

    firsts: RewardOutput
    seconds: RewardOutput
    std: tuple[float, ...]


@runtime_checkable
class MarginReward(Reward, Protocol):
    """A reward whose doubt in a difference is not that of two answers apart, as they share what is doubted."""

    def score_margins(
        self,
        cases: Sequence[Case],
        firsts: Sequence[Candidate],
        seconds: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> MarginOutput:
        """Score N pairs of candidates to N cases; arguments as for `Reward.score`."""
        ...


def experts_behind(reward: object) -> tuple[str, ...]:
    """Experts, by id and version, whose findings decide a reward's scores: its attribute `experts`, if it has one.

    A reward that asks another one tells those of that one, so that an expert does not grade what it has taught
    behind a wrapper.

    Example:
        >>> from vlmalign.rewards.symbolic import SymbolicReward
        >>> experts_behind(SymbolicReward("peripheral_smear"))
        ()
    """
    return tuple(getattr(reward, "experts", ()))


def beside_each_other(
    cases: Sequence[Case],
    firsts: Sequence[Candidate],
    seconds: Sequence[Candidate],
    images: Sequence[Sequence[Image.Image]] | None,
) -> tuple[list[Case], list[Candidate], list[Sequence[Image.Image]] | None]:
    """N pairs as 2 N candidates, both sides of a pair beside each other, so that they share their prompt.

    Returns:
        Cases, candidates and images, as `Reward.score` takes them; None stays None.
    """
    shown = None if images is None else [own for own in images for _ in range(2)]
    both = [answer for pair in zip(firsts, seconds, strict=True) for answer in pair]
    return [case for case in cases for _ in range(2)], both, shown


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
