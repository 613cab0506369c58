"""Who reads what, when and on which side: balanced blocks, rotated arms, balanced sides, repeats far apart."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb

from vlmalign.reader_study.even_comparisons import even_comparisons
from vlmalign.reader_study.plan import StudyPlan
from vlmalign.records.hashing import derive_seed

BLOCKS_TRIED = 300  # subsets of readers looked at for one case, where there are more
EXCHANGES = 4000  # tried after that


@dataclass(frozen=True)
class Slot:
    """One reading: which case and comparison, the part of the study, and whether the sides are exchanged."""

    case: int
    comparison: int
    session: int
    swapped: bool = False
    repeat: bool = False
    guess: bool = False


def reader_blocks(n_cases: int, n_readers: int, per_case: int, seed: int) -> list[tuple[int, ...]]:
    """For each case the readers who read it: equal loads, and every two readers together about as often.

    A balanced incomplete block design where one exists for these numbers, and the nearest that a greedy choice
    finds where none does (Cochran & Cox 1957, ch. 11): loads differ by at most one.

    Example:
        >>> from collections import Counter
        >>> blocks = reader_blocks(6, 4, 2, seed=0)  # every pair of four readers once
        >>> sorted(Counter(blocks).values()), sorted(Counter(r for block in blocks for r in block).values())
        ([1, 1, 1, 1, 1, 1], [3, 3, 3, 3])
    """
    if per_case == n_readers:
        return [tuple(range(n_readers))] * n_cases
    rng = random.Random(derive_seed("blocks", seed))
    load: Counter[int] = Counter()
    together: Counter[tuple[int, int]] = Counter()
    every = list(itertools.combinations(range(n_readers), per_case)) if comb(n_readers, per_case) <= 5000 else None
    blocks = []
    for _ in range(n_cases):
        least = sorted(range(n_readers), key=lambda r: (load[r], rng.random()))[:per_case]
        loads = sorted(load[r] for r in least)
        if every is not None:
            tried = [b for b in every if sorted(load[r] for r in b) == loads]
        else:
            fixed = [r for r in range(n_readers) if load[r] < loads[-1]]
            free = [r for r in range(n_readers) if load[r] == loads[-1]]
            tried = [tuple(sorted(fixed + rng.sample(free, per_case - len(fixed)))) for _ in range(BLOCKS_TRIED)]
        rng.shuffle(tried)
        block = min(tried, key=lambda b: sum((together[p] + 1) ** 2 - together[p] ** 2 for p in _pairs(b)))
        load.update(block)
        together.update(_pairs(block))
        blocks.append(block)
    return _exchanged(blocks, together, rng)


def _exchanged(
    blocks: list[tuple[int, ...]], together: Counter[tuple[int, int]], rng: random.Random
) -> list[tuple[int, ...]]:
    """Let two cases exchange a reader, as often as that evens how often two readers meet; loads stay."""
    for _ in range(EXCHANGES if len(blocks) > 1 else 0):
        i, j = rng.sample(range(len(blocks)), 2)
        a, b = sorted(set(blocks[i]) - set(blocks[j])), sorted(set(blocks[j]) - set(blocks[i]))
        if not a:
            continue
        r, s = rng.choice(a), rng.choice(b)
        old = (blocks[i], blocks[j])
        new = (tuple(sorted({*old[0], s} - {r})), tuple(sorted({*old[1], r} - {s})))
        change: Counter[tuple[int, int]] = Counter(p for block in new for p in _pairs(block))
        change.subtract(p for block in old for p in _pairs(block))
        if sum(k * (2 * together[p] + k) for p, k in change.items()) < 0:
            blocks[i], blocks[j] = new
            for p, k in change.items():
                together[p] += k
    return blocks


def _pairs(block: Sequence[int]) -> list[tuple[int, int]]:
    return list(itertools.combinations(block, 2))


def allocate(
    plan: StudyPlan, n_cases: int, n_comparisons: int, guessable: Mapping[int, int], secret: str = ""
) -> list[list[Slot]]:
    """The readings of each reader, in order.

    Crossed: every comparison of a case, each in another part of the study, rotated over cases and readers (a Latin
    square); repeats in a part of their own. Otherwise each case once, the comparisons even within reader and
    within case at once; repeats come at least a quarter of the list, or as many readings as there are repeats,
    later.

    Which cases a reader reads, and when, follows from `plan.seed`. Which comparison, and on which side what
    stands, follows from the secret too: a reader who knows the program and the seed (0, unless another was given)
    would otherwise know whose text stands left.

    Args:
        plan: the settings.
        n_cases: C.
        n_comparisons: pairs of arms, or arms where one text is shown at a time.
        guessable: comparison that can be asked of at the end -> place (0, 1) in it of the arm to be guessed; of
            texts shown alone 0 for that arm and 1 for another.
        secret: the study's.

    Returns:
        One list per reader of `plan.readers`.

    Raises:
        ValueError: a reader would read fewer cases than are to be repeated.
    """
    readers = len(plan.readers)
    blocks = reader_blocks(n_cases, readers, plan.readers_per_case or readers, plan.seed)
    mine: list[list[int]] = [[case for case, block in enumerate(blocks) if r in block] for r in range(readers)]
    hidden = random.Random(derive_seed("comparisons", plan.seed, secret))
    if plan.crossed:
        mixed = hidden.sample(range(n_cases), n_cases)
        mine = [sorted(cases, key=mixed.__getitem__) for cases in mine]
        chosen = []
    else:
        chosen = _comparisons(mine, n_comparisons, hidden)
    result = []
    for r, name in enumerate(plan.readers):
        if plan.repeats > len(mine[r]):
            raise ValueError(
                f"repeats is {plan.repeats} but reader {name!r} reads {len(mine[r])} cases: lower it, or add cases"
            )
        rng = random.Random(derive_seed("order", plan.seed, name))
        hidden = random.Random(derive_seed("sides", plan.seed, name, secret))
        slots = _crossed(plan, mine[r], r, n_comparisons, rng) if plan.crossed else _once(plan, chosen[r], rng)
        slots = _sides(slots, hidden)
        result.append(slots + _guesses(plan, slots, guessable, hidden))
    return result


def _comparisons(mine: Sequence[Sequence[int]], m: int, rng: random.Random) -> list[list[Slot]]:
    """One comparison for each reader and case."""
    readings = [(reader, case) for reader, cases in enumerate(mine) for case in cases]
    result: list[list[Slot]] = [[] for _ in mine]
    for (reader, case), comparison in zip(readings, even_comparisons(readings, m, rng), strict=True):
        result[reader].append(Slot(case, comparison, 0))
    return result


def _crossed(plan: StudyPlan, cases: Sequence[int], reader: int, m: int, rng: random.Random) -> list[Slot]:
    of_case = {case: place for place, case in enumerate(cases)}
    slots = []
    for session in range(m):
        order = rng.sample(sorted(cases), len(cases))
        slots += [Slot(case, (of_case[case] + reader + session) % m, session) for case in order]
    first = slots[: len(cases)]
    again = [replace(slot, session=m, repeat=True) for slot in rng.sample(first, plan.repeats)]
    return slots + again


def _once(plan: StudyPlan, slots: Sequence[Slot], rng: random.Random) -> list[Slot]:
    order = rng.sample(list(slots), len(slots))
    if not plan.repeats:
        return order
    half = max(plan.repeats, len(order) // 2)
    early = max(plan.repeats, half - len(order) // 4)
    again = [replace(order[p], repeat=True) for p in sorted(rng.sample(range(early), plan.repeats))]
    late = order[half:]
    places = set(rng.sample(range(len(late) + len(again)), len(again)))
    repeats, others = iter(again), iter(late)
    return order[:half] + [next(repeats if p in places else others) for p in range(len(late) + len(again))]


def _sides(slots: Sequence[Slot], rng: random.Random) -> list[Slot]:
    """Half of the first readings of each comparison with exchanged sides, and half of the repeats against them."""
    by_comparison: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for place, slot in enumerate(slots):
        by_comparison[slot.comparison, slot.repeat].append(place)
    swapped: dict[int, bool] = {}
    spare = rng.random() < 0.5  # where the number is odd, one comparison has one more, the next one fewer
    for key in sorted(by_comparison):
        places = by_comparison[key]
        coins = [i % 2 == spare for i in range(len(places))]
        spare = spare if len(places) % 2 == 0 else not spare
        swapped.update(zip(places, rng.sample(coins, len(coins)), strict=True))
    first = {(s.case, s.comparison): swapped[p] for p, s in enumerate(slots) if not s.repeat}
    return [
        replace(s, swapped=swapped[p] != first[s.case, s.comparison] if s.repeat else swapped[p])
        for p, s in enumerate(slots)
    ]


def _guesses(
    plan: StudyPlan, slots: Sequence[Slot], guessable: Mapping[int, int], rng: random.Random
) -> list[Slot]:
    """Readings at the end: the arm stands left in half of them, or is shown in half of them where texts are alone.

    Who always says the same is then right in half, as chance is.
    """
    usable = [s for s in slots if s.comparison in guessable and not s.repeat]
    usable = rng.sample(usable, len(usable))
    last = slots[-1].session if slots else 0
    n = min(plan.guesses, len(usable))
    coins = rng.sample([i % 2 == 0 for i in range(n)], n)
    if plan.texts_per_item == 1:
        own, other = ([s for s in usable if guessable[s.comparison] == place] for place in (0, 1))
        wanted = min(max(coins.count(True), n - len(other)), len(own))
        usable = rng.sample(own[:wanted] + other[: n - wanted], n)
    chosen = zip(usable, coins, strict=False)
    return [
        replace(s, guess=True, session=last, swapped=(guessable[s.comparison] == 1) == left) for s, left in chosen
    ]
