"""Preference pairs from what readers said: by their preference, or where none was asked by their ratings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from vlmalign.reader_study.collecting import Collected, Unblinded
from vlmalign.reader_study.study import KeyItem
from vlmalign.records import Case, DatasetBuild, Preference, RecordFolder

Votes = Literal["majority", "each"]
RATING_GAP = 0.5  # points of 1 to 5; a smaller difference of mean ratings is a tie


@dataclass(frozen=True)
class Vote:
    """One reader's verdict on two texts; of texts that different readers rated, all readers' together.

    Attributes:
        readings: the readings that it was said in.
        readers: who.
        value: above 0 the first text is better; a preference lies in -1 to 1, a difference of ratings in -4 to 4.
        ratings: mean over the criteria of the first and the second text, where they were rated.
    """

    readings: tuple[str, ...]
    readers: tuple[str, ...]
    value: float
    ratings: tuple[float, float] | None = None


@dataclass
class Comparison:
    """Two texts of one case, and what was said of them."""

    name: str
    item: KeyItem
    texts: tuple[str, str]
    votes: list[Vote] = field(default_factory=list)
    unanswered: int = 0


def write_pairs(
    build: DatasetBuild, found: Collected, cases: RecordFolder[Case], votes: Votes, rating_gap: float = RATING_GAP
) -> None:
    """Write the pairs of a study, a unit for each comparison; ties and unanswered ones are counted.

    Args:
        build: a preference build.
        found: the readings.
        cases: the study's cases.
        votes: one pair for each comparison, by the mean of its votes, or one for each vote, weighted to 1 in all.
        rating_gap: where no preference was asked: mean ratings no farther apart than this are a tie.
    """
    by_record = {case.id: case for case in cases}
    asked = bool(found.public.questions.preference)
    gap = 0.0 if asked else rating_gap
    for one in by_preference(found) if asked else by_ratings(found):
        if build.has(one.name):
            continue
        case = by_record[one.item.record]
        counts = Counter(comparisons=1, unanswered=one.unanswered)
        groups = [one.votes] if votes == "majority" else [[vote] for vote in one.votes]
        share = 1.0 if votes == "majority" else 1 / max(1, len(one.votes))
        pairs = [_pair(found, one, case, group, votes, share, gap) for group in groups if group]
        counts["ties"] = sum(pair is None for pair in pairs)
        kept = [pair for pair in pairs if pair is not None]
        for pair in kept:
            for ref in pair.images:
                build.adopt(ref, cases.path)
        build.commit(one.name, kept, +counts)


def by_preference(found: Collected) -> Iterator[Comparison]:
    """Comparisons with their preferences, repeats aside."""
    steps = found.public.questions.preference
    comparisons: dict[str, Comparison] = {}
    for row in _first(found):
        item = found.key.items[row.item]
        one = comparisons.setdefault(row.item, Comparison(row.item, item, (item.texts[0], item.texts[1])))
        value = row.preferred(steps)
        if value is None:
            one.unanswered += 1
        else:
            turned = row.candidates != item.texts
            one.votes.append(Vote((row.reading,), (row.reader,), -value + 0.0 if turned else value))
    yield from comparisons.values()


def by_ratings(found: Collected) -> Iterator[Comparison]:
    """Comparisons by the mean over the criteria; a text of which one is missing is unanswered.

    Texts shown side by side are compared by those who saw both. Of texts shown alone all pairs of a case's are
    compared: by the readers who rated both or, where there is none, by the means of those who rated either.
    """
    criteria = found.public.questions.criteria
    if found.public.questions.texts == 2:
        comparisons: dict[str, Comparison] = {}
        for row in _first(found):
            item = found.key.items[row.item]
            one = comparisons.setdefault(row.item, Comparison(row.item, item, (item.texts[0], item.texts[1])))
            means = [_mean(row, place, criteria) for place in (0, 1)]
            if row.candidates != item.texts:
                means.reverse()
            _add(one, (row.reading,), (row.reader,), means)
        yield from comparisons.values()
        return
    alone: dict[str, dict[str, dict[str, Unblinded]]] = defaultdict(lambda: defaultdict(dict))
    for row in _first(found):
        alone[found.key.items[row.item].record][row.item][row.reader] = row
    for read in alone.values():
        ordered = sorted(read, key=lambda name: found.key.arms.index(next(iter(read[name].values())).arms[0]))
        for a, b in combinations(ordered, 2):
            yield _of_two(found, a, b, read[a], read[b])


def _of_two(
    found: Collected, a: str, b: str, read_a: dict[str, Unblinded], read_b: dict[str, Unblinded]
) -> Comparison:
    first, second = found.key.items[a], found.key.items[b]
    one = Comparison(f"{a}-{b}", first, (first.texts[0], second.texts[0]))
    criteria = found.public.questions.criteria
    both = sorted(read_a.keys() & read_b.keys())
    for reader in both:
        two = (read_a[reader], read_b[reader])
        _add(one, tuple(row.reading for row in two), (reader,), [_mean(row, 0, criteria) for row in two])
    if not both:
        sides = [[(row, _mean(row, 0, criteria)) for row in read.values()] for read in (read_a, read_b)]
        known = [[(row, mean) for row, mean in side if mean is not None] for side in sides]
        one.unanswered += sum(map(len, sides)) - sum(map(len, known))
        rows = tuple(row for side in known for row, _ in side)
        means = [sum(mean for _, mean in side) / len(side) if side else None for side in known]
        if None not in means:
            _add(one, tuple(r.reading for r in rows), tuple(r.reader for r in rows), means)
    return one


def _add(one: Comparison, readings: tuple[str, ...], readers: tuple[str, ...], means: list[float | None]) -> None:
    a, b = means
    if a is None or b is None:
        one.unanswered += 1
    else:
        one.votes.append(Vote(readings, readers, a - b, (a, b)))


def _first(found: Collected) -> Iterator[Unblinded]:
    return (row for row in found.rows if row.kind == "rate" and not row.repeat)


def _mean(row: Unblinded, place: int, criteria: Sequence[str]) -> float | None:
    """Mean over all criteria of one text, None where any is missing."""
    given = [row.answer.ratings.get(name, ())[place:][:1] for name in criteria] if row.answer else []
    known = [value for values in given for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(criteria) else None


def _pair(
    found: Collected, one: Comparison, case: Case, votes: Sequence[Vote], how: Votes, weight: float, gap: float
) -> Preference | None:
    """The pair that these votes decide; None for a tie."""
    mean = sum(vote.value for vote in votes) / len(votes)
    if abs(mean) <= gap:
        return None
    sign = 1 if mean > 0 else -1
    better, worse = one.texts[::sign]
    texts, study = found.key.texts, found.public.study
    rated = [vote.ratings[::sign] for vote in votes if vote.ratings is not None]
    ratings = [sum(each) / len(rated) for each in zip(*rated, strict=True)] if rated else [None, None]
    whole = one.item.pair_id or f"{study}/{one.name}"
    readers = dict.fromkeys(reader for vote in votes for reader in vote.readers)
    return Preference(
        id=whole if how == "majority" else f"{study}/{'-'.join(votes[0].readings)}",
        case_id=one.item.case_id,
        group_id=one.item.group_id,
        split="train" if found.key.purpose == "training" else "test",
        images=case.images,
        prompt=case.messages,
        chosen=texts[better].messages,
        rejected=texts[worse].messages,
        margin=abs(mean),
        chosen_rating=ratings[0],
        rejected_rating=ratings[1],
        weight=weight,
        source="reader",
        judge_ids=tuple(f"reader:{reader}@{study}" for reader in readers),
        provenance={
            "study": study,
            "item": one.name,
            "pair_id": one.item.pair_id,
            "candidate_ids": [better, worse],
            "arms": [texts[better].arm, texts[worse].arm],
            "policies": [texts[better].policy, texts[worse].policy],
            "votes": {
                "for": sum(vote.value * sign > gap for vote in votes),
                "against": sum(vote.value * sign < -gap for vote in votes),
                "tied": sum(abs(vote.value) <= gap for vote in votes),
            },
        },
    )
