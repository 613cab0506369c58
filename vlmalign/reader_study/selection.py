"""Which cases are read: at random, by strata, the most uncertain, or a list."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlmalign.reader_study.arms import Inputs, Material
from vlmalign.reader_study.plan import StudyPlan
from vlmalign.records import Case, DataError, Judgement, RecordFolder
from vlmalign.records.hashing import derive_seed

UNKNOWN = "unknown"


def usable(inputs: Inputs, plan: StudyPlan) -> list[Material]:
    """The cases that every arm has a text of; the others, and equal pairs of texts, are counted."""
    kept = []
    for material in inputs.materials:
        missing = [arm for arm in inputs.arms if arm not in material.texts]
        inputs.counts.update(f"without_text:{arm}" for arm in missing)
        if missing:
            continue
        texts = {text.messages for _, text in material.texts.values()}
        if plan.texts_per_item == 2 and len(texts) < len(inputs.arms):
            inputs.counts["equal_texts"] += 1  # nothing to prefer: a tie without a reader
            continue
        kept.append(material)
    return kept


def select(
    plan: StudyPlan,
    found: Sequence[Material],
    counts: Counter[str],
    *,
    listed: Sequence[str] = (),
    uncertainty: Mapping[str, float] | None = None,
) -> list[Material]:
    """Choose among the usable cases.

    Args:
        plan: how, how many, and how many of one group.
        found: usable cases.
        counts: what was left out is added.
        listed: with select 'listed': ids of the cases.
        uncertainty: with select 'uncertain': case id -> how sure a reward is, the smaller the less; a case that it
            says nothing of is left out and counted.

    Raises:
        DataError: a listed case cannot be used, or there are fewer cases than wanted.
    """
    by_id = {m.case.id: m for m in found}
    if plan.select == "listed":
        unknown = [name for name in listed if name not in by_id]
        if unknown:
            raise DataError(
                f"{len(unknown)} listed cases are absent, or lack the text of an arm, e.g. {unknown[0]!r}",
                "Correct the list.",
            )
        return [by_id[name] for name in dict.fromkeys(listed)]
    order = sorted(found, key=lambda m: derive_seed("select", plan.seed, m.case.id))
    if plan.select == "uncertain":
        if uncertainty is not None:
            counts["unscored"] += sum(m.case.id not in uncertainty for m in order)
            order = [m for m in order if m.case.id in uncertainty]
            order.sort(key=lambda m: uncertainty[m.case.id])
        else:  # pairs that were chosen so come in that order
            order = list(found)
    order = _few_of_a_group(order, plan.per_group, counts)
    wanted = len(order) if plan.n_cases is None else plan.n_cases
    if wanted > len(order) or not order:
        left_out = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()) if n) or "none left out"
        found_ = f"{len(order)} of the {wanted} wanted cases" if order else "none of the cases"
        raise DataError(
            f"{found_} can be used ({left_out})",
            "Lower n_cases (--n), raise per_group (--per-group), or add cases."
            if order
            else "Add cases that none of this leaves out.",
        )
    if plan.select == "stratified":
        order = _by_strata(order, wanted, str(plan.stratify), plan.balance)
    counts["not_selected"] += len(order) - wanted if plan.select != "stratified" else 0
    return order[:wanted]


def _few_of_a_group(order: Sequence[Material], limit: int, counts: Counter[str]) -> list[Material]:
    seen: Counter[str] = Counter()
    kept = []
    for material in order:
        seen[material.case.group_id] += 1
        if seen[material.case.group_id] <= limit:
            kept.append(material)
    counts["left_out_for_group"] += len(order) - len(kept)
    return kept


def _by_strata(order: Sequence[Material], wanted: int, by: str, balance: str) -> list[Material]:
    strata: dict[str, list[Material]] = defaultdict(list)
    for material in order:
        strata[stratum_of(material.case, by)].append(material)
    if set(strata) == {UNKNOWN}:
        raise DataError(
            f"no case says anything of {by!r}", "Name domain, split, attributes.NAME, finding.CONCEPT."
        )
    sizes = {name: len(members) for name, members in sorted(strata.items())}
    shares = share_out(wanted, sizes, equal=balance == "equal")
    chosen = {m.case.id for name, members in strata.items() for m in members[: shares[name]]}
    return [m for m in order if m.case.id in chosen]


def share_out(wanted: int, sizes: Mapping[str, int], *, equal: bool) -> dict[str, int]:
    """How many of each stratum: its share by largest remainders, or the same number of each as far as it has.

    Example:
        >>> share_out(10, {"a": 90, "b": 10}, equal=False), share_out(10, {"a": 90, "b": 3}, equal=True)
        ({'a': 9, 'b': 1}, {'a': 7, 'b': 3})
    """
    if equal:
        given = dict.fromkeys(sizes, 0)
        while wanted:
            name = min((n for n in sizes if given[n] < sizes[n]), key=lambda n: given[n])
            given[name] += 1
            wanted -= 1
        return given
    total = sum(sizes.values())
    given = {name: wanted * size // total for name, size in sizes.items()}
    rest = sorted(sizes, key=lambda name: -(wanted * sizes[name] % total))
    for name in rest[: wanted - sum(given.values())]:
        given[name] += 1
    return given


def stratum_of(case: Case, by: str) -> str:
    """The value by which a case is stratified; 'unknown' is a stratum of its own."""
    kind, _, name = by.partition(".")
    if kind in ("domain", "split") and not name:
        return str(getattr(case, kind))
    if kind == "attributes" and name in type(case.attributes).model_fields:
        return str(getattr(case.attributes, name) or UNKNOWN)
    if kind == "finding" and name:
        known = [f for f in case.reference.findings if f.concept == name] if case.reference else []
        values = sorted({str(f.value) if f.value is not None else f.status for f in known})
        return "+".join(values) or UNKNOWN
    raise ValueError(
        f"stratify is {by!r}: expected domain, split, attributes.sex|age_band|site or finding.CONCEPT"
    )


def uncertainty_of(judged: str | Path, found: Sequence[Material]) -> dict[str, float]:
    """|s1 - s2| / sqrt(std1^2 + std2^2) of each case's two texts; |s1 - s2| where no std is given.

    Of more than two arms the least sure pair counts.

    Raises:
        DataError: only some of the judgements have a std, or a text is scored twice.
    """
    folder = RecordFolder(judged, Judgement)
    scores: dict[str, Judgement] = {}
    for j in folder:
        if j.valid and j.score is not None and len(j.candidate_ids) == 1:
            if j.candidate_ids[0] in scores:
                raise DataError(
                    f"candidate {j.candidate_ids[0]!r} is scored twice",
                    "Pass the judgements of one judge by one criterion.",
                    file=folder.path,
                    record=j.id,
                )
            scores[j.candidate_ids[0]] = j
    if len({j.std is None for j in scores.values()}) > 1:
        raise DataError("some scores have a std and others none", "Score all of them alike.", file=folder.path)
    result = {}
    for material in found:
        known = [scores[name] for name, _ in material.texts.values() if name in scores]
        sure = [_sureness(a, b) for i, a in enumerate(known) for b in known[i + 1 :]]
        if sure and len(known) == len(material.texts):
            result[material.case.id] = min(sure)
    return result


def _sureness(a: Judgement, b: Judgement) -> float:
    assert a.score is not None and b.score is not None
    margin = abs(a.score - b.score)
    if a.std is None or b.std is None:
        return margin
    spread = (a.std**2 + b.std**2) ** 0.5
    return margin / spread if spread else (float("inf") if margin else 0.0)
