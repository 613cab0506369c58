"""Supervised records from labelled reports or from findings: reports to imitate, and conversations."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from data_builders.candidate_pairs import Known
from data_builders.knowledge import FindingFolders, knowledge_of
from data_builders.loop import commit_each
from data_builders.reading import conversation_prompt
from vlmalign.clinical import Logic, parse_text, render_conversation, render_report
from vlmalign.clinical.schema import RESERVED, BankName
from vlmalign.records import Case, DatasetBuild, Demonstration, Message, RecordFolder, assistant
from vlmalign.records.hashing import derive_seed

Kind = Literal["report", "conversation"]
ORDERS = ("canonical", "impression_first", "shuffled")
DEFAULT_ORDERS: Mapping[str, float] = {"canonical": 0.5, "impression_first": 0.25, "shuffled": 0.25}


def build_demonstrations(
    cases: str | Path,
    out: str | Path,
    *,
    logic: Logic,
    kinds: Sequence[Kind] = ("report", "conversation"),
    findings: FindingFolders | Literal["reference"] | None = None,
    orders: Mapping[str, float] | None = None,
    conversations_per_case: int = 1,
    seed: int = 0,
    bank: BankName = "train",
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> Path:
    """Write Demonstrations of each case.

    Without `findings` the labels are the reports: a report record has the text as it is, faults included,
    and a conversation asks only what the report answers. With `findings` the answers come from an expert's
    findings (or the reference's) by the clinical logic, and both kinds are rendered from them.

    Args:
        cases: Case folder; with reports where `findings` is None.
        out: the Demonstration folder.
        logic: the domain's clinical logic.
        kinds: `report`, `conversation` or both.
        findings: None, Finding folder(s), or "reference" for the findings inside the cases.
        orders: share of each order of questions, of `canonical`, `impression_first`, `shuffled`.
        conversations_per_case: differently worded conversations per case.
        seed: of wording and order.
        bank: which paraphrases.
        min_probability: how sure a finding must be.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `cases`, `cases_without_report`, `cases_without_findings`,
        `uncertain_concepts`, and for conversations from reports `reports_without_claims`,
        `unrecognised_sentences`, and `hedged_claims` and `contradictory_claims` (not asked).

    Raises:
        ValueError: an unknown kind or order, or shares that do not make sense.
        DataError: a folder is missing or of another kind.
    """
    orders = dict(DEFAULT_ORDERS if orders is None else orders)
    _check(kinds, orders, conversations_per_case)
    folder = RecordFolder(cases, Case)
    knowledge = None if findings is None else knowledge_of(logic, findings, min_probability=min_probability)
    config = {
        "builder": "demonstrations@1",
        "cases": folder.sha256,
        "answers": "reports" if knowledge is None else knowledge.identity,
        "logic": logic.fingerprint,
        "kinds": list(kinds),
        "orders": orders,
        "conversations_per_case": conversations_per_case,
        "seed": seed,
        "bank": bank,
        "min_probability": min_probability,
    }
    writer = _Writer(logic, tuple(kinds), orders, conversations_per_case, seed, bank)

    def of_case(case: Case) -> tuple[list[Demonstration], Counter[str]]:
        records, counts = (
            writer.from_report(case) if knowledge is None else writer.from_known(case, knowledge(case))
        )
        return records, +counts

    data_use = folder.manifest.data_use
    with DatasetBuild(out, "demonstration", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            commit_each(build, folder, of_case)
    return build.path


def _check(kinds: Sequence[str], orders: Mapping[str, float], conversations: int) -> None:
    if not kinds or not set(kinds) <= {"report", "conversation"} or len(set(kinds)) < len(kinds):
        raise ValueError(f"kinds is {list(kinds)}: name 'report', 'conversation' or both, once each")
    if not orders or not set(orders) <= set(ORDERS):
        raise ValueError(f"orders names {sorted(orders)}: choose among {list(ORDERS)}")
    if min(orders.values()) < 0 or sum(orders.values()) <= 0:
        raise ValueError(f"orders is {dict(orders)}: shares are not negative and not all zero")
    if conversations < 1:
        raise ValueError(f"conversations_per_case is {conversations}: at least 1 is required")


class _Writer:
    """Turns one case into its Demonstrations."""

    def __init__(
        self,
        logic: Logic,
        kinds: tuple[Kind, ...],
        orders: Mapping[str, float],
        conversations: int,
        seed: int,
        bank: BankName,
    ) -> None:
        self.logic = logic
        self.kinds = kinds
        self.orders = orders
        self.conversations = conversations
        self.seed = seed
        self.bank = bank

    def from_report(self, case: Case) -> tuple[list[Demonstration], Counter[str]]:
        """The labelled report as it is, and conversations about the claims that it makes."""
        counts: Counter[str] = Counter(cases=1)
        text = None if case.reference is None else case.reference.text
        if not text:
            counts["cases_without_report"] = 1
            return [], counts
        records = [_record(case, "report", case.messages, (assistant(text),), "labels")]
        if "conversation" in self.kinds:
            parsed = parse_text(self.logic, text)
            answers = {c: v for c, v in parsed.answers.items() if v not in RESERVED}
            contradictory = sum(v == "contradictory" for v in parsed.answers.values())
            counts["contradictory_claims"] = contradictory
            counts["hedged_claims"] = len(parsed.answers) - len(answers) - contradictory
            counts["unrecognised_sentences"] = len(parsed.unrecognised)
            counts["reports_without_claims"] = int(not answers)
            records += self._conversations(case, answers, "labels", {})
        return records if "report" in self.kinds else records[1:], counts

    def from_known(self, case: Case, known: Known) -> tuple[list[Demonstration], Counter[str]]:
        """Report and conversations rendered from certain answers."""
        counts: Counter[str] = Counter(cases=1, **known.left_open)
        answers, provenance = known.answers, {"expert_ids": list(known.experts)}
        if not answers:
            counts["cases_without_findings"] = 1
            return [], counts
        records = []
        if "report" in self.kinds:
            wording = derive_seed(self.seed, case.id, "report")
            text = render_report(self.logic, answers, seed=wording, bank=self.bank)
            records.append(_record(case, "report", case.messages, (assistant(text),), "findings", **provenance))
        if "conversation" in self.kinds:
            records += self._conversations(case, answers, "findings", provenance)
        return records, counts

    def _conversations(
        self, case: Case, answers: Mapping[str, str], source: str, provenance: Mapping[str, Any]
    ) -> list[Demonstration]:
        if not answers:
            return []
        records = []
        for number in range(self.conversations):
            wording = derive_seed(self.seed, case.id, "conversation", number)
            order = random.Random(wording).choices(list(self.orders), list(self.orders.values()))[0]
            turns = render_conversation(self.logic, answers, seed=wording, order=order, bank=self.bank)  # type: ignore[arg-type]
            prompt = conversation_prompt(case, turns[0].text)
            name = f"conversation-{number}"
            records.append(_record(case, name, prompt, turns[1:], source, order=order, **provenance))
        return records


def _record(
    case: Case,
    kind: str,
    prompt: tuple[Message, ...],
    response: tuple[Message, ...],
    source: str,
    **provenance: Any,
) -> Demonstration:
    return Demonstration(
        id=f"{case.id}/{kind}",
        case_id=case.id,
        group_id=case.group_id,
        split=case.split,
        images=case.images,
        prompt=prompt,
        response=response,
        source=source,
        provenance={"kind": kind.split("-")[0], **provenance},
    )
