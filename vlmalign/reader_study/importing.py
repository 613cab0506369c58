"""Readers' answers as records: judgements of texts, and preference pairs that train a reward model or DPO."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vlmalign.reader_study.collecting import Collected, OnBad, Unblinded, collect
from vlmalign.reader_study.reader_pairs import RATING_GAP, Votes, write_pairs
from vlmalign.reader_study.study import CASES, PRIVATE
from vlmalign.records import Case, DataError, DatasetBuild, Judgement, RecordFolder
from vlmalign.records.hashing import sha256_file
from vlmalign.records.writing import put

JUDGEMENTS, PREFERENCES = "judgements", "preferences"
UNBLINDED, UNUSED, REPORT = "unblinded.jsonl", "unused.jsonl", "report.json"
BUILDER = "reader_import@1"
MISSING = "not answered"


def import_answers(
    study: str | Path,
    files: Sequence[str | Path],
    out: str | Path,
    *,
    key: str | Path | None = None,
    on_bad: OnBad = "refuse",
    votes: Votes = "majority",
    rating_gap: float = RATING_GAP,
    overwrite: bool = False,
) -> Collected:
    """Write the answers of a study as record folders.

    `out` gets `judgements/` (a verdict for each comparison read; a score for each text, reader and criterion;
    marked errors as the negative number of minor plus major ones; an unanswered question is an invalid judgement),
    `preferences/` where a preference or ratings were asked (split `train` where the study is for training, else
    `test`; repeats and ties make no pair and are counted), `unblinded.jsonl` (every reading, for the analysis; see
    `read_unblinded`), `unused.jsonl` (what was set aside, with why), and `report.json`.

    Args:
        study: the study folder, with its cases in the private part.
        files: readers' files.
        out: the folder to write.
        key: the key, where it is kept elsewhere.
        on_bad: refuse | skip; see `collect`.
        votes: one pair for each comparison, by the mean of its readers (margin: that mean, from -1 to 1), or one
            for each reader's verdict, weighted so that a comparison counts once.
        rating_gap: where no preference was asked: a pair's margin is the difference of mean ratings (points of 1
            to 5), and up to this size it is a tie.
        overwrite: replace an import of other files.

    Raises:
        DataError: the key or the files do not fit the study.
        ValueError: a negative gap.
    """
    if rating_gap < 0:
        raise ValueError(f"rating_gap is {rating_gap}: expected 0 or more points, e.g. 0.5")
    out = Path(out)
    if out.resolve() == Path(study).resolve() or Path(study).resolve() in out.resolve().parents:
        raise ValueError(f"{out} lies within the study folder, part of which readers see: choose another --out")
    found = collect(study, files, key=key, on_bad=on_bad)
    cases = RecordFolder(_cases(Path(study), key), Case)
    config = {
        "builder": BUILDER,
        "study": found.public.study,
        "key": found.public.key_sha256,
        "answers": sorted(sha256_file(path) for path in files),
        "on_bad": on_bad,
    }
    use = found.key.data_use
    with DatasetBuild(out / JUDGEMENTS, "judgement", config, overwrite=overwrite, data_use=use) as build:
        for row in found.rows if not build.finished else ():
            if not build.has(row.reading):
                made = list(_judgements(row, found))
                build.commit(
                    row.reading, made, Counter(f"invalid:{j.invalid_reason}" for j in made if not j.valid)
                )
    asked = found.public.questions
    if asked.preference or asked.criteria:
        pair_config = config | {"votes": votes} | ({} if asked.preference else {"rating_gap": rating_gap})
        with DatasetBuild(
            out / PREFERENCES, "preference", pair_config, overwrite=overwrite, data_use=use
        ) as build:
            if not build.finished:
                write_pairs(build, found, cases, votes, rating_gap)
    _write_lists(out, found)
    return found


def _cases(study: Path, key: str | Path | None) -> Path:
    """The study's cases; where the whole private part is kept elsewhere they lie beside the key."""
    places = [study / PRIVATE / CASES] + ([Path(key).parent / CASES] if key is not None else [])
    for place in places:
        if place.is_dir():
            return place
    raise DataError(
        "the study's cases are missing; records need their images and prompts",
        f"Put the folder {CASES!r} of its private part back, or beside the key that --key names.",
        file=places[0],
    )


def read_unblinded(folder: str | Path) -> list[Unblinded]:
    """The readings of an import, answered or missing, with their arms: what an analysis starts from."""
    file = Path(folder) / UNBLINDED
    if not file.is_file():
        raise DataError("no such file", "Name a folder that `vlmalign reader-study import` wrote.", file=file)
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Unblinded.model_validate_json(line) for line in lines]


def _judgements(row: Unblinded, found: Collected) -> Iterator[Judgement]:
    q, answer = found.public.questions, row.answer
    if row.kind == "guess":
        yield _guess(row, found)
        return
    if q.preference:
        value = row.preferred(q.preference)
        ordered = sorted(row.candidates, key=found.key.items[row.item].texts.index)
        if value is not None and ordered[0] != row.candidates[0]:
            value = -value
        fields: dict[str, Any] = {"components": {"preference": value}} if value is not None else {}
        verdict = None if value is None else ("tie" if value == 0 else "first" if value > 0 else "second")
        yield _judgement(row, found, "preference", tuple(ordered), verdict=verdict, **fields)
    for place, candidate in enumerate(row.candidates):
        for name in q.criteria:
            score = answer.ratings.get(name, (None,) * q.texts)[place] if answer else None
            yield _judgement(row, found, name, (candidate,), score=score)
        if q.mark_errors:
            marks = answer.errors[place] if answer and answer.checked and answer.errors else ()
            minor, major = marks.count(1), marks.count(2)
            checked = bool(answer and answer.checked)
            yield _judgement(
                row,
                found,
                "errors",
                (candidate,),
                score=-float(minor + major) if checked else None,
                components={"minor": float(minor), "major": float(major)} if checked else {},
                extra={"marks": list(marks)} if checked else {},
            )


def _guess(row: Unblinded, found: Collected) -> Judgement:
    """A guess of which text is of the arm asked for: verdict on two texts, score 1 or 0 for one."""
    guess = row.answer.guess if row.answer else None
    extra = {"guess_arm": row.guess_arm, "arms": list(row.arms)}
    if guess is None or guess == "cannot_tell":
        reason = MISSING if guess is None else "cannot tell"
        return _judgement(row, found, "guess", row.candidates, invalid_reason=reason, extra=extra)
    if guess in ("yes", "no"):
        return _judgement(row, found, "guess", row.candidates, score=float(guess == "yes"), extra=extra)
    verdict = "first" if guess == "left" else "second"
    return _judgement(row, found, "guess", row.candidates, verdict=verdict, extra=extra)


def _judgement(
    row: Unblinded,
    found: Collected,
    criterion: str,
    candidates: tuple[str, ...],
    *,
    score: float | None = None,
    verdict: Any = None,
    invalid_reason: str | None = None,
    components: dict[str, float] | None = None,
    extra: dict[str, Any] | None = None,
) -> Judgement:
    answer, place = row.answer, "" if len(candidates) == 2 else f"/{row.candidates.index(candidates[0])}"
    valid = score is not None or verdict is not None
    more: dict[str, Any] = {"reading": row.reading, "item": row.item, "session": row.session, "repeat": row.repeat}
    if answer is not None:
        more |= {"seconds": answer.seconds, "visits": answer.visits}
    return Judgement(
        id=f"{found.public.study}/{row.reading}/{criterion}{place}",
        case_id=row.case_id,
        candidate_ids=candidates,
        criterion=criterion,
        score=score,
        verdict=verdict,
        components=components or {},
        critique=(answer.comment.strip() or None) if answer else None,
        judge=_judge(row, found),
        display_order=row.candidates,
        valid=valid,
        invalid_reason=None if valid else invalid_reason or MISSING,
        extra=more | (extra or {}),
    )


def _judge(row: Unblinded, found: Collected) -> str:
    return f"reader:{row.reader}@{found.public.study}"


def _write_lists(out: Path, found: Collected) -> None:
    put(out / UNBLINDED, _lines(row.model_dump(mode="json") for row in found.rows))
    put(out / UNUSED, _lines(vars(problem) for problem in found.problems))
    report = {
        "study": found.public.study,
        "purpose": found.key.purpose,
        "counts": dict(sorted(found.counts.items())),
        "missing": found.missing,
        "incomplete": found.incomplete,
        "readers_without_a_file": found.absent,
        "design_counts": found.key.counts,
    }
    put(out / REPORT, (json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def _lines(items: Iterator[dict[str, Any]] | Any) -> bytes:
    return "".join(json.dumps(i, sort_keys=True, ensure_ascii=False) + "\n" for i in items).encode()
