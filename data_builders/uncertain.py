"""Which pairs are worth a reader's time: those of which a reward is least sure.

Uncertainty sampling (Lewis & Gale 1994, arXiv:cmp-lg/9407020), with a limit per group so that one patient does not
fill the study.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from data_builders.reward_scores import Margin, margin_of
from vlmalign.records import DataError, DatasetBuild, Preference, RecordFolder
from vlmalign.records.hashing import derive_seed
from vlmalign.records.manifest import strictest
from vlmalign.records.scores import Scores, read_scores

Measure = Literal["certainty", "margin", "std"]
NOTE = (
    "Pairs to be decided: which side is called chosen was drawn by a coin, the weight is 0, and whatever decided "
    "the pair before is left out. Join the readers' verdicts to the pairs by id; provenance.uncertainty.swapped "
    "tells whether the sides are those of the pair as it was."
)


def choose_uncertain(
    pairs: str | Path,
    judged: str | Path,
    out: str | Path,
    *,
    n: int,
    by: Measure = "certainty",
    per_group: int = 1,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write the n pairs of which a reward is least sure, the least sure first, as pairs still to be decided.

    The sides are in the order of a seeded coin, the weight is 0 (training on them by mistake teaches nothing), and
    margin, critiques, judges and experts of the label are left out, so that nothing shows which side was chosen.
    `provenance` holds `uncertainty` alone: the measure, the pair's rank, `decided` false, and for joining (not for
    readers) `swapped`, and the margin and std of the pair as it was.

    Args:
        pairs: Preference folder.
        judged: judgements of the pairs by `vlmalign score --pairs`.
        out: the new Preference folder.
        n: how many at most.
        by: `certainty`: least |margin| / std; `margin`: least |margin|, where no std is known; `std`: largest std.
        per_group: at most so many of one group.
        seed: of the coin, and of the order among equals.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `given`, `unscored` (the reward could not score a side; left out),
        `left_out_for_group` (less certain than a pair that is there, but its group was full) and `more_certain`.

    Raises:
        ValueError: n or per_group below 1, or another measure.
        DataError: a folder that cannot be used, judgements of other pairs, a std that is missing and needed, or no
            pair that is scored.
    """
    if n < 1 or per_group < 1:
        raise ValueError(f"n is {n} and per_group {per_group}: both must be at least 1")
    if by not in get_args(Measure):
        raise ValueError(f"by is {by!r}: choose among {', '.join(get_args(Measure))}")
    folder = RecordFolder(pairs, Preference)
    scores = read_scores(judged, of=folder.sha256, made_from="pairs")
    records = list(folder)
    chosen, counts = _choose(records, scores, n, by, per_group, seed)
    if not chosen:
        raise DataError(
            f"none of the {len(records)} pairs is scored",
            "See why: `vlmalign evaluate reward` tells the reasons.",
            file=scores.source,
        )
    config = {
        "builder": "uncertain@1",
        "preferences": folder.sha256,
        "judged": scores.sha256,
        "judge": scores.judge,
        "n": n,
        "by": by,
        "per_group": per_group,
        "seed": seed,
    }
    notes = {**folder.manifest.notes, "undecided": NOTE}
    data_use = strictest([folder.manifest.data_use, scores.data_use])
    with DatasetBuild(out, "preference", config, overwrite=overwrite, notes=notes, data_use=data_use) as build:
        if build.finished:
            return build.path
        if not build.has("selection"):
            build.commit("selection", [], counts)
        for rank, (pair, margin) in enumerate(chosen, start=1):
            if build.has(f"pair/{pair.id}"):
                continue
            for image in pair.images:
                build.adopt(image, folder.path)
            build.commit(f"pair/{pair.id}", [undecided(pair, margin, by=by, rank=rank, seed=seed)])
    return build.path


def _choose(
    records: Sequence[Preference], scores: Scores, n: int, by: Measure, per_group: int, seed: int
) -> tuple[list[tuple[Preference, Margin]], Counter[str]]:
    needs = None if by == "margin" else f"choosing by {by}"
    found = [(pair, margin_of(pair, scores, std_for=needs)) for pair in records]
    scored = [(pair, margin) for pair, margin in found if margin.value is not None]
    scored.sort(key=lambda item: (measure(item[1], by), derive_seed("uncertain", seed, item[0].id)))
    counts: Counter[str] = Counter(given=len(records), unscored=len(records) - len(scored))
    of_group: Counter[str] = Counter()
    chosen: list[tuple[Preference, Margin]] = []
    for pair, margin in scored:
        if len(chosen) == n:
            counts["more_certain"] += 1
        elif of_group[pair.group_id] == per_group:
            counts["left_out_for_group"] += 1
        else:
            of_group[pair.group_id] += 1
            chosen.append((pair, margin))
    return chosen, counts


def measure(margin: Margin, by: Measure) -> float:
    """How sure a reward is of a pair; the smaller, the less sure.

    Example:
        >>> [measure(Margin(-1.0, 2.0), by) for by in ("certainty", "margin", "std")]
        [0.5, 1.0, -2.0]
    """
    if margin.value is None:
        raise ValueError(f"the pair is unscored ({margin.reason}): it has no certainty")
    if by == "margin":
        return abs(margin.value)
    value = margin.certainty if by == "certainty" else margin.std
    if value is None:
        raise ValueError(f"the margin has no standard deviation, which {by} needs")
    return -value if by == "std" else value


def undecided(pair: Preference, margin: Margin, *, by: Measure, rank: int, seed: int) -> Preference:
    """A pair with its sides in the order of a coin and without what decided it; see `choose_uncertain`."""
    swapped = bool(derive_seed("side", seed, pair.id) % 2)
    sides = (pair.rejected, pair.chosen) if swapped else (pair.chosen, pair.rejected)
    told: dict[str, Any] = {
        "decided": False,
        "swapped": swapped,
        "by": by,
        "rank": rank,
        "margin": margin.value,
        "std": margin.std,
    }
    return Preference(
        id=pair.id,
        case_id=pair.case_id,
        group_id=pair.group_id,
        split=pair.split,
        images=pair.images,
        prompt=pair.prompt,
        chosen=sides[0],
        rejected=sides[1],
        weight=0.0,
        source=pair.source,
        provenance={"uncertainty": told},
    )
