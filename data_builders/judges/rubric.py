"""A rubric: named criteria with scales, and the scores that a reply gives on them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_builders.judges.confidence import is_confidence, read_confidence
from data_builders.judges.reading import Unread, plain_lines

RESERVED = ("confidence", "scores", "total", "verdict")
_LINE = re.compile(r"(?:[-•]\s*)?([a-z][a-z0-9 ]*?)\s*[:=]\s*(.*)", re.IGNORECASE)
_SCORE = re.compile(r"(-?\d+)\s*(?:(?:/|out of)\s*(\d+))?\.?")


class Criterion(BaseModel):
    """One thing that an answer is scored on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9 ]*$", description="lower-case words")
    about: str = Field(min_length=1, description="what the judge is told of it")
    low: int = Field(1, description="worst score")
    high: int = Field(5, description="best score")
    weight: float = Field(1.0, gt=0, description="in the total")
    levels: dict[int, str] = Field(default_factory=dict, description="score -> what it means")

    @model_validator(mode="after")
    def _scale(self) -> Criterion:
        if self.high <= self.low:
            raise ValueError(f"high ({self.high}) must be above low ({self.low})")
        outside = [level for level in self.levels if not self.low <= level <= self.high]
        if outside:
            raise ValueError(f"level {outside[0]} is outside {self.low} to {self.high}")
        if self.name in RESERVED:
            raise ValueError(f"{self.name!r} means something else in a reply: rename the criterion")
        return self


#: what a medical answer is scored on where nothing else is said
DEFAULT = (
    Criterion(name="truth", about="every statement is true; a false one is worse than a missing one", weight=2),
    Criterion(name="completeness", about="nothing of clinical importance is missing", weight=1),
    Criterion(name="clarity", about="plain, specific, no repetition, nothing that was not asked", weight=0.5),
)


@dataclass(frozen=True)
class Scored:
    """What a reply says.

    Attributes:
        scores: criterion -> score on its own scale.
        total: weighted mean of the scores, each brought to [0, 1] by its scale.
        confidence: in [0, 1]; None where none is stated.
    """

    scores: Mapping[str, int]
    total: float
    confidence: float | None = None


def read_scores(text: str, rubric: Sequence[Criterion]) -> Scored | Unread:
    r"""Read the scores that a whole reply ends on.

    They stand after a line `SCORES`, each criterion once and nothing else but a confidence; a number must be whole
    and within the criterion's scale (`4/5` is read where 5 is the highest).

    Args:
        text: the judge's reply and nothing else.
        rubric: the criteria.

    Example:
        >>> read_scores("Misses the effusion.\nSCORES\ntruth: 5\ncompleteness: 3/5\nclarity: 1", DEFAULT).total
        0.7142857142857143
        >>> read_scores("SCORES\ntruth: 5\nclarity: 7", DEFAULT).why
        "'clarity' is 7, outside 1 to 5"
    """
    lines = plain_lines(text)
    starts = [n for n, line in enumerate(lines) if line.rstrip(": ").upper() == "SCORES"]
    if len(starts) != 1:
        return Unread("unparsed", "there is no line SCORES" if not starts else "there are several lines SCORES")
    known = {criterion.name: criterion for criterion in rubric}
    scores: dict[str, int] = {}
    after = lines[starts[0] + 1 :]
    for line in after:
        if is_confidence(line):
            continue
        found = _LINE.fullmatch(line)
        name = "" if found is None else found.group(1).lower()
        if found is None or name not in known:
            return Unread("unparsed", f"{line[:40]!r} among the scores is no criterion")
        if name in scores:
            return Unread("unparsed", f"{name!r} is scored twice")
        value = _score(found.group(2), known[name])
        if isinstance(value, Unread):
            return value
        scores[name] = value
    missing = [name for name in known if name not in scores]
    if missing:
        return Unread("unparsed", f"{missing[0]!r} is not scored")
    return Scored(scores, _total(scores, rubric), read_confidence(after))


def _score(written: str, criterion: Criterion) -> int | Unread:
    found = _SCORE.fullmatch(written.strip())
    if found is None:
        return Unread("unparsed", f"{criterion.name!r} is {written.strip()[:40]!r}, not a whole number")
    value = int(found.group(1))
    if found.group(2) is not None and int(found.group(2)) != criterion.high:
        return Unread("unparsed", f"{criterion.name!r} is out of {found.group(2)}, not out of {criterion.high}")
    if not criterion.low <= value <= criterion.high:
        return Unread("unparsed", f"{criterion.name!r} is {value}, outside {criterion.low} to {criterion.high}")
    return value


def _total(scores: Mapping[str, int], rubric: Sequence[Criterion]) -> float:
    weighted = sum(c.weight * (scores[c.name] - c.low) / (c.high - c.low) for c in rubric)
    return weighted / sum(c.weight for c in rubric)
