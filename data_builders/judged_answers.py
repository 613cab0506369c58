"""From a folder of judgements to what pairing needs: one judge on one criterion, by case."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from vlmalign.records import Candidate, DataError, Judgement, RecordFolder, Sampling, assistant
from vlmalign.records.scores import experts_named
from vlmalign.records.suggestions import hint

#: criteria of what stands behind a final judgement end on these: one display order, one sample
PARTS = (".order", ".sample")
FEEDBACK = "feedback"


@dataclass(frozen=True)
class Judged:
    """The judgements that decide pairs.

    Attributes:
        criterion: theirs.
        judge: theirs.
        by_case: case id -> judgements in file order.
        verdicts: whether they compare two answers; else they score one.
        folder: where they come from.
    """

    criterion: str
    judge: str
    by_case: dict[str, list[Judgement]] = field(repr=False)
    verdicts: bool
    folder: RecordFolder[Judgement] = field(repr=False)

    @property
    def experts(self) -> tuple[str, ...]:
        """Experts behind the judge, whom what is made of its judgements must name."""
        return experts_named(self.folder.manifest.config)

    def check_candidates(self, candidates: RecordFolder[Candidate]) -> None:
        """Refuse candidates that are not those that were judged, where the judgements say which.

        Raises:
            DataError: they are others.
        """
        made_from = self.folder.manifest.config.get("candidates")
        if isinstance(made_from, str) and made_from != candidates.sha256:
            raise DataError(
                f"the judgements are of other candidates (hash {made_from[:12]}) than those given "
                f"(hash {candidates.sha256[:12]})",
                "Pass the candidates that were judged, or judge these: `vlmalign build judge`.",
                file=self.folder.path,
            )


def read_judged(path: str | Path, criterion: str | None = None, judge: str | None = None) -> Judged:
    """Read the judgements of one judge on one criterion.

    Where they are not named there must be one of each to choose. Single display orders and samples do not count,
    and where a jury judged its own judgement is chosen, not those of its members.

    Args:
        path: the Judgement folder.
        criterion: e.g. `pairwise`.
        judge: id and version.

    Raises:
        DataError: the folder cannot be used, what is named is not there, or what is not named is not unique.
    """
    folder = RecordFolder(path, Judgement)
    found: dict[tuple[str, str], dict[str, list[Judgement]]] = defaultdict(lambda: defaultdict(list))
    for judgement in folder:
        found[judgement.criterion, judgement.judge][judgement.case_id].append(judgement)
    criteria = sorted({c for c, _ in found})
    if criterion is None:
        final = [c for c in criteria if not c.endswith(PARTS)]
        final = [c for c in final if c.startswith("jury.")] or [c for c in final if c == FEEDBACK] or final
        criterion = _only(final, "criterion", folder)
    elif criterion not in criteria:
        raise DataError(f"nothing is judged by {criterion!r}", hint(criterion, criteria), file=folder.path)
    judges = sorted({j for c, j in found if c == criterion})
    if judge is None:
        judge = _only(judges, "judge", folder)
    elif judge not in judges:
        raise DataError(f"{judge!r} judges nothing by {criterion!r}", hint(judge, judges), file=folder.path)
    by_case = found[criterion, judge]
    every = [judgement for some in by_case.values() for judgement in some]
    verdicts = any(len(j.candidate_ids) == 2 for j in every)
    mixed = next((j for j in every if verdicts and j.score is not None and j.verdict is None), None)
    if mixed is not None:
        raise DataError(
            "it is a score among verdicts", "Give scores or verdicts.", file=folder.path, record=mixed.id,
            field="score",
        )  # fmt: skip
    return Judged(criterion, judge, dict(by_case), verdicts, folder)


def _only(names: list[str], what: str, folder: RecordFolder[Judgement]) -> str:
    if len(names) == 1:
        return names[0]
    if not names:
        raise DataError("there is no judgement to make pairs of", "Pass another folder.", file=folder.path)
    raise DataError(
        f"there are several: {', '.join(names)}", f"Name one with --{what}.", file=folder.path, field=what
    )


def with_revisions(candidates: list[Candidate], judgements: list[Judgement]) -> list[Candidate]:
    """The candidates of a case with the revisions that a feedback loop made of them.

    A revision has its original's prompt and sampling settings, and no length in tokens; nor has, then, its
    original, so that both are measured in words.

    Args:
        candidates: of one case.
        judgements: of the same case.
    """
    known = {c.id: c for c in candidates}
    for judgement in judgements:
        text = judgement.extra.get("revision")
        if judgement.criterion != FEEDBACK or not isinstance(text, str) or len(judgement.candidate_ids) != 2:
            continue
        original = known.get(judgement.candidate_ids[0])
        if original is None:
            continue
        known[original.id] = original.model_copy(update={"tokens": None})
        known[judgement.candidate_ids[1]] = Candidate(
            id=judgement.candidate_ids[1],
            case_id=original.case_id,
            group_id=original.group_id,
            messages=(assistant(text),),
            policy=f"{original.policy}+{judgement.judge}",
            sampling=Sampling.model_validate(original.sampling.model_dump()),
            seed=original.seed,
            extra=original.extra,
        )
    return list(known.values())
