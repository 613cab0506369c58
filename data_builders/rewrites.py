"""Rewritten texts held against their sources claim by claim; one that says something else is refused.

Unverified rewriting corrupts labels: VILA-M3's published example of standardised report text (arXiv:2411.12915 and
its repository) turns reported effusions, oedema and consolidation into statements that there are none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_builders.reading import read_answer
from data_builders.statements import difference
from vlmalign.clinical import Logic
from vlmalign.records import Candidate, DataError, DatasetBuild, Demonstration, Message, RecordFolder
from vlmalign.records.hashing import sha256_bytes
from vlmalign.records.manifest import strictest
from vlmalign.records.writing import write_atomic

REFUSED = "refused.jsonl"
REWRITE_OF = "rewrite_of"


@dataclass(frozen=True)
class RewriteCheck:
    """What a rewrite says otherwise than its source.

    Attributes:
        flipped: concept to (value in the source, value in the rewrite).
        vanished: concept to the value that only the source states.
        appeared: concept to the value that only the rewrite states.
        numbers: concepts whose value is the same and whose number is not.
        unsupported: kinds of statements that no image supports and the rewrite makes more of.
        unread: how many more sentences of the rewrite cannot be read, and so not be verified.
        reasons: why it is refused, the gravest first; empty: it says the same.
    """

    flipped: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    vanished: Mapping[str, str] = field(default_factory=dict)
    appeared: Mapping[str, str] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    unread: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the rewrite says what its source says."""
        return not self.reasons

    def told(self) -> dict[str, Any]:
        """As a line of `refused.jsonl`, without what is empty."""
        found = {key: value for key, value in vars(self).items() if value}
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def check_rewrite(
    logic: Logic,
    prompt: Sequence[Message],
    source: Sequence[Message],
    rewrite: Sequence[Message],
    *,
    allow_unread: int = 0,
) -> RewriteCheck:
    """Compare a rewrite with its source, claim by claim.

    Statements that no image supports may vanish; they may not appear. A hedged claim that becomes definite has
    flipped.

    Args:
        logic: the domain's clinical logic.
        prompt: what both answer.
        source: the text that is true.
        rewrite: the text to verify.
        allow_unread: how many more sentences of the rewrite may be ones that the parser cannot read.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> from vlmalign.records import assistant, user
        >>> texts = ("Two platelets are seen. A leukocyte is seen.", "No leukocyte is seen. The field is sharp.")
        >>> said = ((assistant(text),) for text in texts)
        >>> check_rewrite(load_logic("peripheral_smear"), (user("Describe it."),), *said).told()["reasons"]
        ['flipped', 'vanished', 'appeared']
    """
    questions = [[m.text for m in side if m.role == "user"] for side in (source, rewrite)]
    if questions[0] != questions[1]:
        return RewriteCheck(reasons=("other_questions",))
    found = difference(logic, prompt, source, rewrite)
    flipped = {c: (a, b) for c, (a, b) in found.claims.items() if a is not None and b is not None}
    vanished = {c: a for c, (a, b) in found.claims.items() if a is not None and b is None}
    appeared = {c: b for c, (a, b) in found.claims.items() if a is None and b is not None}
    unsupported = tuple(sorted(kind for kind, more in found.unsupported.items() if more > 0))
    unread = max(0, found.unrecognised)
    broken = {
        "nothing_read": not read_answer(logic, prompt, source).parsed.claims,
        "flipped": flipped,
        "vanished": vanished,
        "appeared": appeared,
        "number_changed": found.numbers,
        "unsupported_appeared": unsupported,
        "unread": unread > allow_unread,
    }
    reasons = tuple(name for name, there in broken.items() if there)
    return RewriteCheck(flipped, vanished, appeared, found.numbers, unsupported, unread, reasons)


def verify_rewrites(
    demonstrations: str | Path,
    rewrites: str | Path,
    out: str | Path,
    *,
    logic: Logic,
    allow_unread: int = 0,
    per_text: int = 1,
    overwrite: bool = False,
) -> Path:
    """Write the rewrites that say what their sources say, as demonstrations; list the others.

    `refused.jsonl` beside the records names every rewrite that was refused, its source, the reasons, and what
    changed: which concept, from which value to which.

    Args:
        demonstrations: the sources.
        rewrites: Candidate folder. A candidate is of the demonstration that `extra.rewrite_of` names, else of the
            one whose id is its `case_id`, else of the only one of its case.
        out: the Demonstration folder (`source="rewrite"`).
        logic: the domain's clinical logic.
        allow_unread: how many more unreadable sentences a rewrite may have than its source.
        per_text: how many verified rewrites of one source are kept, the first ones.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `sources`, `sources_without_rewrite`, `rewrites`, `verified`, `spare`
        (verified beyond `per_text`), `refused`, and by the first reason `refused:REASON`: `unfinished` (cut by the
        token limit), `other_questions`, `nothing_read` (of the source), `flipped`, `vanished`, `appeared`,
        `number_changed`, `unsupported_appeared`, `unread`.

    Raises:
        ValueError: per_text below 1, or allow_unread below 0.
        DataError: a folder that cannot be used, or a rewrite of no or of several demonstrations.
    """
    if per_text < 1 or allow_unread < 0:
        raise ValueError(f"per_text is {per_text} and allow_unread {allow_unread}: at least 1, and at least 0")
    folder, written = RecordFolder(demonstrations, Demonstration), RecordFolder(rewrites, Candidate)
    config = {
        "builder": "rewrites@1",
        "demonstrations": folder.sha256,
        "rewrites": written.sha256,
        "logic": logic.fingerprint,
        "allow_unread": allow_unread,
        "per_text": per_text,
    }
    grouped = _by_source(folder, written)
    checked = {
        record.id: [_check(logic, record, rewrite, allow_unread) for rewrite in grouped.get(record.id, ())]
        for record in folder
    }
    lines = [
        json.dumps({"id": rewrite.id, REWRITE_OF: name, **found.told()}, sort_keys=True, ensure_ascii=False)
        for name, pairs in checked.items()
        for rewrite, found in pairs
        if not found.same
    ]
    refused = "".join(f"{line}\n" for line in lines).encode()
    told = f"{REFUSED} lists the {len(lines)} rewrites that were refused, and why; SHA-256 {sha256_bytes(refused)}"
    notes = {**folder.manifest.notes, "refused": told}
    data_use = strictest([folder.manifest.data_use, written.manifest.data_use])
    with DatasetBuild(out, "demonstration", config, overwrite=overwrite, notes=notes, data_use=data_use) as build:
        if not build.finished:
            for record in folder:
                if not build.has(record.id):
                    _commit(build, folder, record, checked[record.id], per_text)
        if not build.finished or not (build.path / REFUSED).is_file():
            write_atomic(build.path / REFUSED, refused)
    return build.path


def _by_source(
    folder: RecordFolder[Demonstration], rewrites: RecordFolder[Candidate]
) -> dict[str, list[Candidate]]:
    names, of_case = set(), dict[str, list[str]]()
    for record in folder:
        names.add(record.id)
        of_case.setdefault(record.case_id, []).append(record.id)
    grouped: dict[str, list[Candidate]] = {}
    for rewrite in rewrites:
        named = rewrite.extra.get(REWRITE_OF, rewrite.case_id if rewrite.case_id in names else None)
        own = [named] if named is not None else of_case.get(rewrite.case_id, [])
        if len(own) != 1 or own[0] not in names:
            what = f"demonstration {named!r}" if named is not None else f"case {rewrite.case_id!r}"
            raise DataError(
                f"the rewrite is of {what}, of which there are {len(own) if named is None else 'none'}",
                f"Name its source by the field {REWRITE_OF!r} of its `extra`, and pass the sources' folder.",
                file=rewrites.path,
                record=rewrite.id,
                field="case_id" if named is None else f"extra.{REWRITE_OF}",
            )
        grouped.setdefault(own[0], []).append(rewrite)
    return grouped


def _check(
    logic: Logic, record: Demonstration, rewrite: Candidate, allow_unread: int
) -> tuple[Candidate, RewriteCheck]:
    if not rewrite.finished:
        return rewrite, RewriteCheck(reasons=("unfinished",))
    found = check_rewrite(logic, record.prompt, record.response, rewrite.messages, allow_unread=allow_unread)
    return rewrite, found


def _commit(
    build: DatasetBuild,
    folder: RecordFolder[Demonstration],
    record: Demonstration,
    checked: Sequence[tuple[Candidate, RewriteCheck]],
    per_text: int,
) -> None:
    counts: Counter[str] = Counter(sources=1, sources_without_rewrite=int(not checked), rewrites=len(checked))
    verified = [rewrite for rewrite, found in checked if found.same]
    for _, found in checked:
        if not found.same:
            counts.update({"refused": 1, f"refused:{found.reasons[0]}": 1})
    counts.update(verified=len(verified), spare=max(0, len(verified) - per_text))
    kept = [
        Demonstration.model_validate(
            {
                **dict(record),
                "id": f"{record.id}/rewrite-{number}",
                "response": rewrite.messages,
                "source": "rewrite",
                "provenance": {
                    **record.provenance,
                    REWRITE_OF: record.id,
                    "rewrite": rewrite.id,
                    "writer": rewrite.policy,
                    "source": record.source,
                },
            }
        )
        for number, rewrite in enumerate(verified[:per_text])
    ]
    if kept:
        for image in record.images:
            build.adopt(image, folder.path)
    build.commit(record.id, kept, +counts)


def read_refused(folder: str | Path) -> list[dict[str, Any]]:
    """What was refused, in the order of the sources: `id`, `rewrite_of`, `reasons`, and what changed.

    Raises:
        DataError: the folder was not written by `verify_rewrites`.
    """
    path = Path(folder) / REFUSED
    if not path.is_file():
        raise DataError(f"no {REFUSED} is here", "Pass a folder that `build rewrites` wrote.", file=folder)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
