"""What a design lets be compared, and what not: told when it is made, not when its answers are in."""

from __future__ import annotations

import itertools
from collections import defaultdict

from vlmalign.reader_study.study import Key


def limits(key: Key) -> list[str]:
    """What cannot be compared within a case, or agreed on between readers, in words; empty where all can.

    Texts shown alone are compared within cases that were read in both arms, by whomever; a case read in one arm
    takes no part. Agreement between readers needs readers who are shown the same.
    """
    rated = [r for r in key.readings.values() if r.kind == "rate" and not r.repeat]
    told = []
    if key.plan.texts_per_item == 1:
        of_case: dict[str, set[str]] = defaultdict(set)
        for reading in rated:
            of_case[key.items[reading.item].record].update(key.texts[name].arm for name in reading.shown)
        for a, b in itertools.combinations(key.arms, 2):
            both = sum({a, b} <= arms for arms in of_case.values())
            if both < len(of_case):
                told.append(
                    f"{a} and {b} can be compared within {both} of {len(of_case)} cases: the others are read in "
                    f"at most one of the two, and take no part. A design in which at least {len(key.arms)} "
                    "readers read each case, or each reads it in every arm (--crossed), would compare all"
                )
    readers = defaultdict(set)
    for reading in rated:
        readers[reading.item].add(reading.reader)
    if len(key.plan.readers) > 1 and all(len(names) < 2 for names in readers.values()):
        told.append(
            "no two readers are shown the same: agreement between readers cannot be known. A design in which more "
            "readers read each case than there are comparisons, or each reads it in every comparison (--crossed), "
            "would tell"
        )
    return told
