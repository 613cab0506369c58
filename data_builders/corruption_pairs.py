"""Preference pairs of a true answer over the same answer with one claim corrupted."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data_builders.corruptions import KINDS, Corruption, CorruptionKind, Wording, corrupt
from data_builders.knowledge import FindingFolders, knowledge_of
from data_builders.true_texts import TrueText, TrueTexts, Trusted, trust
from vlmalign.clinical import Logic
from vlmalign.clinical.schema import BankName
from vlmalign.records import DatasetBuild, Preference
from vlmalign.records.hashing import derive_seed

JUDGE = "corruption@1"


class CorruptionConfig(BaseModel):
    """Which corruptions are made of a true text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shares: dict[CorruptionKind, float] = Field(
        default_factory=lambda: dict.fromkeys(KINDS, 1.0),
        description="how often each kind is drawn, in relation to the others; a kind that a text does not allow "
        "is counted, and another drawn",
    )
    per_text: int = Field(2, ge=1, description="different corruptions of one text, at most")
    propagate: bool = Field(False, description="claims that contradict the changed one follow it")
    wording: Wording = Field("bank", description="a sentence of the logic, or the text's own with words changed")
    concepts: tuple[str, ...] = Field((), description="change only claims about these; default: all")
    seed: int = Field(0, ge=0, description="of kind, claim, value and wording")
    bank: BankName = Field("train", description="which paraphrases")

    @field_validator("shares")
    @classmethod
    def _shares_are_shares(cls, shares: dict[CorruptionKind, float]) -> dict[CorruptionKind, float]:
        if not shares or min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ValueError(f"shares is {shares}: they are not negative and not all zero")
        return {kind: shares[kind] for kind in KINDS if shares.get(kind)}


def build_corruptions(
    texts: str | Path,
    out: str | Path,
    *,
    logic: Logic,
    cases: str | Path | None = None,
    findings: FindingFolders | Literal["reference"] | None = None,
    corruption: CorruptionConfig | None = None,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> Path:
    """Write Preferences of true answers over corrupted ones (`source="symbolic"`, `changed_claim` set).

    Demonstrations and the reports of cases are taken as true, and left out where `findings` show a wrong claim.
    Candidates are used only where `findings` verify them: whole, with a right claim and no wrong one; and only
    verified claims are changed.

    Args:
        texts: folder of demonstrations, of cases with reports, or of candidates.
        out: the Preference folder.
        logic: the domain's clinical logic.
        cases: the cases of the texts, where they are to be verified; of candidates always. Reports whose own
            cases hold the findings need no others.
        findings: "reference" for the findings inside the cases, or an expert's Finding folder(s). What they say
            and a text does not is what `add` can state wrongly.
        corruption: kinds, shares, how many, seed.
        min_probability: how sure an expert's finding must be.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `texts`, and of them `texts_without_report`, `texts_without_claims`,
        `texts_without_knowledge`, `texts_not_right`, `texts_unfinished`, `texts_without_pair`; `made:KIND`, and
        for how many texts a kind was drawn in vain: `not_applicable:KIND`, `not_readable:KIND`.

    Raises:
        ValueError: a concept that the logic does not have, or findings without cases.
        DataError: a folder that cannot be used.
    """
    settings = corruption or CorruptionConfig()
    for concept in settings.concepts:
        logic.concept(concept)
    given = TrueTexts(texts, cases)
    if findings is not None and cases is None and given.kind != "case":
        raise ValueError("findings are given and cases are not: findings are of cases, pass their folder too")
    if findings is None and given.kind == "candidate":
        raise ValueError("candidates must be verified: give findings, or 'reference' for those inside the cases")
    knowledge = None if findings is None else knowledge_of(logic, findings, min_probability=min_probability)
    config = {
        "builder": JUDGE,
        **given.identity,
        "findings": None if knowledge is None else knowledge.identity,
        "logic": logic.fingerprint,
        "corruption": settings.model_dump(mode="json"),
        "min_probability": min_probability,
    }
    with DatasetBuild(out, "preference", config, overwrite=overwrite, data_use=given.data_use) as build:
        if build.finished:
            return build.path
        mine = build.part(len(given))
        for number, text in enumerate(given):
            if number not in mine or build.has(text.id):
                continue
            found = trust(logic, text, knowledge)
            made, counts = (
                ([], Counter({found.reason: 1})) if found.reason else _draw(logic, text, found, settings)
            )
            if made:
                text.adopt_images(build)
            pairs = [_pair(text, found, one, k) for k, one in enumerate(made)]
            build.commit(text.id, pairs, counts + Counter(texts=1))
    return build.path


def _draw(
    logic: Logic, text: TrueText, trusted: Trusted, settings: CorruptionConfig
) -> tuple[list[Corruption], Counter[str]]:
    """Different corruptions of one text; a kind that fails once is not drawn again."""
    counts: Counter[str] = Counter()
    left = dict(settings.shares)
    rng = random.Random(derive_seed(settings.seed, "corruptions", text.id))
    allowed = trusted.concepts
    if settings.concepts:
        allowed = frozenset(settings.concepts) & (trusted.concepts or frozenset(settings.concepts))
    made: list[Corruption] = []
    while left and len(made) < settings.per_text:
        kind = rng.choices(list(left), list(left.values()))[0]
        found = corrupt(
            logic,
            text.prompt,
            text.messages,
            kind,
            seed=derive_seed(settings.seed, text.id, len(made)),
            known=trusted.known,
            concepts=None if kind == "add" and not settings.concepts else allowed,
            bank=settings.bank,
            wording=settings.wording,
            propagate=settings.propagate,
            but=[one.messages for one in made],
        )
        if isinstance(found, str):
            counts[f"{found}:{kind}"] += 1
            del left[kind]
        else:
            counts[f"made:{kind}"] += 1
            made.append(found)
    counts["texts_without_pair"] = int(not made)
    return made, +counts


def _pair(text: TrueText, trusted: Trusted, made: Corruption, number: int) -> Preference:
    told: dict[str, Any] = {
        "kind": made.kind,
        "concept": made.concept,
        "turn": made.turn,
        "sentence": made.sentence,
        "followed": {concept: list(values) for concept, values in made.followed.items()},
    }
    if made.numbers is not None:
        told["numbers"] = list(made.numbers)
    words = {
        f"{side}_words": sum(len(m.text.split()) for m in messages if m.role == "assistant")
        for side, messages in (("chosen", text.messages), ("rejected", made.messages))
    }
    return Preference(
        id=f"{text.id}/corrupted-{number}",
        case_id=text.case_id,
        group_id=text.group_id,
        split=text.split,
        images=text.images,
        prompt=text.prompt,
        chosen=text.messages,
        rejected=made.messages,
        changed_claim=made.changed_claim,
        source="symbolic",
        expert_ids=trusted.experts,
        judge_ids=(JUDGE,),
        provenance={"corruption": told, "text": text.id, "length": words},
    )
