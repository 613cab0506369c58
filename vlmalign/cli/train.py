"""`vlmalign sft | reward | dpo CONFIG.yaml`: the offline training stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.stages import StageError, load_recipe, merge, parse_settings, run_stage, stage
from vlmalign.recipes import read_recipe

Config = Annotated[Path, typer.Argument(help="a recipe: YAML with stage, vars and config")]
Settings = Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set learning_rate=1e-4")]
Variables = Annotated[list[str], typer.Option("--var", help="a variable of the recipe, e.g. --var seed=1")]


@stage("sft")
def run_sft(**config: Any) -> None:
    """Supervised fine-tuning on demonstrations."""
    from vlmalign.training import SftConfig, make_config, train_sft

    train_sft(make_config(SftConfig, config, where="stage 'sft'"))


@stage("sft-matched")
def run_sft_matched(like: Path, plus: Sequence[Path] = (), **config: Any) -> None:
    """Supervised fine-tuning for as many operations as the run `like` took and the samplings `plus` cost."""
    from vlmalign.cli.compute import flops_of_run, flops_of_sampling

    budget = flops_of_run(like) + sum(flops_of_sampling(folder) for folder in plus)
    run_sft(**config, max_flops=budget)


@stage("tower")
def run_tower(**config: Any) -> None:
    """Build a small model and train its vision tower from masks."""
    from vlmalign.training import TowerConfig, pretrain_tower

    pretrain_tower(TowerConfig(**config))


@stage("reward")
def run_reward(**config: Any) -> None:
    """Train a scalar reward model on preferences."""
    from vlmalign.training import RewardConfig, make_config, train_reward

    train_reward(make_config(RewardConfig, config, where="stage 'reward'"))


@stage("dpo")
def run_dpo(**config: Any) -> None:
    """Direct preference optimisation."""
    from vlmalign.training import DpoConfig, make_config, train_dpo

    train_dpo(make_config(DpoConfig, config, where="stage 'dpo'"))


def _train(verb: str, config: Path, settings: list[str], variables: list[str]) -> None:
    recipe = load_recipe(read_recipe(config), parse_settings(variables), name=str(config))
    if recipe.stage != verb:
        raise StageError(f"{config}: this is a recipe of stage {recipe.stage!r}, not of {verb!r}.")
    merged = merge(recipe.config, parse_settings(settings))
    run_stage(verb, merged)
    console.print(f"wrote {merged['out']}", markup=False)


def sft(config: Config, set_: Settings = [], var: Variables = []) -> None:  # noqa: B006
    """Teach a model from demonstrations (supervised fine-tuning)."""
    _train("sft", config, set_, var)


def reward(config: Config, set_: Settings = [], var: Variables = []) -> None:  # noqa: B006
    """Train a scalar reward model from preference pairs (Bradley-Terry)."""
    _train("reward", config, set_, var)


def dpo(config: Config, set_: Settings = [], var: Variables = []) -> None:  # noqa: B006
    """Align a model with preference pairs (direct preference optimisation)."""
    _train("dpo", config, set_, var)
