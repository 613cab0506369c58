"""Which comparison of a case each of its readers gets: even within every reader and within every case at once."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

TRIED = 20  # draws, of which that is taken whose comparisons meet most evenly within cases

Vertex = tuple[str, int, int]


def even_comparisons(readings: Sequence[tuple[int, int]], m: int, rng: random.Random) -> list[int]:
    """A comparison, 0 to m - 1, for each (reader, case).

    Each reader, and each case, has every comparison floor(n / m) or ceil(n / m) times, n being its readings: a
    case with m or more readers is read in every comparison, one with fewer in as many different ones as it has
    readers. It is an equitable edge colouring of the graph of readers and cases, which a bipartite graph always
    has (de Werra 1971): readers and cases are cut into parts of at most m edges, and what is left is coloured by
    alternating paths (Koenig 1916).

    Args:
        readings: (reader, case), each once.
        m: number of comparisons.
        rng: which of the possible ones.

    Example:
        >>> even_comparisons([(reader, case) for reader in (0, 1) for case in (0, 1)], 2, random.Random(0))
        [0, 1, 1, 0]
    """
    if m == 1:
        return [0] * len(readings)
    of_case = Counter(case for _, case in readings)
    several = any(1 < n < m for n in of_case.values())  # then which of them meet in a case is a choice
    drawn = (_coloured(readings, m, rng) for _ in range(TRIED if several else 1))
    return min(drawn, key=lambda found: _unevenness(readings, found))


def _unevenness(readings: Sequence[tuple[int, int]], found: Sequence[int]) -> int:
    """Sum of squares of how many cases two comparisons share."""
    by_case: dict[int, set[int]] = defaultdict(set)
    for (_, case), comparison in zip(readings, found, strict=True):
        by_case[case].add(comparison)
    shared = Counter(pair for own in by_case.values() for pair in itertools.combinations(sorted(own), 2))
    return sum(n * n for n in shared.values())


def _coloured(readings: Sequence[tuple[int, int]], m: int, rng: random.Random) -> list[int]:
    ends = _parts(readings, m, rng)
    colour: dict[int, int] = {}
    at: dict[Vertex, dict[int, int]] = defaultdict(dict)  # colour -> edge

    def paint(edge: int, new: int) -> None:
        colour[edge] = new
        for end in ends[edge]:
            at[end][new] = edge

    for edge in rng.sample(range(len(ends)), len(ends)):
        u, w = ends[edge]
        free_u, free_w = ([c for c in range(m) if c not in at[end]] for end in (u, w))
        if both := [c for c in free_u if c in free_w]:
            paint(edge, rng.choice(both))
            continue
        a, b = rng.choice(free_u), rng.choice(free_w)
        path, x, now = [], w, a  # edges from w of the colours a, b, a, ...: it cannot end in u, which has no a
        while now in at[x]:
            path.append(at[x][now])
            x = next(end for end in ends[path[-1]] if end != x)
            now = b if now == a else a
        for each in path:
            for end in ends[each]:
                del at[end][colour[each]]
        for each in path:
            paint(each, b if colour[each] == a else a)
        paint(edge, a)
    return [colour[edge] for edge in range(len(ends))]


def _parts(readings: Sequence[tuple[int, int]], m: int, rng: random.Random) -> list[tuple[Vertex, Vertex]]:
    """The edges between parts of readers and parts of cases; no part has more than m, all but one have m."""
    ends: list[list[Vertex]] = [[], []]
    for side, kind in enumerate(("reader", "case")):
        seen: Counter[int] = Counter()
        part: dict[int, Vertex] = {}
        for edge in rng.sample(range(len(readings)), len(readings)):
            own = readings[edge][side]
            part[edge] = (kind, own, seen[own] // m)
            seen[own] += 1
        ends[side] = [part[edge] for edge in range(len(readings))]
    return list(zip(*ends, strict=True))
