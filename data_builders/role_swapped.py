"""Role-swapped pairs: two pictures, the same two texts, the preference reversed.

A reward that reads only the text scores both pictures alike, so it gets exactly one of the two records of
an item right: whatever exceeds one half was seen in the pictures.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_builders.candidate_pairs import Known, candidates_by_case
from data_builders.knowledge import ExpertKnowledge, FindingFolders, ReferenceKnowledge, knowledge_of
from data_builders.reading import Reading, prompt_of, read_answer
from data_builders.scoring import ScoreWeights, score_reading
from vlmalign.clinical import Logic, render_report
from vlmalign.clinical.schema import BankName
from vlmalign.records import Candidate, Case, DatasetBuild, Message, Preference, RecordFolder, assistant
from vlmalign.records.hashing import derive_seed
from vlmalign.records.preference import Source

JUDGE = "role_swapped@2"
PARTNERS_TRIED = 30  # per case, when texts are candidates' own and not every couple has fitting texts


@dataclass(frozen=True)
class _Side:
    """One case with what is certain of it and, where texts are candidates' own, the readable ones."""

    case: Case
    known: Known
    texts: tuple[tuple[Candidate, Reading], ...] = ()


@dataclass(frozen=True)
class _Item:
    first: _Side
    second: _Side
    texts: tuple[tuple[Message, ...], tuple[Message, ...]]
    margins: tuple[float | None, float | None]
    differing: tuple[str, ...]
    candidates: tuple[str, str] | None = None


def build_role_swapped(
    cases: str | Path,
    out: str | Path,
    *,
    logic: Logic,
    n_items: int,
    answers: FindingFolders | Literal["reference"] = "reference",
    candidates: str | Path | None = None,
    concepts: Collection[str] | None = None,
    differ: Literal["any", "one"] = "any",
    same_wording: bool = False,
    min_margin: float = 0.25,
    min_probability: float = 0.8,
    seed: int = 0,
    bank: BankName = "train",
    overwrite: bool = False,
) -> Path:
    """Write two Preference records per item, ids `item-<k>/first` and `item-<k>/second`.

    Two cases whose certain answers differ give two texts; over the first picture the first text is chosen,
    over the second the second. Both records have the words of one prompt. Both cases come from this one
    folder and one split, so test groups stay test groups. Cases are used as evenly as possible, and the
    concept in which an item must differ goes round all concepts.

    Args:
        cases: Case folder.
        out: the Preference folder (`source` "expert" or, with "reference", "symbolic").
        logic: the domain's clinical logic.
        n_items: how many items to try for.
        answers: "reference", or the Finding folder(s) of an expert; then references are never read.
        candidates: take texts from these candidates instead of rendering them.
        concepts: speak of these only; None is all that is certain of both cases.
        differ: `any` differing observed concepts, or exactly `one` (derived concepts follow either way).
        same_wording: render both texts from the same draw of paraphrases, so that only claims differ.
        min_margin: with `candidates`, by how much each text must fit its own picture better.
        min_probability: how sure an expert's finding must be.
        seed: of pairing and wording.
        bank: which paraphrases.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. `provenance["item"]` joins the two records, `provenance["groups"]` names both groups.
        The manifest counts `items`, `items_missing`, `cases_without_knowledge`, `uncertain_concepts`,
        `unfinished` (candidates cut by the token limit; left out) and `differs_in:<concept>`.

    Raises:
        ValueError: n_items below 1.
        DataError: a folder is missing or of another kind.
    """
    if n_items < 1:
        raise ValueError(f"n_items is {n_items}: at least 1 is required")
    folder = RecordFolder(cases, Case)
    candidate_folder = None if candidates is None else RecordFolder(candidates, Candidate)
    knowledge = knowledge_of(logic, answers, min_probability=min_probability)
    config = {
        "builder": JUDGE,
        "cases": folder.sha256,
        "answers": knowledge.identity,
        "candidates": None if candidate_folder is None else candidate_folder.sha256,
        "logic": logic.fingerprint,
        "n_items": n_items,
        "concepts": None if concepts is None else sorted(concepts),
        "differ": differ,
        "same_wording": same_wording,
        "min_margin": min_margin,
        "min_probability": min_probability,
        "seed": seed,
        "bank": bank,
    }
    with DatasetBuild(out, "preference", config, overwrite=overwrite, data_use=folder.manifest.data_use) as build:
        if build.finished:
            return build.path
        sides, counts = _sides(folder, candidate_folder, knowledge, logic, concepts)
        if not build.has("selection"):
            build.commit("selection", [], counts)
        own = candidate_folder is not None
        chooser = _Chooser(logic, sides, differ, same_wording, min_margin, seed, bank, own)
        for number in range(n_items):
            item = chooser.next_item(number)
            if not build.has(f"item-{number}"):
                _commit(build, f"item-{number}", item, folder, knowledge.source)
    return build.path


def _commit(
    build: DatasetBuild, unit: str, item: _Item | None, folder: RecordFolder[Case], source: Source
) -> None:
    if item is None:
        build.commit(unit, [], {"items_missing": 1})
        return
    for ref in (*item.first.case.images, *item.second.case.images):
        build.adopt(ref, folder.path)
    tally = {"items": 1, **{f"differs_in:{c}": 1 for c in item.differing}}
    build.commit(unit, _records(unit, item, source), tally)


def _sides(
    folder: RecordFolder[Case],
    candidates: RecordFolder[Candidate] | None,
    knowledge: ReferenceKnowledge | ExpertKnowledge,
    logic: Logic,
    concepts: Collection[str] | None,
) -> tuple[list[_Side], Counter[str]]:
    grouped = {} if candidates is None else candidates_by_case(candidates, folder)
    sides: list[_Side] = []
    counts: Counter[str] = Counter()
    for case in folder:
        known = knowledge(case)
        answers = {c: v for c, v in known.answers.items() if concepts is None or c in concepts}
        counts["cases"] += 1
        counts.update(known.left_open)
        if not answers:
            counts["cases_without_knowledge"] += 1
            continue
        texts = []
        for candidate in grouped.get(case.id, ()):
            if not candidate.finished:
                counts["unfinished"] += 1
                continue
            reading = read_answer(logic, prompt_of(case, candidate), candidate.messages)
            if reading.parsed.claims and reading.asked is None:
                texts.append((candidate, reading))
        sides.append(
            _Side(
                case, Known(answers, known.experts, known.uncertain, not_assessed=known.not_assessed), tuple(texts)
            )
        )
    return sides, +counts


class _Chooser:
    """Draws items one after the other; the same sequence for the same inputs."""

    def __init__(
        self,
        logic: Logic,
        sides: Sequence[_Side],
        differ: str,
        same_wording: bool,
        min_margin: float,
        seed: int,
        bank: BankName,
        from_candidates: bool,
    ) -> None:
        self.logic = logic
        self.differ = differ
        self.same_wording = same_wording
        self.min_margin = min_margin
        self.seed = seed
        self.bank: BankName = bank
        self.from_candidates = from_candidates
        self.sides = list(sides)
        random.Random(derive_seed("role_swapped", seed)).shuffle(self.sides)
        self.used = [0] * len(self.sides)
        self.taken: set[tuple[int, int]] = set()
        derived = set(logic.derived_concepts)
        present = {c for side in sides for c in side.known.answers}
        self.targets = [c for c in logic.order if c in present and c not in derived]

    def next_item(self, number: int) -> _Item | None:
        """The next item, or None when no two unused cases fit any more."""
        for turn in range(len(self.targets)):
            target = self.targets[(number + turn) % len(self.targets)]
            item = self._find(target, number)
            if item is not None:
                return item
        return None

    def _find(self, target: str, number: int) -> _Item | None:
        order = sorted(range(len(self.sides)), key=lambda i: self.used[i])
        for i in order:
            if target not in self.sides[i].known.answers:
                continue
            tried = 0
            for j in order:
                key = (min(i, j), max(i, j))
                if i == j or key in self.taken:
                    continue
                differing = self._differing(self.sides[i], self.sides[j], target)
                if not differing:
                    continue
                item = self._item(self.sides[i], self.sides[j], differing, number)
                if item is not None:
                    self.taken.add(key)
                    self.used[i] += 1
                    self.used[j] += 1
                    return item
                tried += 1
                if tried >= PARTNERS_TRIED:
                    break
        return None

    def _differing(self, one: _Side, other: _Side, target: str) -> tuple[str, ...]:
        a, b = one.known.answers, other.known.answers
        if target not in b or a[target] == b[target] or one.case.split != other.case.split:
            return ()
        if len(one.case.images) != len(other.case.images):
            return ()
        differing = tuple(c for c in self.logic.order if c in a and c in b and a[c] != b[c])
        observed = [c for c in differing if c not in self.logic.derived_concepts]
        return () if self.differ == "one" and len(observed) != 1 else differing

    def _item(self, one: _Side, other: _Side, differing: tuple[str, ...], number: int) -> _Item | None:
        a, b = one.known.answers, other.known.answers
        if self.from_candidates:
            return self._own_texts(one, other, differing)
        common = [c for c in self.logic.order if c in a and c in b]
        seeds = [derive_seed(self.seed, number, 0 if self.same_wording else k) for k in (0, 1)]
        first = render_report(self.logic, {c: a[c] for c in common}, seed=seeds[0], bank=self.bank)
        second = render_report(self.logic, {c: b[c] for c in common}, seed=seeds[1], bank=self.bank)
        return _Item(one, other, ((assistant(first),), (assistant(second),)), (None, None), differing)

    def _own_texts(self, one: _Side, other: _Side, differing: tuple[str, ...]) -> _Item | None:
        best: _Item | None = None
        least = self.min_margin
        for mine, my_reading in one.texts:
            for theirs, their_reading in other.texts:
                if mine.messages == theirs.messages:
                    continue
                here = self._margin(my_reading, their_reading, one.known.answers)
                there = self._margin(their_reading, my_reading, other.known.answers)
                if (
                    here is None
                    or there is None
                    or min(here, there) < least
                    or best is not None
                    and min(here, there) == least
                ):
                    continue
                least = min(here, there)
                texts = (mine.messages, theirs.messages)
                best = _Item(one, other, texts, (here, there), differing, (mine.id, theirs.id))
        return best

    def _margin(self, better: Reading, worse: Reading, answers: Mapping[str, str]) -> float | None:
        weights = ScoreWeights(unsupported=0, consistency=0)  # what must decide is the picture
        scores = [score_reading(self.logic, r, answers, weights=weights).value for r in (better, worse)]
        return None if scores[0] is None or scores[1] is None else scores[0] - scores[1]


def _records(unit: str, item: _Item, source: Source) -> list[Preference]:
    sides = (item.first, item.second)
    groups = [side.case.group_id for side in sides]
    shared = {
        "item": unit,
        "groups": groups,
        "cases": [s.case.id for s in sides],
        "differing": list(item.differing),
    }
    if item.candidates is not None:
        shared["candidates"] = list(item.candidates)
    return [
        Preference(
            id=f"{unit}/{name}",
            case_id=side.case.id,
            group_id=side.case.group_id,
            split=side.case.split,
            images=side.case.images,
            prompt=item.first.case.messages,
            chosen=item.texts[k],
            rejected=item.texts[1 - k],
            margin=item.margins[k],
            source=source,
            expert_ids=tuple(sorted({e for s in sides for e in s.known.experts})),
            judge_ids=(JUDGE,),
            provenance={**shared, "role": name},
        )
        for k, (name, side) in enumerate(zip(("first", "second"), sides, strict=True))
    ]
