"""`vlmalign build`: turn cases, findings and candidates into training records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import typer

from vlmalign.cli.commands import stage_command
from vlmalign.cli.settings import make_settings

app = typer.Typer(no_args_is_help=True, help="Builders: demonstrations, preference pairs, edits, controls.")

Bank = Literal["train", "test"]


def logic_of(name: str) -> Any:
    """The clinical logic of that name, or of that file."""
    from vlmalign.clinical import load_logic

    return load_logic(name)


def known_from(findings: Sequence[Path], from_reference: bool) -> Any:
    """Where what is known comes from: an expert's findings, reference findings, or (None) neither."""
    if from_reference and findings:
        named = ", ".join(map(str, findings))
        raise ValueError(
            f"from_reference and findings ({named}) are given: what is known comes from one of them. "
            "Drop --from-reference, or --findings."
        )
    return "reference" if from_reference else list(findings) or None


def _rules(pairing: Mapping[str, Any] | None, weights: Mapping[str, Any] | None) -> dict[str, Any]:
    from data_builders import PairingConfig, ScoreWeights

    return {
        "pairing": make_settings(PairingConfig, pairing or {}, where="pairing"),
        "weights": make_settings(ScoreWeights, weights or {}, where="weights"),
    }


@stage_command(app, "captions")
def captions(cases: Path, out: Path, seed: int = 0, keep: float = 0.8, overwrite: bool = False) -> None:
    """General captions without clinical terms, for pre-training a small model from nothing."""
    from data_builders import build_captions

    build_captions(cases, out, seed=seed, keep=keep, overwrite=overwrite)


@stage_command(app, "noisy-reports")
def noisy_reports(
    cases: Path,
    out: Path,
    logic: str,
    seed: int = 0,
    omit: float = 0.10,
    wrong: float = 0.06,
    unsupported: dict[str, float] | None = None,
    hidden: dict[str, float] | None = None,
    implied: bool = True,
    overwrite: bool = False,
) -> None:
    """Simulate the labels that hospitals have: reports with omissions, errors and unsupported statements."""
    from data_builders import write_noisy_reports

    write_noisy_reports(
        cases, out, logic=logic_of(logic), seed=seed, omit=omit, wrong=wrong, unsupported=unsupported,
        hidden=hidden, implied=implied, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "filter-unsupported")
def filter_unsupported(cases: Path, out: Path, logic: str, overwrite: bool = False) -> None:
    """Cut the statements that no single image supports, of the kinds that the logic lists, from reports."""
    from data_builders import filter_unsupported as run

    run(cases, out, logic=logic_of(logic), overwrite=overwrite)


@stage_command(app, "known-findings")
def known_findings(cases: Path, out: Path, overwrite: bool = False) -> None:
    """Write the findings that annotations give (masks, boxes) as an expert would have written them."""
    from data_builders import build_known_findings

    build_known_findings(cases, out, overwrite=overwrite)


@stage_command(app, "demonstrations", shards=True)
def demonstrations(
    cases: Path,
    out: Path,
    logic: str,
    kinds: Sequence[str] = ("report", "conversation"),
    findings: Sequence[Path] = (),
    from_reference: bool = False,
    orders: dict[str, float] | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Supervised examples from labelled reports, from an expert's findings, or from reference findings."""
    from data_builders import build_demonstrations

    build_demonstrations(
        cases, out, logic=logic_of(logic), kinds=kinds,  # type: ignore[arg-type]
        findings=known_from(findings, from_reference), orders=orders, seed=seed, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "symbolic", shards=True)
def symbolic_pairs(
    cases: Path,
    candidates: Path,
    out: Path,
    logic: str,
    pairing: dict[str, Any] | None = None,
    weights: dict[str, float] | None = None,
    overwrite: bool = False,
) -> None:
    """Preference pairs by clinical logic, where the reference findings are known."""
    from data_builders import build_symbolic_pairs

    build_symbolic_pairs(
        cases, candidates, out, logic=logic_of(logic), **_rules(pairing, weights), overwrite=overwrite
    )


@stage_command(app, "expert", shards=True)
def expert_pairs(
    cases: Path,
    candidates: Path,
    findings: Sequence[Path],
    out: Path,
    logic: str,
    pairing: dict[str, Any] | None = None,
    weights: dict[str, float] | None = None,
    min_probability: float = 0.8,
    uncertain: Literal["drop", "weigh"] = "drop",
    overwrite: bool = False,
) -> None:
    """Preference pairs by an expert's findings; what it is unsure of is dropped, or weighed by its probability."""
    from data_builders import build_expert_pairs

    build_expert_pairs(
        cases, candidates, list(findings), out, logic=logic_of(logic), **_rules(pairing, weights),
        min_probability=min_probability, uncertain=uncertain, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "edits", shards=True)
def edits(
    cases: Path,
    candidates: Path,
    findings: Sequence[Path],
    out: Path,
    logic: str,
    seed: int = 0,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> None:
    """Supervised examples: the policy's own answers with the expert's claims written in."""
    from data_builders import build_edits

    build_edits(
        cases, candidates, list(findings), out, logic=logic_of(logic), seed=seed,
        min_probability=min_probability, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "edit-pairs", shards=True)
def edit_pairs(
    cases: Path,
    candidates: Path,
    findings: Sequence[Path],
    out: Path,
    logic: str,
    seed: int = 0,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> None:
    """Preference pairs: the edited answer over the policy's own."""
    from data_builders import build_edit_pairs

    build_edit_pairs(
        cases, candidates, list(findings), out, logic=logic_of(logic), seed=seed,
        min_probability=min_probability, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "best-of-n", shards=True)
def best_of_n(pairs: Path, out: Path, overwrite: bool = False) -> None:
    """Supervised examples: the very answers that preference pairs choose."""
    from data_builders import build_best_of_n

    build_best_of_n(pairs, out, overwrite=overwrite)


@stage_command(app, "critiques", shards=True)
def critiques(
    pairs: Path,
    cases: Path,
    out: Path,
    logic: str,
    findings: Sequence[Path] = (),
    concepts: Sequence[str] = (),
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> None:
    """Critiques of both answers of pairs by clinical logic, from an expert's findings or reference findings."""
    from data_builders import build_critiques

    build_critiques(
        pairs, cases, out, logic=logic_of(logic), answers=list(findings) or "reference",
        concepts=list(concepts) or None, min_probability=min_probability, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "own-critiques")
def own_critiques(
    run: Path,
    pairs: Path,
    out: Path,
    n: int = 1,
    temperature: float | None = None,
    seed: int = 0,
    max_new_tokens: int = 256,
    pairs_per_batch: int = 8,
    overwrite: bool = False,
) -> None:
    """Pairs with the critiques that a critique model itself writes, to train its head on what it will meet."""
    from vlmalign.rewards.own_critiques import write_own_critiques

    write_own_critiques(
        run, pairs, out, n=n, temperature=temperature, seed=seed, max_new_tokens=max_new_tokens,
        pairs_per_batch=pairs_per_batch, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "shuffled-pairs")
def shuffled_pairs(pairs: Path, out: Path, seed: int = 0, overwrite: bool = False) -> None:
    """Negative control: the same pairs with their images permuted among groups."""
    from data_builders import build_shuffled

    build_shuffled(pairs, out, seed=seed, overwrite=overwrite)


@stage_command(app, "confidence-pairs", shards=True)
def confidence_pairs(pairs: Path, out: Path, plain: bool = True, seed: int = 0, overwrite: bool = False) -> None:
    """Pairs that differ in stated confidence alone: sure is better where right, unsure where wrong (PPO-M)."""
    from data_builders.confidence_pairs import build_confidence_pairs

    build_confidence_pairs(pairs, out, plain=plain, seed=seed, overwrite=overwrite)


@stage_command(app, "weigh-pairs", shards=True)
def weigh_pairs(
    pairs: Path,
    judged: Path,
    out: Path,
    rule: Literal["probability", "exp", "inverse_variance"] = "probability",
    unscored: Literal["keep", "drop"] = "keep",
    overwrite: bool = False,
) -> None:
    """Pairs weighted by how sure a reward is of them, from judgements with a standard deviation."""
    from data_builders.pair_weights import weigh_pairs as run

    run(pairs, judged, out, rule=rule, unscored=unscored, overwrite=overwrite)


@stage_command(app, "role-swapped")
def role_swapped(
    cases: Path,
    out: Path,
    logic: str,
    n_items: int,
    findings: Sequence[Path] = (),
    candidates: Path | None = None,
    concepts: Sequence[str] = (),
    differ: Literal["any", "one"] = "any",
    same_wording: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Two pictures, the same two texts, the preference reversed: text alone gives exactly one half."""
    from data_builders import build_role_swapped

    build_role_swapped(
        cases, out, logic=logic_of(logic), n_items=n_items, answers=list(findings) or "reference",
        candidates=candidates, concepts=list(concepts) or None, differ=differ, same_wording=same_wording,
        seed=seed, overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "templates")
def templates(
    cases: Path,
    findings: Sequence[Path],
    out: Path,
    logic: str,
    seed: int = 0,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> None:
    """Candidates written from an expert's findings alone: the reference line that needs no model."""
    from data_builders import build_templates

    build_templates(
        cases, list(findings), out, logic=logic_of(logic), seed=seed, min_probability=min_probability,
        overwrite=overwrite,
    )  # fmt: skip


@stage_command(app, "prompts")
def prompts(cases: Sequence[Path], out: Path, max_cases: int | None = None, overwrite: bool = False) -> None:
    """Join folders of cases and remove every answer: what a policy is asked, and all that pairing may see."""
    from data_builders import build_prompts

    build_prompts(list(cases), out, max_cases=max_cases, overwrite=overwrite)


@stage_command(app, "ungrounded")
def ungrounded(demonstrations: Path, out: Path, every: int = 1, size: int = 96, overwrite: bool = False) -> None:
    """The same demonstrations with grey pictures: how reports sound, without any sight."""
    from data_builders import build_ungrounded

    build_ungrounded(demonstrations, out, every=every, size=size, overwrite=overwrite)
