"""`vlmalign data filter` and `data uncertain`: what rewards and contents say of training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.settings import make_settings
from vlmalign.cli.stages import stage

Out = Annotated[Path, typer.Option(help="folder to write; the same command again continues or does nothing")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="start anew where it was built with other settings")]
OF_PAIRS = ("min_margin", "min_certainty", "max_length_ratio", "max_extra_words", "top_share")
OF_DEMONSTRATIONS = ("min_score", "drop_lowest")


def filter_(
    records: Annotated[Path, typer.Argument(help="a folder of preference pairs, of demonstrations or of cases")],
    out: Out,
    judged: Annotated[
        Path | None, typer.Option(help="judgements by `vlmalign score --pairs` or `--demonstrations`")
    ] = None,
    min_margin: Annotated[
        float | None,
        typer.Option(help="pairs: drop lower reward margins; 0: those that the reward decides otherwise"),
    ] = None,
    min_certainty: Annotated[float | None, typer.Option(help="pairs: drop a lower |margin| / std")] = None,
    max_std: Annotated[float | None, typer.Option(help="drop a higher std of margin or score")] = None,
    max_length_ratio: Annotated[
        float | None, typer.Option(help="pairs: drop those whose chosen answer has this times more words")
    ] = None,
    max_extra_words: Annotated[
        int | None, typer.Option(help="pairs: drop those whose chosen answer has so many words more")
    ] = None,
    length_limits: Annotated[
        Literal["any", "all"], typer.Option(help="with both limits of length: drop what exceeds any, or all")
    ] = "any",
    top_share: Annotated[
        float | None, typer.Option(help="pairs: of those left keep this share, widest margins first")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="demonstrations: drop lower scores")] = None,
    drop_lowest: Annotated[
        float | None, typer.Option(help="demonstrations: drop this share, lowest scores first")
    ] = None,
    unscored: Annotated[
        Literal["keep", "drop"], typer.Option(help="what becomes of those that the reward could not score")
    ] = "drop",
    against: Annotated[
        list[Path],
        typer.Option(help="a folder of evaluation: drop what shares a group or picture; may be repeated"),
    ] = [],  # noqa: B006
    leakage: Annotated[
        Literal["drop", "refuse"], typer.Option(help="what becomes of records that leak: dropped, or an error")
    ] = "drop",
    across_splits: Annotated[
        bool, typer.Option("--across-splits", help="no group, no picture in two splits; test keeps what it has")
    ] = False,
    duplicates: Annotated[
        list[str],
        typer.Option(help="record, picture or text: drop what an earlier record has of these; may be repeated"),
    ] = [],  # noqa: B006
    max_bits: Annotated[
        int, typer.Option(help="pictures are the same up to so many of 64 bits of their hash; 0: equal files")
    ] = 0,
    balance: Annotated[
        str | None,
        typer.Option(
            help="balance classes by this value: domain, changed_claim.concept, finding.CONCEPT, answer ..."
        ),
    ] = None,
    balance_by: Annotated[
        Literal["sample", "weight"], typer.Option(help="drop from large classes at random, or weigh them less")
    ] = "sample",
    balance_ratio: Annotated[
        float, typer.Option(help="the largest class may count this times the smallest")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="of the sample that balances")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Drop noisy, leaking, duplicate or surplus records; list every one that is dropped, and why.

    For example: vlmalign data filter pairs --judged judged --min-margin 0 --max-length-ratio 1.5 --out clean
    or: vlmalign data filter pairs --against test --duplicates record --balance changed_claim.concept --out clean

    What is kept is unchanged, but for weights that balance. dropped.jsonl in the new folder names what was
    dropped; the manifest counts it.
    """
    given = {
        "min_margin": min_margin, "min_certainty": min_certainty, "max_std": max_std,
        "max_length_ratio": max_length_ratio, "max_extra_words": max_extra_words, "top_share": top_share,
        "min_score": min_score, "drop_lowest": drop_lowest,
    }  # fmt: skip
    rules: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if length_limits != "any":
        rules["length_limits"] = length_limits
    before = stamp(out)
    given_contents = {
        "leakage": leakage, "across_splits": across_splits, "duplicates": duplicates, "max_bits": max_bits,
        "balance": balance, "balance_by": balance_by, "balance_ratio": balance_ratio, "seed": seed,
    }  # fmt: skip
    contents = given_contents if against or across_splits or duplicates or balance else None
    if contents is None and max_bits:
        raise ValueError("max_bits is given, and no rule compares pictures: give --duplicates or --against")
    run_filter(records, out, {**rules, "unscored": unscored}, judged, contents, against, overwrite)
    tell_outcome(out, before)


@stage("filter")
def run_filter(
    records: Path,
    out: Path,
    rules: dict[str, Any],
    judged: Path | None = None,
    contents: dict[str, Any] | None = None,
    against: Sequence[Path] = (),
    overwrite: bool = False,
) -> None:
    """Write the pairs, demonstrations or cases that meet the rules."""
    from data_builders.content_rules import ContentRules
    from data_builders.filter_rules import DemonstrationRules, PairRules
    from data_builders.filters import filter_cases, filter_demonstrations, filter_pairs
    from vlmalign.records import read_manifest

    kind = read_manifest(records).kind
    by_content: dict[str, Any] = {"against": list(against), "overwrite": overwrite}
    if contents is not None or against:
        by_content["contents"] = make_settings(ContentRules, contents or {}, where="contents")
    named = [name for name in rules if name not in ("unscored", "length_limits")]
    if kind == "case":
        if named or judged:
            raise ValueError(
                f"{', '.join([*named, *['judged'] * bool(judged)])}: no rule for cases. Leave it out."
            )
        filter_cases(records, out, **by_content)
        return
    other = {"preference": OF_DEMONSTRATIONS, "demonstration": OF_PAIRS}.get(kind)
    if other is None:
        raise ValueError(f"{records} holds {kind} records: filter preference pairs, demonstrations or cases")
    for name in other:
        if name in rules:
            raise ValueError(f"{name} is no rule for {kind} records, which {records} holds: leave it out")
    if kind == "preference":
        pair_rules = (
            make_settings(PairRules, rules, where="rules") if named or "contents" not in by_content else None
        )
        filter_pairs(records, out, rules=pair_rules, judged=judged, **by_content)
        return
    if judged is None and (named or "contents" not in by_content):
        raise ValueError("demonstrations are filtered by scores: give --judged, made by `vlmalign score`")
    scored = None if judged is None else make_settings(DemonstrationRules, rules, where="rules")
    filter_demonstrations(records, out, rules=scored, judged=judged, **by_content)


def uncertain(
    pairs: Annotated[Path, typer.Argument(help="a folder of preference pairs")],
    judged: Annotated[Path, typer.Option(help="judgements of them by `vlmalign score --pairs`")],
    out: Out,
    n: Annotated[int, typer.Option(min=1, help="how many pairs at most")] = 50,
    by: Annotated[
        Literal["certainty", "margin", "std"],
        typer.Option(help="least |margin| / std; least |margin|, where no std is known; or largest std"),
    ] = "certainty",
    per_group: Annotated[int, typer.Option(min=1, help="at most so many of one group")] = 1,
    seed: Annotated[int, typer.Option(help="of the order of the sides, and among equals")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Choose the pairs of which a reward is least sure, for readers to decide. The label is not shown.

    For example: vlmalign data uncertain pairs --judged judged --n 100 --out to-read

    The sides are in a drawn order and the weight of each pair is 0: these pairs are not for training.
    """
    before = stamp(out)
    run_uncertain(pairs, judged, out, n, by, per_group, seed, overwrite)
    tell_outcome(out, before)


@stage("uncertain")
def run_uncertain(
    pairs: Path,
    judged: Path,
    out: Path,
    n: int = 50,
    by: Literal["certainty", "margin", "std"] = "certainty",
    per_group: int = 1,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write the pairs of which a reward is least sure."""
    from data_builders.uncertain import choose_uncertain

    choose_uncertain(pairs, judged, out, n=n, by=by, per_group=per_group, seed=seed, overwrite=overwrite)
