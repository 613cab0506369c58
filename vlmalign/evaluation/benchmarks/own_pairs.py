"""Our own format: folders of judgements over a folder of labelled preferences, as items of a pair benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from vlmalign.evaluation.benchmarks.pairs import Outcome, PairItem, outcome_of
from vlmalign.evaluation.benchmarks.protocol import MISSING, NO_MAJORITY, REFUSED, SCORED, TIED, UNPARSED, Option
from vlmalign.evaluation.pair_subsets import NOT_STATED, subset_of
from vlmalign.records import DataError, Judgement, Preference, RecordFolder, read_manifest
from vlmalign.records.scores import SIDES, side_id

FORMAT = "a preference folder and judgement folders over it (`vlmalign score --pairs`, `vlmalign build judge`)"
#: option of every adapter that reads them
SUBSET_BY = Option("provenance.subset", "what names the subset of a pair in our own format")
WORDS = {"refused": REFUSED, "unparsed": UNPARSED, "tie": TIED}


def are_folders(files: Sequence[Path]) -> bool:
    """Whether the predictions are record folders.

    Raises:
        DataError: some are and some are not.
    """
    folders = [file.is_dir() for file in files]
    if any(folders) and not all(folders):
        raise DataError(
            "folders and files are mixed", "Give log files, or record folders.", file=", ".join(map(str, files))
        )
    return all(folders) and bool(files)


def read_own_pairs(files: Sequence[Path], by: str = "provenance.subset", threshold: float = 0.0) -> list[PairItem]:
    """Join one folder of preferences with judgements of its pairs.

    Scores of both sides decide by the larger; several scores of one side (by several judges or samples) are
    refused. Verdicts are votes: a pair is decided by strictly more than half of them, unread ones included. Where
    a judge's two orders were joined into a verdict without a display order, only that one counts.

    Args:
        files: one preference folder, and one or more judgement folders over it.
        by: what names a pair's subset, see `pair_subsets.subset_of`.
        threshold: a difference of scores up to it is a tie.

    Raises:
        DataError: not exactly one folder of preferences, no judgements, a judge that decided the pairs itself, or
            no judgement is of these pairs.
    """
    kinds = {file: read_manifest(file).kind for file in files}
    pair_folders = [file for file, kind in kinds.items() if kind == "preference"]
    judged = [file for file, kind in kinds.items() if kind == "judgement"]
    if len(pair_folders) != 1 or len(pair_folders) + len(judged) != len(files) or not judged:
        told = ", ".join(f"{file} ({kind})" for file, kind in kinds.items())
        raise DataError(
            f"the folders are {told}: one of preferences and one or more of judgements over it are needed",
            "Name both: --predictions PAIRS --predictions JUDGED.",
        )
    folder = RecordFolder(pair_folders[0], Preference)
    judgements = [judgement for file in judged for judgement in RecordFolder(file, Judgement)]
    named: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        for candidate in judgement.candidate_ids:
            named.setdefault(candidate, []).append(judgement)
    pairs = list(folder)
    _refuse_own_word(pairs, judgements, folder.path)
    if not any(side_id(pair.id, side) in named for pair in pairs for side in SIDES):
        raise DataError(
            "no judgement is of a side of these pairs (candidate ids are <pair id>/chosen and <pair id>/rejected)",
            "Judge these pairs, or name the folder that was judged.",
            file=", ".join(map(str, judged)),
            field="candidate_ids",
        )
    name_of = subset_of(by)
    return [_item(pair, named, name_of, threshold) for pair in pairs]


def _refuse_own_word(pairs: Sequence[Preference], judgements: Sequence[Judgement], path: Path) -> None:
    judges = {judgement.judge for judgement in judgements}
    own = [pair.id for pair in pairs if judges & set(pair.judge_ids)]
    if own:
        raise DataError(
            f"{', '.join(sorted(judges))} decided {len(own)} of these {len(pairs)} pairs: that is its own word",
            "Give pairs that others labelled; `vlmalign evaluate reward --own-labels` measures agreement with "
            "itself.",
            file=path,
            record=own[0],
            field="judge_ids",
        )


def _item(
    pair: Preference, named: dict[str, list[Judgement]], name_of: Callable[[Preference], str], threshold: float
) -> PairItem:
    chosen, rejected = (side_id(pair.id, side) for side in SIDES)
    verdicts = [j for j in named.get(chosen, ()) if set(j.candidate_ids) == {chosen, rejected}]
    scores = [[j for j in named.get(side, ()) if j.candidate_ids == (side,)] for side in (chosen, rejected)]
    if max(map(len, scores)) > 1 or (verdicts and any(scores)):
        raise DataError(
            "several judgements score the same answer, or scores and verdicts are mixed",
            "Give one judge's scores, or verdicts alone.",
            record=pair.id,
        )
    shown: float | None = None
    if verdicts:
        joined = [j for j in verdicts if j.display_order is None]
        state, outcome = _vote(joined or verdicts, chosen)
        orders = [j.display_order[0] == chosen for j in verdicts if j.display_order]
        shown = sum(orders) / len(orders) if orders else None
    else:
        state, outcome = _compare(scores, threshold)
    subset = name_of(pair)
    lengths = tuple(sum(len(turn.text) for turn in turns) for turns in (pair.chosen, pair.rejected))
    return PairItem(
        pair.id,
        pair.cluster,
        () if subset == NOT_STATED else (subset,),
        state,
        outcome,
        better_shown_first=shown,
        lengths=(lengths[0], lengths[1]),
    )


def _compare(scores: Sequence[Sequence[Judgement]], threshold: float) -> tuple[str, Outcome | None]:
    for judged in scores:
        if not judged:
            return MISSING, None
        if judged[0].score is None:
            return state_of(judged[0]), None
    better, worse = (judged[0].score for judged in scores)
    assert better is not None and worse is not None
    outcome = outcome_of(better, worse, threshold)
    return (TIED if outcome == "tie" else SCORED), outcome


def _vote(judged: Sequence[Judgement], chosen: str) -> tuple[str, Outcome | None]:
    votes: Counter[str] = Counter()
    for judgement in judged:
        if judgement.verdict is None:
            votes[state_of(judgement)] += 1
        elif judgement.verdict == "tie":
            votes["tie"] += 1
        else:
            preferred = judgement.candidate_ids[judgement.verdict == "second"]
            votes["right" if preferred == chosen else "wrong"] += 1
    winner, count = votes.most_common(1)[0]
    if 2 * count <= len(judged):
        return NO_MAJORITY, None
    if winner == "tie":
        return TIED, "tie"
    return (SCORED, winner) if winner in ("right", "wrong") else (winner, None)  # type: ignore[return-value]


def state_of(judgement: Judgement) -> str:
    """The state of an invalid judgement: the word that its reason begins with, as our judges write it.

    Example:
        >>> judgement = Judgement(id="j", case_id="c", candidate_ids=("a",), criterion="x", judge="y@1",
        ...                       valid=False, invalid_reason="refused: I cannot")
        >>> state_of(judgement)
        'refused'
    """
    word = (judgement.invalid_reason or "").partition(":")[0].strip().lower()
    return WORDS.get(word, word.replace(" ", "_") if 0 < len(word) <= 24 else "invalid")
