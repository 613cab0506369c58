"""The stages of CheXalign: sample reports, judge them against the reference, pair best with worst, five losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vlmalign.cli.pipeline import Step
from vlmalign.cli.stages import merge

#: which number of a judgement orders a case's reports: as it is, or divided by the ratio of lengths
SCORES = {"plain": "score", "length_controlled": "length_controlled"}
#: the judge that needs no model; any other name is a recipe of stage `judge`
AGREEMENT = "report_agreement"
CONTROL = "sft_more"
START = "sft"
#: what share of the groups teaches the model before, is sampled and judged, and is held out
ROLES = {"labelled": 0.16, "train": 0.60, "test": 0.24}


class Arm(NamedTuple):
    """A run on preference pairs.

    Attributes:
        score: which score chose its pairs, a key of `SCORES`.
        loss: what it minimises.
    """

    score: str
    loss: Mapping[str, Any]


#: the five losses on the same pairs, and DPO on the pairs that the other score chooses
ARMS = {
    "dpo": Arm("plain", {"name": "sigmoid", "beta": 0.1}),
    "lc_dpo": Arm("plain", {"name": "length_controlled", "beta": 0.1, "alpha": 0.05}),
    "ipo": Arm("plain", {"name": "ipo", "beta": 0.1}),
    "kto": Arm("plain", {"name": "kto", "beta": 0.1}),
    "orpo": Arm("plain", {"name": "orpo", "weight": 0.1}),
    "dpo_by_length_controlled": Arm("length_controlled", {"name": "sigmoid", "beta": 0.1}),
}
#: every arm whose answers are scored
ANSWERED = (START, CONTROL, *ARMS)

#: training of a large model, as CheXalign has it
LARGE: dict[str, dict[str, Any]] = {
    "sft": {
        "epochs": 1, "batch_size": 4, "gradient_accumulation": 16, "learning_rate": 1e-5, "freeze": ["vision"],
    },
    "align": {
        "epochs": 1, "batch_size": 4, "gradient_accumulation": 16, "learning_rate": 1e-6, "warmup": 0.1,
        "freeze": ["vision"],
    },
}  # fmt: skip
#: training of the checkpoint that comes with the package, chosen on slides of seed 103: two epochs of DPO at 2e-4
#: left reports a quarter longer and less often right than before (75 against 91 in 100), one at 4e-5 did not (94).
SMALL: dict[str, dict[str, Any]] = {
    "sft": {"epochs": 8, "batch_size": 8, "learning_rate": 2e-3, "freeze": ["vision"]},
    "align": {"epochs": 1, "batch_size": 8, "learning_rate": 4e-5, "warmup": 0.1, "freeze": ["vision"]},
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How large a run on phantoms is.

    Attributes:
        slides: groups that are drawn.
        fields: pictures of each.
        max_new_tokens: of a report.
        sft: changes to the supervised training.
        align: changes to the training on pairs.
    """

    slides: int = 500
    fields: int = 4
    max_new_tokens: int = 200
    sft: Mapping[str, Any] = field(default_factory=dict)
    align: Mapping[str, Any] = field(default_factory=dict)


PRESETS = {
    "full": Size(),
    "quick": Size(20, 2, 70, {"epochs": 20, "batch_size": 4}, {"epochs": 1, "batch_size": 4}),
}


@dataclass(frozen=True)
class Study:
    """One run: where it lives, what it reads, and how it trains.

    Attributes:
        root: its folder.
        logic: clinical logic that reads the reports.
        model: where all begins.
        seed: of data, sampling and training.
        size: of a run on phantoms.
        cases: own cases with reference reports; None: phantoms.
        test_cases: own held-out cases; None: part of the groups of `cases`.
        judge: settings of stage `judge`; None: agreement of claims, without a model.
        supervised: settings of supervised training before sampling; None: the model is sampled as it is.
        align: settings of all runs on pairs.
        losses: changes to the losses, by arm.
        samples: reports per case.
        min_gap: smallest difference of two scores that makes a pair.
        max_new_tokens: of a report; what is longer is cut, and counted.
        batch_size: cases that are sampled together; of greedy answers as many as these have samples.
    """

    root: Path
    logic: str
    model: str
    seed: int = 0
    size: Size = Size()
    cases: Path | None = None
    test_cases: Path | None = None
    judge: Mapping[str, Any] | None = None
    supervised: Mapping[str, Any] | None = None
    align: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    samples: int = 4
    min_gap: float = 0.1
    max_new_tokens: int = 200
    batch_size: int = 24

    def path(self, *parts: str) -> str:
        """A path below the run's folder."""
        return str(self.root.joinpath(*parts))

    @property
    def phantoms(self) -> bool:
        """Whether the pictures are drawn here and their reports written here."""
        return self.cases is None

    @property
    def labelled(self) -> str:
        """Cases whose reports teach the model before it is sampled."""
        return self._of("labelled")

    @property
    def sampled(self) -> str:
        """Cases that the model answers several times, and whose reports judge."""
        return self._of("train")

    @property
    def test(self) -> str:
        """Held-out cases with reference reports."""
        return self._of("test")

    @property
    def truths(self) -> str:
        """Held-out cases with findings, where there are any."""
        return self.path("roles", "test") if self.phantoms else self.test

    @property
    def policy(self) -> str:
        """The model that is sampled and aligned."""
        return self.model if self.supervised is None else self.path("sft")

    def _of(self, role: str) -> str:
        if self.phantoms:
            return self.path("labels", role)
        if self.test_cases is not None:
            return str(self.test_cases if role == "test" else self.cases)
        return self.path("roles", role)

    def model_of(self, arm: str) -> str:
        """The model of an arm."""
        return self.policy if arm == START else self.path("arms", arm)


def chexalign_steps(study: Study) -> list[Step]:
    """All steps of a run, in an order in which each stands behind what it needs."""
    return [*_data(study), *_policy(study), *_pairs(study), *_arms(study), *_answers(study)]


def _data(study: Study) -> list[Step]:
    """Cases of three roles, each with a reference report."""
    steps: list[Step] = []
    if study.phantoms:
        drawn = {"n_groups": study.size.slides, "fields_per_group": study.size.fields, "seed": study.seed}
        source = {"name": "smear", "out": study.path("cases"), "options": drawn}
        steps.append(Step("source", "source", source, weight=20))
    if study.test_cases is None:
        cases = study.path("cases") if study.phantoms else str(study.cases)
        config = {"cases": cases, "out": study.path("roles"), "roles": ROLES, "seed": study.seed}
        steps.append(Step("split", "split", config, tuple(step.name for step in steps), 3))
    if study.phantoms:
        steps += [_labels(study, role) for role in ROLES]
    return steps


def _labels(study: Study, role: str) -> Step:
    """Reports as hospitals have them, the held-out ones too: with omissions, errors, and what no picture shows."""
    config = {
        "cases": study.path("roles", role), "out": study.path("labels", role), "logic": study.logic,
        "seed": study.seed, "omit": 0.10, "wrong": 0.06, "unsupported": {"comparison": 0.45, "history": 0.25},
        "hidden": {"handling": 0.20},
    }  # fmt: skip
    return Step(f"labels_{role}", "noisy-reports", config, ("split",))


def _ready(study: Study, role: str) -> tuple[str, ...]:
    """The step after which the cases of a role are there."""
    if study.phantoms:
        return (f"labels_{role}",)
    return ("split",) if study.test_cases is None else ()


def _policy(study: Study) -> list[Step]:
    steps = [_demonstrations(study, role) for role in _taught(study)]
    if study.supervised is not None:
        config = {
            **study.supervised, "model": study.model, "data": [study.path("reports", "labelled")],
            "out": study.path("sft"), "seed": study.seed,
        }  # fmt: skip
        steps.append(Step("sft", "sft", config, ("reports_labelled",), 60))
    config = {
        "model": study.policy, "cases": study.sampled, "out": study.path("candidates"), "n": study.samples,
        "temperature": 1.0, "top_p": 1.0, "seed": study.seed, "max_new_tokens": study.max_new_tokens,
        "batch_size": study.batch_size,
    }  # fmt: skip
    return [*steps, Step("candidates", "generate", config, (*_begun(study), *_ready(study, "train")), 40)]


def _begun(study: Study) -> tuple[str, ...]:
    return () if study.supervised is None else ("sft",)


def _taught(study: Study) -> tuple[str, ...]:
    """Roles whose reports the control goes on with: all that the arms learned from, in reports or in pairs."""
    return ("labelled", "train") if study.labelled != study.sampled else ("labelled",)


def _demonstrations(study: Study, role: str) -> Step:
    cases = study.labelled if role == "labelled" else study.sampled
    config = {
        "cases": cases, "out": study.path("reports", role), "logic": study.logic, "kinds": ["report"],
        "seed": study.seed,
    }  # fmt: skip
    return Step(f"reports_{role}", "demonstrations", config, _ready(study, role))


def _pairs(study: Study) -> list[Step]:
    """The judge reads each sampled report beside the reference; both its scores choose pairs."""
    given = {"cases": study.sampled, "candidates": study.path("candidates"), "out": study.path("judgements")}
    if study.judge is None:
        config: dict[str, Any] = {"reward": AGREEMENT, "settings": {"logic": study.logic}, **given}
        steps = [Step("judge", "score", config, ("candidates",), 3)]
    else:
        config = {"cache": study.path("judge_cache"), **study.judge, **given}
        steps = [Step("judge", "judge", config, ("candidates",), 600)]
    for name, score in SCORES.items():
        config = {
            "cases": study.sampled, "candidates": study.path("candidates"), "judgements": study.path("judgements"),
            "out": study.path("pairs", name), "score": score,
            "pairing": {"mode": "best_worst", "min_margin": study.min_gap},
        }  # fmt: skip
        steps.append(Step(f"pairs_{name}", "judge-pairs", config, ("judge",), 2))
    return steps


def _arms(study: Study) -> list[Step]:
    """Every arm begins with the same model; the control trains on reports for as many operations as DPO took."""
    steps = []
    for name, arm in ARMS.items():
        config = {
            **study.align, "model": study.policy, "data": [study.path("pairs", arm.score)],
            "out": study.path("arms", name), "seed": study.seed,
            "loss": merge(arm.loss, study.losses.get(name, {})),
        }  # fmt: skip
        steps.append(Step(name, "dpo", config, (f"pairs_{arm.score}",), 60))
    control = {key: value for key, value in study.align.items() if key not in PAIRS_ONLY}
    control |= {
        "like": study.path("arms", "dpo"), "plus": [study.path("candidates")], "model": study.policy,
        "data": [study.path("reports", role) for role in _taught(study)], "out": study.path("arms", CONTROL),
        "seed": study.seed,
    }  # fmt: skip
    needs = ("dpo", *(f"reports_{role}" for role in _taught(study)))
    return [*steps, Step(CONTROL, "sft-matched", control, needs, 60)]


#: settings of runs on pairs that supervised training has not, or that the budget of operations decides
PAIRS_ONLY = ("epochs", "max_steps", "loss", "sft_weight", "group_pairs", "reference_cache", "anchor_data",
              "anchor_weight")  # fmt: skip


def _answers(study: Study) -> list[Step]:
    """One greedy report of every arm to every held-out case, and its agreement with the reference."""
    steps = []
    for arm in ANSWERED:
        config = {
            "model": study.model_of(arm), "cases": study.test, "out": study.path("answers", arm), "n": 1,
            "temperature": 0.0, "max_new_tokens": study.max_new_tokens,
            "batch_size": study.batch_size * study.samples,
        }  # fmt: skip
        begun = _begun(study) if arm == START else (arm,)
        steps.append(Step(f"answers_{arm}", "generate", config, (*begun, *_ready(study, "test")), 10))
        config = {
            "reward": AGREEMENT, "settings": {"logic": study.logic}, "cases": study.test,
            "candidates": study.path("answers", arm), "out": study.path("agreement", arm),
        }  # fmt: skip
        steps.append(Step(f"agreement_{arm}", "score", config, (f"answers_{arm}",), 2))
    return steps
