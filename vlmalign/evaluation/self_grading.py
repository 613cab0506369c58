"""Refusing to let an expert grade what it has taught: that it agrees with itself proves nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from vlmalign.records import DataError, Demonstration, Preference, RecordFolder, read_manifest


def refuse_self_grading(
    taught: Mapping[str, int],
    grading: Collection[str],
    *,
    allowed: Collection[str] = (),
    what: str,
    file: str | Path | None = None,
) -> None:
    """Refuse an evaluation by an expert that decided what is evaluated.

    Args:
        taught: expert, by id and version, to how many records it decided.
        grading: experts that decide what is right in the evaluation.
        allowed: experts that may grade themselves: ids, or names without their version.
        what: what the taught records are, for the message.
        file: where they lie, for the message.

    Raises:
        DataError: naming the first such expert, and how to allow it.

    Example:
        >>> refuse_self_grading({"cells@1": 8}, ["cells@2", "reader"], what="pairs")
        >>> refuse_self_grading({"cells@1": 8}, ["cells@1"], allowed=["cells"], what="pairs")
        >>> refuse_self_grading({"cells@1": 8}, ["cells@1"], what="pairs")
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: field 'expert_ids': expert cells@1 decided 8 of the pairs and grades \
them here: that is its own word. Grade by another expert, or say so by name: --allow-self-grading cells@1.
    """
    for expert in sorted(set(taught) & set(grading)):
        if expert not in allowed and expert.partition("@")[0] not in allowed:
            raise DataError(
                f"expert {expert} decided {taught[expert]} of the {what} and grades them here: that is its own "
                "word",
                f"Grade by another expert, or say so by name: --allow-self-grading {expert}.",
                file=file,
                field="expert_ids",
            )


def experts_of(records: Iterable[Preference | Demonstration]) -> Counter[str]:
    """How many records each expert has decided.

    Pairs name their experts in `expert_ids`, demonstrations in `provenance.expert_ids`.
    """
    found: Counter[str] = Counter()
    for record in records:
        named = record.provenance.get("expert_ids", ()) if isinstance(record, Demonstration) else record.expert_ids
        found.update(set(named))
    return found


def refuse_graded_teachers(
    folders: Iterable[str | Path], grading: Collection[str], *, allowed: Collection[str] = ()
) -> None:
    """Refuse to grade a policy by an expert that decided its training data.

    Args:
        folders: pairs and demonstrations that the policy was trained on.
        grading: experts whose findings the answers are held against.
        allowed: see `refuse_self_grading`.

    Raises:
        DataError: an expert on both sides, or a folder of another kind.
    """
    for path in folders:
        kind = read_manifest(path).kind
        kinds: dict[str, type[Preference] | type[Demonstration]] = {
            "preference": Preference,
            "demonstration": Demonstration,
        }
        if kind not in kinds:
            raise DataError(f"the folder holds {kind} records", "Pass pairs or demonstrations.", file=path)
        taught = experts_of(RecordFolder(path, kinds[kind]))
        refuse_self_grading(taught, grading, allowed=allowed, what="training records", file=path)
