"""The whole analysis of a reader study: one dictionary, as results.json holds it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

from vlmalign.evaluation.readers_and_cases import NEW_READERS_FROM, Estimand
from vlmalign.reader_study.analysis.blinding import blinding
from vlmalign.reader_study.analysis.length_preference import length_effect, length_over_all
from vlmalign.reader_study.analysis.marked_errors import Marked, arm_errors, error_differences, read_marks
from vlmalign.reader_study.analysis.mixed_models import fit_mixed
from vlmalign.reader_study.analysis.rated_texts import Rated
from vlmalign.reader_study.analysis.ratings import arm_ratings, rating_differences, read_ratings
from vlmalign.reader_study.analysis.reader_agreement import Said, between_readers, within_readers
from vlmalign.reader_study.analysis.reading_times import reading_times
from vlmalign.reader_study.analysis.side_bias import side_bias
from vlmalign.reader_study.analysis.verdicts import Verdict, arm_pairs, read_verdicts
from vlmalign.reader_study.analysis.win_rates import win_rates
from vlmalign.reader_study.arms import SIDES
from vlmalign.reader_study.collecting import Collected
from vlmalign.reader_study.what_meets import limits

FORMAT = "vlmalign-reader-analysis@1"
Pairs = list[tuple[str, str]]


def analyze(found: Collected, *, estimand: Estimand | None = None, seed: int = 0) -> dict[str, Any]:
    """Everything that the answers of a study say, every figure with its interval, n, and what was excluded.

    Args:
        found: the readings of all readers who handed in; see `collect`.
        estimand: what intervals are for: these readers on new cases, or new readers; default new readers from
            five readers on.
        seed: of bootstraps.

    Raises:
        ValueError: intervals for new readers of a study that one reader answered.
    """
    readers = sorted({row.reader for row in found.rows if row.answered})
    if estimand == "new readers" and len(readers) < 2:
        raise ValueError(
            f"the estimand is new readers, but {len(readers)} reader answered, who says nothing of others: "
            "analyse these readers"
        )
    chosen: Estimand = estimand or ("new readers" if len(readers) >= NEW_READERS_FROM else "these readers")
    pairs, verdicts = arm_pairs(found), read_verdicts(found)
    rated = {name: read_ratings(found, name) for name in found.public.questions.criteria}
    marked = read_marks(found)
    times = reading_times(found, estimand=chosen, seed=seed)
    blind = blinding(found, estimand=chosen, seed=seed)
    return {
        "format": FORMAT,
        "design": _design(found, readers),
        "estimand": chosen,
        "counts": _counts(found),
        "preference": _preference(found, verdicts, pairs, chosen, seed) if verdicts else None,
        "ratings": _ratings(rated, found.key.arms, pairs, chosen, seed) if rated else None,
        "errors": _errors(marked, found.key.arms, pairs, chosen, seed) if marked else None,
        "agreement": _agreement(verdicts, rated, marked, pairs, seed),
        "times": times.to_dict(),
        "blinding": blind.to_dict() if blind else None,
        "notes": _notes(found, readers),
        "seed": seed,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Of what computes figures; statsmodels where it is installed."""
    found = {}
    for name in ("vlmalign", "numpy", "scipy", "statsmodels"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _design(found: Collected, readers: list[str]) -> dict[str, Any]:
    plan, key = found.key.plan, found.key
    rated = [item for r in key.readings.values() if r.kind == "rate" for item in [key.items[r.item]]]
    return {
        "study": found.public.study,
        "title": plan.title,
        "purpose": plan.purpose,
        "arms": list(key.arms),
        "readers_planned": len(plan.readers),
        "readers": readers,
        "cases": len({item.record for item in rated}),
        "groups": len({item.group_id for item in rated}),
        "readings": sum(r.kind == "rate" and not r.repeat for r in key.readings.values()),
        "repeats": sum(r.kind == "rate" and r.repeat for r in key.readings.values()),
        "guesses": sum(r.kind == "guess" for r in key.readings.values()),
        "texts_per_item": plan.texts_per_item,
        "preference_steps": plan.preference,
        "criteria": list(plan.criteria),
        "mark_errors": plan.mark_errors,
        "select": plan.select,
        "stratify": plan.stratify,
        "crossed": plan.crossed,
        "washout_days": plan.washout_days if plan.crossed else 0,
        "readers_per_case": plan.readers_per_case,
        "seed": plan.seed,
        "key_sha256": found.public.key_sha256,
    }


def _counts(found: Collected) -> dict[str, Any]:
    return {
        **dict(sorted(found.counts.items())),
        "incomplete_by_reader": {name: len(readings) for name, readings in found.incomplete.items()},
        "missing_by_reader": {name: len(readings) for name, readings in found.missing.items()},
        "readers_without_a_file": found.absent,
    }


def _preference(
    found: Collected, verdicts: list[Verdict], pairs: Pairs, estimand: Estimand, seed: int
) -> dict[str, Any]:
    steps = found.public.questions.preference
    rates = win_rates(verdicts, pairs, steps=steps, estimand=estimand, seed=seed)
    first = [v for v in verdicts if not v.repeat]
    mixed = []
    for pair in pairs:
        mine = [v for v in first if (v.arm, v.against) == pair]
        levels = {"reader": [v.reader for v in mine], "case": [v.case for v in mine]}
        fit = fit_mixed([v.win for v in mine], {"win rate": [1.0] * len(mine)}, levels) if mine else None
        mixed.append({"arm": pair[0], "against": pair[1], **(fit.to_dict() if fit else {})})
    return {
        "pairs": [one.to_dict() for one in rates],
        "mixed_models": mixed,
        "length": {
            "all": length_over_all(verdicts, estimand=estimand, seed=seed).to_dict(),
            "pairs": [length_effect(verdicts, pair, estimand=estimand, seed=seed).to_dict() for pair in pairs],
        },
        "side": side_bias(verdicts, estimand=estimand, seed=seed).to_dict(),
    }


def _ratings(
    rated: dict[str, list[Rated]], arms: tuple[str, ...], pairs: Pairs, estimand: Estimand, seed: int
) -> dict[str, Any]:
    of_arms = {
        name: {
            arm: {
                "counts": list(one.counts),
                "missing": one.missing,
                "mean": one.mean.to_dict(),
                "agreed": one.agreed.to_dict(),
            }
            for arm, one in arm_ratings(texts, arms, estimand=estimand, seed=seed).items()
        }
        for name, texts in rated.items()
    }
    differences = rating_differences(rated, pairs, estimand=estimand, seed=seed)
    return {"arms": of_arms, "differences": [one.to_dict() for one in differences]}


def _errors(
    marked: list[Marked], arms: tuple[str, ...], pairs: Pairs, estimand: Estimand, seed: int
) -> dict[str, Any]:
    of_arms = {}
    for arm, one in arm_errors(marked, arms, estimand=estimand, seed=seed).items():
        figures = {name: getattr(one, name).to_dict() for name in ("per_sentence", "any_error", "any_major")}
        of_arms[arm] = {**vars(one), **figures}
    differences = error_differences(marked, pairs, estimand=estimand, seed=seed)
    return {"arms": of_arms, "differences": [one.to_dict() for one in differences]}


def _agreement(
    verdicts: list[Verdict],
    rated: dict[str, list[Rated]],
    marked: list[Marked],
    pairs: Pairs,
    seed: int,
) -> dict[str, Any]:
    """Of every question: preference by pair of arms and over all, each scale, the weight of marked errors."""

    def preferred(keep: Callable[[Verdict], bool]) -> list[Said]:
        return [Said(v.reader, v.item, v.case, v.win, v.repeat) for v in verdicts if keep(v)]

    said: dict[str, list[Said]] = {}
    if verdicts:
        for arm, against in pairs:
            said[f"preference: {arm} against {against}"] = preferred(
                lambda v, pair=(arm, against): (v.arm, v.against) == pair  # type: ignore[misc]
            )
        if len(pairs) > 1:
            said["preference: all pairs"] = preferred(lambda v: True)
    for name, texts in rated.items():
        said[name] = [Said(t.reader, (t.item, t.candidate), t.case, t.value, t.repeat, t.item) for t in texts]
    if marked:
        said["errors: none, minor or major"] = [
            Said(
                m.text.reader, (m.text.item, m.text.candidate), m.text.case, _weight(m), m.text.repeat, m.text.item
            )
            for m in marked
        ]
    return {
        name: {
            "between": between_readers(values, "ordinal", seed=seed).to_dict(),
            "within": within_readers(values, "ordinal", seed=seed).to_dict(),
        }
        for name, values in said.items()
    }


def _weight(marked: Marked) -> float | None:
    if marked.minor is None or marked.major is None:
        return None
    return 2.0 if marked.major else float(marked.minor > 0)


def _notes(found: Collected, readers: list[str]) -> list[str]:
    notes = []
    if len(readers) == 1:
        notes.append("One reader answered: every figure is this reader's, and says nothing of others.")
    if found.key.arms == SIDES:
        notes.append(
            "The arms are the sides of undecided pairs, not models: a win rate says how often readers took the "
            "second side."
        )
    notes += [f"{limit[0].upper()}{limit[1:]}." for limit in limits(found.key)]
    if found.absent:
        notes.append(f"No file came from {', '.join(found.absent)}: their readings count nowhere.")
    if found.key.purpose == "training":
        notes.append("The study was designed for training: its cases serve no evaluation.")
    return notes
