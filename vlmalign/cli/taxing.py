"""Two folders of answers, before and after alignment -> what `vlmalign evaluate tax` tells of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.cli.given_truth import GivenCases, read_cases
from vlmalign.cli.run_folders import (
    ReadRun,
    check_attributes,
    kind_of_both,
    read_candidates,
    read_judgements,
    split_names,
    subgroup_labels,
)
from vlmalign.cli.short_names import distinct_ends
from vlmalign.clinical import Logic, load_logic
from vlmalign.evaluation.alignment_tax import Task, alignment_tax
from vlmalign.evaluation.finding_changes import finding_changes
from vlmalign.evaluation.run_items import PairedRuns, RunItem, pair_runs
from vlmalign.evaluation.subgroup_changes import NOT_TOLD, subgroup_changes
from vlmalign.records import Candidate, Case, DataError, RecordFolder
from vlmalign.records.manifest import MANIFEST, read_manifest

KINDS = ("candidate", "judgement")


@dataclass(frozen=True)
class Domains:
    """The given cases by domain, each with its clinical logic."""

    logics: Mapping[str, Logic]
    given: Mapping[str, GivenCases]

    @property
    def cases(self) -> dict[str, Case]:
        """All cases by id."""
        return {name: case for given in self.given.values() for name, case in given.cases.items()}

    def of(self, folder: Path) -> tuple[Logic, GivenCases]:
        """Logic and cases of what a folder of candidates answers.

        Raises:
            DataError: it answers none of the cases.
        """
        for candidate in RecordFolder(folder, Candidate):
            for domain, given in self.given.items():
                if candidate.case_id in given.cases:
                    return self.logics[domain], given
        raise DataError("it answers none of the cases given", "Give its cases, too: --cases may be repeated.",
                        file=folder, field="case_id")  # fmt: skip


def tasks_in(folder: Path) -> dict[str, Path]:
    """Folders of candidates and judgements by task: the folder itself, or those inside it by their paths.

    Raises:
        DataError: there is none.
    """
    if not folder.is_dir():
        raise DataError("there is no such folder", "Check the path.", file=folder)
    if (folder / MANIFEST).is_file():
        if read_manifest(folder).kind not in KINDS:
            raise DataError(f"it holds {read_manifest(folder).kind} records",
                            "Give a folder of candidates or of judgements, or one that holds such folders.",
                            file=folder)  # fmt: skip
        return {".": folder}
    found = {
        str(path.parent.relative_to(folder)): path.parent
        for path in sorted(folder.rglob(MANIFEST))
        if json.loads(path.read_text(encoding="utf-8")).get("kind") in KINDS
    }
    if not found:
        raise DataError("it holds no folder of candidates or of judgements",
                        "Give what vlmalign generate or vlmalign score wrote, or the folder above several.",
                        file=folder)  # fmt: skip
    return found


def matched_tasks(before: Path, after: Path) -> tuple[dict[str, tuple[Path, Path]], dict[str, list[str]]]:
    """Tasks that both have, before and after; and those that only one has.

    Raises:
        DataError: they have no task in common, or one is a single folder and the other holds several.
    """
    if before.resolve() == after.resolve():
        raise ValueError(f"{before} is given twice: name the answers before and those after")
    of_before, of_after = tasks_in(before), tasks_in(after)
    if set(of_before) == set(of_after) == {"."}:
        return {after.name or "answers": (before, after)}, {"only_before": [], "only_after": []}
    common = [name for name in of_before if name in of_after]
    if not common:
        raise DataError(f"it has no task of {before}: {', '.join(of_after)} against {', '.join(of_before)}",
                        "Name the folders of the tasks alike on both sides.", file=after)  # fmt: skip
    alone = {"only_before": [name for name in of_before if name not in of_after],
             "only_after": [name for name in of_after if name not in of_before]}  # fmt: skip
    return {name: (of_before[name], of_after[name]) for name in common}, alone


def read_domains(folders: Sequence[Path], logics: Sequence[str]) -> Domains:
    """Cases by domain, with the logic that is named, or else the one that is called as the domain.

    Raises:
        DataError: a folder without cases, or with cases of several domains.
        ValueError: two logics of one domain, or one of none of the cases' domains.
    """
    by_domain: dict[str, list[Path]] = {}
    for folder in folders:
        domains = {case.domain for case in RecordFolder(folder, Case)}
        if len(domains) != 1:
            raise DataError(f"its cases are of {len(domains)} domains: {', '.join(sorted(domains)) or 'none'}",
                            "Give folders of cases of one domain each.", file=folder, field="domain")  # fmt: skip
        by_domain.setdefault(domains.pop(), []).append(folder)
    named: dict[str, Logic] = {}
    for name in logics:
        logic = load_logic(name)
        if logic.domain in named or logic.domain not in by_domain:
            raise ValueError(f"--logic {name} is of {logic.domain}: give one for each domain of the cases, which "
                             f"are {', '.join(by_domain)}")  # fmt: skip
        named[logic.domain] = logic
    found = {domain: named.get(domain) or load_logic(domain) for domain in by_domain}
    return Domains(found, {domain: read_cases(paths, found[domain]) for domain, paths in by_domain.items()})


def tax_of_folders(
    before: Path,
    after: Path,
    *,
    cases: Sequence[Path] = (),
    logics: Sequence[str] = (),
    in_scope: Sequence[str] | None = None,
    targets: Sequence[str] = (),
    metrics: Mapping[str, str] | None = None,
    margin: float = 0.02,
    margins: Mapping[str, float] | None = None,
    less_is_better: Sequence[str] = (),
    by: Sequence[str] | None = None,
    subset: str | None = None,
    common_only: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures; see the options of `vlmalign evaluate tax`.

    Raises:
        DataError: a folder that cannot be used, or no task in common.
        ValueError: options that do not fit, or a task with different items on either side.
    """
    by = split_names(by)
    check_attributes(by)
    for value in (margin, *(margins or {}).values()):
        if not 0 < value < float("inf"):
            raise ValueError(
                f"--margin is {value:g}: give the largest loss of no interest, e.g. 0.02 for 2 points"
            )
    if (by or subset) and not cases:
        raise ValueError("--by and --subset need --cases, which tell them")
    matched, alone = matched_tasks(before, after)
    domains = read_domains(cases, logics) if cases else None
    tasks, changes, read, whole = [], {}, {}, {}
    for name, folders in matched.items():
        runs, logic = _read_both(name, folders, domains, in_scope)
        try:
            paired = pair_runs(runs[1].items, runs[0].items, common_only=common_only)
        except ValueError as error:
            raise ValueError(f"task {name!r} (A: after, B: before): {error}") from error
        read[name] = {"before": runs[0].counts, "after": runs[1].counts,
                      "before_sha256": runs[0].sha256, "after_sha256": runs[1].sha256}  # fmt: skip
        if logic is not None:
            changes[name] = finding_changes(paired.pairs, logic, seed=seed)
        whole[name] = paired
        parts = _parts(name, paired, domains, subset)
        tasks += [
            Task(part, own, _words(own, runs), target=part in targets or name in targets)
            for part, own in parts.items()
        ]
    _check_targets(targets, [*matched, *(task.name for task in tasks)])
    results = alignment_tax(
        tasks, metrics=metrics, margin=margin, margins=margins, less_is_better=less_is_better, seed=seed
    )
    results |= {"findings": changes, "missing_tasks": alone, "read": read, "subgroups": {}}
    if domains is not None:
        results["subgroups"] = _subgroups(tasks, results, domains, by, seed)
    ends = distinct_ends((before.resolve(), after.resolve()))
    results["setup"] = {
        "before": ends[0], "after": ends[1], "margin": margin, "margins": dict(margins or {}), "seed": seed,
        "targets": list(targets), "subset": subset, "common_only": common_only,
        "logics": [] if domains is None else sorted(logic.name for logic in domains.logics.values()),
    }  # fmt: skip
    return results


def _read_both(
    name: str, folders: tuple[Path, Path], domains: Domains | None, in_scope: Sequence[str] | None
) -> tuple[list[ReadRun], Logic | None]:
    if kind_of_both(folders, f"Task {name!r} must be of one kind on both sides.") == "judgement":
        groups = None if domains is None else {case.id: case.group_id for case in domains.cases.values()}
        return [read_judgements(folder, groups) for folder in folders], None
    if domains is None:
        raise ValueError("--cases is not given: candidates are scored against what is known of their cases")
    logic, given = domains.of(folders[0])
    own = [concept for concept in in_scope or () if concept in logic.concepts]
    return [read_candidates(folder, given, logic, own or logic.observed_concepts) for folder in folders], logic


def _parts(name: str, paired: PairedRuns, domains: Domains | None, subset: str | None) -> dict[str, PairedRuns]:
    """A task, or its parts by a field of the cases' `extra`."""
    if subset is None or domains is None:
        return {name: paired}
    cases = domains.cases
    parts: dict[str, list[tuple[RunItem, RunItem]]] = {}
    for pair in paired.pairs:
        case = cases.get(pair[0].case_id)
        label = None if case is None else case.extra.get(subset)
        parts.setdefault(NOT_TOLD if label is None else str(label), []).append(pair)
    if set(parts) == {NOT_TOLD}:
        raise ValueError(f"--subset {subset}: no case of task {name!r} has that field in `extra`")
    return {f"{name}/{label}": PairedRuns(pairs, 0, 0) for label, pairs in sorted(parts.items())}


def _words(paired: PairedRuns, runs: Sequence[ReadRun]) -> list[tuple[int | None, int | None]]:
    return [(runs[1].words.get(a.record), runs[0].words.get(b.record)) for a, b in paired.pairs]


def _check_targets(targets: Sequence[str], known: Sequence[str]) -> None:
    for name in targets:
        if name not in known:
            raise ValueError(f"--target {name!r} is no task: choose from {', '.join(dict.fromkeys(known))}")


def _subgroups(
    tasks: Sequence[Task], results: Mapping[str, Any], domains: Domains, by: Sequence[str] | None, seed: int
) -> dict[str, Any]:
    labels, expected = subgroup_labels(domains.cases.values(), by)
    return {
        task.name: subgroup_changes(
            task.runs, results["tasks"][task.name]["metric"], labels, expected, seed=seed
        )
        for task in tasks
        if labels
    }  # fmt: skip
