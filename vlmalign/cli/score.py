"""`vlmalign score`: a reward scores candidates, or both sides of pairs, and writes judgements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.stages import parse_settings, stage


def _list_rewards(value: bool) -> None:
    if not value:
        return
    from vlmalign.rewards.registry import about_rewards

    for name, about, settings in about_rewards():
        console.print(f"[bold]{name:16}[/] {about}", highlight=False)
        console.print(f"{'':16} {', '.join(settings)}", markup=False, style="dim", highlight=False)
    raise typer.Exit


def score(
    reward: Annotated[
        str,
        typer.Argument(help="scalar, critique, mixture, symbolic, expert_verified ...: `vlmalign score --list`"),
    ],
    out: Annotated[Path, typer.Option(help="folder of judgements to write")],
    cases: Annotated[Path | None, typer.Option(help="folder of cases")] = None,
    candidates: Annotated[Path | None, typer.Option(help="folder of candidates to these cases")] = None,
    pairs: Annotated[Path | None, typer.Option(help="folder of preference pairs, instead of both")] = None,
    demonstrations: Annotated[
        Path | None, typer.Option(help="folder of demonstrations, instead: the answers that are to be imitated")
    ] = None,
    set_: Annotated[
        list[str], typer.Option("--set", help="a setting of the reward, e.g. --set run=runs/reward")
    ] = [],  # noqa: B006
    steps: Annotated[
        bool, typer.Option("--steps", help="of reward process: a judgement of every turn of a conversation")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a folder of other settings")] = False,
    list_: Annotated[
        bool,
        typer.Option(
            "--list", callback=_list_rewards, is_eager=True, help="list all rewards with their settings, and stop"
        ),
    ] = False,
) -> None:
    """Score candidates, pairs or demonstrations with any reward. What cannot be scored is invalid, with why.

    For example: vlmalign score scalar --set run=runs/reward --pairs pairs --out judged, or by clinical logic where
    the findings are known: vlmalign score symbolic --set logic=peripheral_smear --cases cases --candidates
    candidates --out judged
    """
    before = stamp(out)
    run_score(reward, out, cases, candidates, pairs, parse_settings(set_), overwrite, steps, demonstrations)
    tell_outcome(out, before)


@stage("score")
def run_score(
    reward: str,
    out: Path,
    cases: Path | None = None,
    candidates: Path | None = None,
    pairs: Path | None = None,
    settings: dict[str, Any] | None = None,
    overwrite: bool = False,
    steps: bool = False,
    demonstrations: Path | None = None,
) -> None:
    """Score candidates, pairs or demonstrations; exactly one of these is given, candidates with their cases."""
    given = {"--pairs": pairs, "--demonstrations": demonstrations}
    instead = [name for name, folder in given.items() if folder is not None]
    if not instead and (cases is None or candidates is None):
        raise ValueError("give either --cases and --candidates, or --pairs, or --demonstrations")
    if len(instead) > 1:
        raise ValueError("--pairs is given with --demonstrations: drop one of the two")
    if instead and (cases is not None or candidates is not None):
        raise ValueError(f"{instead[0]} is given with --cases or --candidates: drop one of the two")
    if steps and (reward != "process" or instead):
        raise ValueError("--steps is for reward process on --cases and --candidates: drop it, or give these")
    from vlmalign.rewards import load_reward, score_candidates, score_pairs, score_steps

    scorer = load_reward(reward, **(settings or {}))
    if demonstrations is not None:
        from vlmalign.rewards.demonstration_scoring import score_demonstrations

        score_demonstrations(scorer, demonstrations, out, overwrite=overwrite)
    elif pairs is not None:
        score_pairs(scorer, pairs, out, overwrite=overwrite)
    else:
        assert cases is not None and candidates is not None
        write: Any = score_steps if steps else score_candidates
        write(scorer, cases, candidates, out, overwrite=overwrite)
