"""What became of a judge's judgements: verdicts, ties, scores, and each reason why there is none."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from data_builders.judges.consistency import Proportion
from data_builders.judges.reading import state_of
from vlmalign.records import Judgement, RecordFolder


def judged_states(folder: str | Path) -> dict[tuple[str, str], dict[str, Proportion]]:
    """By judge and criterion: the share of each state, of all that it judged.

    States are `first`, `second` and `tie` (of verdicts), `scored`, and those of invalid judgements (`refused`,
    `unparsed`, `inconsistent`, `cut` ...): none of them is a score.

    Args:
        folder: of judgements.

    Returns:
        (judge, criterion) -> state -> share with its 95 % Wilson interval, the most frequent state first.

    Raises:
        DataError: the folder cannot be used.
    """
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for judgement in RecordFolder(folder, Judgement):
        state = judgement.verdict or "scored" if judgement.valid else state_of(judgement)
        found[judgement.judge, judgement.criterion][state] += 1
    return {
        key: {state: Proportion.of(n, counts.total()) for state, n in counts.most_common()}
        for key, counts in sorted(found.items())
    }
