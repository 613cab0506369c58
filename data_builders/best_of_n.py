"""Supervised records from the chosen side of preference pairs: the fair rival of preference training."""

from __future__ import annotations

from pathlib import Path

from data_builders.loop import commit_each
from vlmalign.records import DatasetBuild, Demonstration, Preference, RecordFolder


def build_best_of_n(preferences: str | Path, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write one Demonstration per pair, imitating exactly the answer that the pair prefers.

    No builder of pairs prefers an answer that the token limit cut, so none is imitated.

    Preference training and imitation then read the same answers to the same images, so what differs
    between them is the use of the rejected side. An answer that is chosen in several pairs is written as
    often, because preference training sees it as often.

    Args:
        preferences: Preference folder.
        out: the Demonstration folder.
        overwrite: replace a folder built from other pairs.

    Returns:
        The folder.

    Raises:
        DataError: `preferences` is not a complete Preference folder, or `out` holds something else.

    Example:
        >>> build_best_of_n("/no/such/pairs", "/no/such/out")
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: /no/such/pairs: no such folder. Check the path.
    """
    pairs = RecordFolder(preferences, Preference)
    config = {"builder": "best_of_n@1", "preferences": pairs.sha256}
    data_use = pairs.manifest.data_use
    with DatasetBuild(out, "demonstration", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            commit_each(build, pairs, lambda pair: ([chosen_side(pair)], {}))
    return build.path


def chosen_side(pair: Preference) -> Demonstration:
    """The chosen answer of one pair as a Demonstration."""
    return Demonstration(
        id=pair.id,
        case_id=pair.case_id,
        group_id=pair.group_id,
        split=pair.split,
        images=pair.images,
        prompt=pair.prompt,
        response=pair.chosen,
        weight=pair.weight,
        source="best_of_n",
        provenance={
            "preference": pair.id,
            "source": pair.source,
            "expert_ids": list(pair.expert_ids),
            "judge_ids": list(pair.judge_ids),
            "candidate": pair.provenance.get("chosen_candidate"),
        },
    )
