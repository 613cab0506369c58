"""Arms of a study: the texts that each gives to the cases, from candidates, reports or pairs."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmalign.reader_study.study import KeyText
from vlmalign.records import Candidate, Case, DataError, Preference, RecordFolder, assistant
from vlmalign.records.hashing import sha256_file
from vlmalign.records.manifest import DataUse

REFERENCE = "reference"  # as an arm's source: the cases' own reports, written by people
SIDES = ("first_side", "second_side")  # arms of pairs that are still to be decided


@dataclass(frozen=True)
class Material:
    """A case that could be read: where its images lie, and the texts of the arms that have one."""

    case: Case
    folder: RecordFolder[Any]
    texts: dict[str, tuple[str, KeyText]]
    pair_id: str | None = None


@dataclass
class Inputs:
    """All cases with the texts of the arms."""

    arms: tuple[str, ...]
    human: tuple[str, ...]
    materials: list[Material]
    hashes: dict[str, Any]
    counts: Counter[str] = field(default_factory=Counter)
    uses: list[DataUse] = field(default_factory=list)


def read_arms(cases: Sequence[str | Path], arms: Mapping[str, str | Path]) -> Inputs:
    """The texts of named arms for the cases of one or more folders.

    Args:
        cases: Case folders.
        arms: name -> a Candidate folder, `reference` for the cases' own reports, or a CSV file with the columns
            case_id and text for reports that people wrote.

    Raises:
        DataError: a folder or file cannot be used, names a case twice, or has texts of none of the cases.
    """
    folders = [RecordFolder(folder, Case) for folder in cases]
    materials: dict[str, Material] = {}
    for folder in folders:
        for case in folder:
            if case.id in materials:
                there = materials[case.id].folder.path
                raise DataError(
                    f"the case is in {there} too", "Pass each case once.", file=folder.path, record=case.id
                )
            materials[case.id] = Material(case, folder, {})
    inputs = Inputs(tuple(arms), (), list(materials.values()), {"cases": [f.sha256 for f in folders], "arms": {}})
    inputs.uses = [folder.manifest.data_use for folder in folders]
    human = []
    for name, source in arms.items():
        if str(source) == REFERENCE:
            texts, digest, by_people = _references(materials), "reference", True
        elif Path(source).suffix.lower() == ".csv":
            texts, digest, by_people = _table(Path(source)), sha256_file(source), True
        else:
            candidates = RecordFolder(source, Candidate)
            texts, digest, by_people = _candidates(candidates, inputs.counts), candidates.sha256, False
            inputs.uses.append(candidates.manifest.data_use)
        known = {case: found for case, found in texts.items() if case in materials}
        if not known:
            raise DataError(
                f"arm {name!r} has texts of none of the {len(materials)} cases",
                "Pass the answers to these cases.",
                file=None if digest == "reference" else source,
            )
        for case_id, (text_id, messages, policy) in known.items():
            materials[case_id].texts[name] = (text_id, KeyText(arm=name, messages=messages, policy=policy))
        inputs.hashes["arms"][name] = digest
        human += [name] * by_people
    inputs.human = tuple(human)
    return inputs


def read_pairs(pairs: str | Path) -> Inputs:
    """Pairs still to be decided, e.g. of `vlmalign data uncertain`: their two sides are the arms."""
    folder = RecordFolder(pairs, Preference)
    materials = []
    for pair in folder:
        if not pair.images:
            raise DataError("the pair has no image", "A reader needs one.", file=folder.path, record=pair.id)
        case = Case(
            id=pair.id,
            images=pair.images,
            messages=pair.prompt,
            domain="pairs",
            split=pair.split,
            group_id=pair.group_id,
            group_kind="group",
            extra={"case_id": pair.case_id},
        )
        texts = {
            arm: (f"{pair.id}/{arm}", KeyText(arm=arm, messages=messages, policy="unknown"))
            for arm, messages in zip(SIDES, (pair.chosen, pair.rejected), strict=True)
        }
        materials.append(Material(case, folder, texts, pair.id))
    return Inputs(SIDES, (), materials, {"pairs": folder.sha256}, uses=[folder.manifest.data_use])


def _references(materials: Mapping[str, Material]) -> dict[str, tuple[str, Any, str]]:
    return {
        name: (f"{name}/reference", (assistant(found.case.reference.text),), REFERENCE)
        for name, found in materials.items()
        if found.case.reference is not None and found.case.reference.text
    }


def _candidates(folder: RecordFolder[Candidate], counts: Counter[str]) -> dict[str, tuple[str, Any, str]]:
    """The first sample of each case; others are counted."""
    first: dict[str, Candidate] = {}
    for candidate in folder:
        if candidate.case_id in first:
            counts["further_samples"] += 1
            if candidate.sampling.sample >= first[candidate.case_id].sampling.sample:
                continue
        first[candidate.case_id] = candidate
    return {name: (c.id, c.messages, c.policy) for name, c in first.items()}


def _table(path: Path) -> dict[str, tuple[str, Any, str]]:
    found: dict[str, tuple[str, Any, str]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                case, text = row.get("case_id"), row.get("text")
                if case is None or text is None:
                    raise DataError(
                        "a report file needs the columns case_id and text", "Correct it.", file=path, line=number
                    )
                if case in found:
                    raise DataError(
                        f"case {case!r} comes twice", "Give one report a case.", file=path, line=number
                    )
                if text.strip():
                    found[case] = (f"{case}/{path.stem}", (assistant(text),), "human")
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"not a CSV file in UTF-8 ({error})", "Save it as such.", file=path) from None
    return found
