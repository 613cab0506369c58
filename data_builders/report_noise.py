"""Simulated labelled reports with the faults that real ones have: omissions, errors, and unseen statements.

The true answers go in, a report of which nobody vouches comes out; its findings are removed, so that no
later stage can know more than the text says.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_builders.knowledge import ReferenceKnowledge
from vlmalign.clinical import Logic, parse_text, render_report
from vlmalign.clinical.schema import BankName
from vlmalign.records import Case, DatasetBuild, RecordFolder, Reference
from vlmalign.records.hashing import derive_seed

HIDDEN_STATEMENTS: dict[str, tuple[str, ...]] = {
    "handling": (
        "The sample was kept at room temperature.",
        "The film was air dried before fixation.",
    )
}
"""Statements of kinds that no filter of the pipeline knows. Evaluation counts them by these sentences;
nothing that trains a model may read them."""


@dataclass(frozen=True)
class Noise:
    """How often each fault occurs, as probabilities.

    Attributes:
        omit: per claim, that it is left out.
        wrong: per claim that is not left out, that it states another value of its concept.
        unsupported: per report and known kind, that one statement of this kind is inserted.
        hidden: the same for the kinds of `HIDDEN_STATEMENTS`.
    """

    omit: float = 0.10
    wrong: float = 0.06
    unsupported: Mapping[str, float] = field(default_factory=lambda: {"comparison": 0.35, "history": 0.25})
    hidden: Mapping[str, float] = field(default_factory=lambda: {"handling": 0.2})

    def check(self, logic: Logic) -> None:
        """Raise ValueError on a probability outside [0, 1] or a kind without statements."""
        rates = {"omit": self.omit, "wrong": self.wrong, **self.unsupported, **self.hidden}
        for name, rate in rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"{name} is {rate}: a probability lies between 0 and 1")
        for kinds, known in ((self.unsupported, logic.unsupported), (self.hidden, HIDDEN_STATEMENTS)):
            for kind in kinds:
                if kind not in known:
                    raise ValueError(f"statement kind {kind!r} is unknown: choose among {sorted(known)}")


def write_noisy_reports(
    cases: str | Path,
    out: str | Path,
    *,
    logic: Logic,
    seed: int,
    omit: float = 0.10,
    wrong: float = 0.06,
    unsupported: Mapping[str, float] | None = None,
    hidden: Mapping[str, float] | None = None,
    implied: bool = True,
    bank: BankName = "train",
    overwrite: bool = False,
) -> Path:
    """Write the cases again with a noisy report as `reference.text` and without findings.

    The report states the true answers, the impression included. Each claim is omitted, or else stated
    wrongly, independently of the others: a wrong claim does not change the impression, and the impression
    may itself be wrong. Statements of the unsupported kinds go to seeded places between the sentences.

    Args:
        cases: Case folder with reference findings.
        out: the new Case folder.
        logic: the domain's clinical logic.
        seed: of the noise and of the wording.
        omit: probability that a claim is left out.
        wrong: probability that a claim which is made is wrong.
        unsupported: known kind -> probability; None is `{"comparison": 0.35, "history": 0.25}`.
        hidden: hidden kind -> probability; None is `{"handling": 0.2}`.
        implied: also state what only follows from the findings (no leukocyte: its kind is not applicable).
        bank: which paraphrases to use.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `claims` (that the truth would make), `omitted`, `wrong`,
        `unsupported_<kind>`, `hidden_<kind>`, `cases_without_findings` and `empty_reports` (left out).

    Raises:
        ValueError: a probability or a kind is not valid.
        DataError: a folder is missing or of another kind.
    """
    noise = Noise(omit, wrong)
    if unsupported is not None:
        noise = Noise(omit, wrong, dict(unsupported), noise.hidden)
    if hidden is not None:
        noise = Noise(omit, wrong, noise.unsupported, dict(hidden))
    noise.check(logic)
    folder = RecordFolder(cases, Case)
    config = {
        "builder": "report_noise@1",
        "cases": folder.sha256,
        "logic": logic.fingerprint,
        "seed": seed,
        "omit": omit,
        "wrong": wrong,
        "unsupported": dict(noise.unsupported),
        "hidden": dict(noise.hidden),
        "implied": implied,
        "bank": bank,
    }
    notes = {"labels": "Simulated noisy reports: some claims are missing or wrong, some statements unsupported."}
    data_use = folder.manifest.data_use
    truth = ReferenceKnowledge(logic, implied=implied)
    with DatasetBuild(out, "case", config, overwrite=overwrite, notes=notes, data_use=data_use) as build:
        if build.finished:
            return build.path
        for case in folder:
            if build.has(case.id):
                continue
            answers = truth(case).answers
            if not answers:
                build.commit(case.id, [], {"cases_without_findings": 1})
                continue
            text, counts = noisy_report(logic, answers, noise, seed=derive_seed(seed, case.id), bank=bank)
            if not text:
                build.commit(case.id, [], {**counts, "empty_reports": 1})
                continue
            for image in case.images:
                build.adopt(image, folder.path)
            build.commit(case.id, [case.model_copy(update={"reference": Reference(text=text)})], counts)
    return build.path


def noisy_report(
    logic: Logic, answers: Mapping[str, str], noise: Noise, *, seed: int, bank: BankName = "train"
) -> tuple[str, Counter[str]]:
    """One noisy report of true answers, and the counts of its faults.

    Example:
        >>> from vlmalign.clinical import load_logic, parse_text
        >>> logic = load_logic("peripheral_smear")
        >>> faultless = Noise(omit=0, wrong=0, unsupported={}, hidden={})
        >>> text, counts = noisy_report(logic, {"platelets": "few", "focus": "sharp"}, faultless, seed=0)
        >>> parse_text(logic, text).answers == {"platelets": "few", "focus": "sharp"}, counts["claims"]
        (True, 2)
    """
    rng = random.Random(derive_seed("noise", seed))
    counts: Counter[str] = Counter(claims=len(answers))
    stated: dict[str, str] = {}
    for concept in logic.order:
        if concept not in answers:
            continue
        if rng.random() < noise.omit:
            counts["omitted"] += 1
        elif rng.random() < noise.wrong:
            others = [value for value in logic.concepts[concept].values if value != answers[concept]]
            stated[concept] = rng.choice(others)
            counts["wrong"] += 1
        else:
            stated[concept] = answers[concept]
    text = render_report(logic, stated, seed=derive_seed("wording", seed), bank=bank) if stated else ""
    sentences = list(parse_text(logic, text).sentences) if text else []
    for kind, rate in sorted(noise.unsupported.items()):
        if rng.random() < rate:
            _insert(sentences, logic.unsupported[kind].examples.of(bank), rng)
            counts[f"unsupported_{kind}"] += 1
    for kind, rate in sorted(noise.hidden.items()):
        if rng.random() < rate:
            _insert(sentences, HIDDEN_STATEMENTS[kind], rng)
            counts[f"hidden_{kind}"] += 1
    return " ".join(sentences), counts


def _insert(sentences: list[str], statements: Sequence[str], rng: random.Random) -> None:
    sentences.insert(rng.randint(0, len(sentences)), rng.choice(statements))
