"""`vlmalign sft | reward | critique | mixture | dpo | ppo CONFIG.yaml`: the training stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.settings import make_settings, settings_table
from vlmalign.cli.stages import merge, open_recipe, parse_settings, run_recipe_stage, stage
from vlmalign.records.suggestions import UnknownKeyError

Config = Annotated[Path, typer.Argument(help="a shipped recipe, or a YAML file with stage, vars and config")]
Settings = Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set learning_rate=1e-4")]
Variables = Annotated[list[str], typer.Option("--var", help="a variable of the recipe, e.g. --var seed=1")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace an earlier run there, once the new one has loaded")
]


def _config_type(verb: str) -> Any:
    from vlmalign.training import (
        CritiqueConfig,
        DpoConfig,
        MixtureConfig,
        PpoConfig,
        RewardConfig,
        SftConfig,
    )

    kinds = {"sft": SftConfig, "reward": RewardConfig, "critique": CritiqueConfig, "dpo": DpoConfig}
    return {**kinds, "ppo": PpoConfig, "mixture": MixtureConfig}[verb]


def _config(verb: str, settings: Mapping[str, Any]) -> Any:
    from vlmalign.training.config import make_config

    try:
        return make_config(_config_type(verb), settings, where=f"stage {verb!r}")
    except UnknownKeyError as error:
        raise UnknownKeyError(f"{error} `vlmalign {verb} --settings` lists them all.") from None


def _list_settings(context: typer.Context, value: bool) -> None:
    if value:
        for name, default, about in settings_table(_config_type(context.info_name or "")):
            console.print(f"{name:24} {default:10} {about}", markup=False)
        raise typer.Exit


ListSettings = Annotated[
    bool,
    typer.Option(
        "--settings", callback=_list_settings, is_eager=True, help="list every setting with its default, and stop"
    ),
]


@stage("sft")
def run_sft(overwrite: bool = False, **config: Any) -> None:
    """Supervised fine-tuning on demonstrations."""
    from vlmalign.training import train_sft

    train_sft(_config("sft", config), overwrite=overwrite)


@stage("sft-matched")
def run_sft_matched(like: Path, plus: Sequence[Path] = (), **config: Any) -> None:
    """Supervised fine-tuning for as many operations as the run `like` took and the samplings `plus` cost."""
    run_sft(**config, max_flops=_budget(like, plus))


@stage("tower", continues=False)
def run_tower(**config: Any) -> None:
    """Build a small model and train its vision tower from masks."""
    from vlmalign.training import TowerConfig, pretrain_tower

    pretrain_tower(make_settings(TowerConfig, config, where="stage 'tower'"))


@stage("reward")
def run_reward(overwrite: bool = False, **config: Any) -> None:
    """Train a reward model on preferences."""
    from vlmalign.training import train_reward

    train_reward(_config("reward", config), overwrite=overwrite)


@stage("critique")
def run_critique(overwrite: bool = False, **config: Any) -> None:
    """Train a model that writes a critique of an answer and scores after it."""
    from vlmalign.training import train_critique

    train_critique(_config("critique", config), overwrite=overwrite)


@stage("mixture")
def run_mixture(overwrite: bool = False, **config: Any) -> None:
    """Train a gated mixture of objectives on a frozen model."""
    from vlmalign.training import train_mixture

    train_mixture(_config("mixture", config), overwrite=overwrite)


@stage("dpo")
def run_dpo(overwrite: bool = False, **config: Any) -> None:
    """Direct preference optimisation."""
    from vlmalign.training import train_dpo

    train_dpo(_config("dpo", config), overwrite=overwrite)


@stage("ppo")
def run_ppo(overwrite: bool = False, **config: Any) -> None:
    """Online policy optimisation: PPO, GRPO, RLOO."""
    from vlmalign.training import train_ppo

    train_ppo(_config("ppo", config), overwrite=overwrite)


@stage("ppo-matched")
def run_ppo_matched(like: Path, plus: Sequence[Path] = (), **config: Any) -> None:
    """Online policy optimisation within the operations that the run `like` took and the samplings `plus` cost."""
    run_ppo(**config, max_flops=_budget(like, plus))


def _budget(like: Path, plus: Sequence[Path]) -> float:
    """Operations that a run and some samplings took."""
    from vlmalign.cli.compute import flops_of_run, flops_of_sampling

    return flops_of_run(like) + sum(flops_of_sampling(folder) for folder in plus)


def _train(verb: str, config: Path, settings: list[str], variables: list[str], overwrite: bool) -> None:
    recipe = open_recipe(config, parse_settings(variables), stage=verb)
    merged = merge(recipe.config, parse_settings(settings))
    before = stamp(str(merged.get("out", "")))
    run_recipe_stage(verb, merged | ({"overwrite": True} if overwrite else {}), name=str(config))
    tell_outcome(merged["out"], before)


def _command(verb: str, about: str) -> Callable[..., None]:
    """The command of a stage; typer shows `about` as its help."""

    def run(
        config: Config,
        set_: Settings = [],  # noqa: B006
        var: Variables = [],  # noqa: B006
        overwrite: Overwrite = False,
        settings: ListSettings = False,
    ) -> None:
        _train(verb, config, set_, var, overwrite)

    run.__name__, run.__doc__ = verb, about
    return run


sft = _command(
    "sft",
    """Teach a model from demonstrations (supervised fine-tuning).

    For example: vlmalign sft smear-sft --var root=runs/mine --set learning_rate=1e-4

    Writes a run folder: model/ (what from_pretrained loads), metrics.jsonl, config.yaml, summary.json. The
    same command continues a stopped run and does nothing when it is complete.
    """,
)
reward = _command(
    "reward",
    """Train a reward model from preference pairs or ratings: one number, an ensemble, or one that says its doubt.

    For example: vlmalign reward smear-reward --var root=runs/mine --set head.members=5, then: vlmalign score
    scalar --set run=runs/mine/reward --pairs PAIRS --out OUT

    Doubt comes from head.members (an ensemble; member_lora for adapters of its own), head.outputs=gaussian or
    evidence, laplace=true, or head.dropout. The same command continues a stopped run and does nothing when it is
    complete.
    """,
)
critique = _command(
    "critique",
    """Train a reward model that writes a critique of an answer and scores after it.

    For example: vlmalign critique smear-critique --var root=runs/mine, then: vlmalign score critique --set
    run=runs/mine/critique --pairs PAIRS --out OUT, and see with vlmalign evaluate critique-gate whether
    critiques help.

    Reads pairs with critiques (vlmalign build critiques). The same command continues a stopped run and does
    nothing when it is complete.
    """,
)
mixture = _command(
    "mixture",
    """Train a gated mixture of objectives on a frozen model: heads from judged answers, gates from pairs.

    For example: vlmalign recipes run smear-candidate-scores --var root=runs/mine, vlmalign mixture smear-mixture
    --var root=runs/mine, then: vlmalign score mixture --set run=runs/mine/mixture --pairs PAIRS --out OUT

    The same command starts a stopped run again and does nothing when it is complete.
    """,
)
dpo = _command(
    "dpo",
    """Align a model with preference pairs (direct preference optimisation).

    For example: vlmalign dpo smear-dpo --var root=runs/mine --set loss.beta=0.3

    The reference is the model as the stage begins. The same command continues a stopped run and does nothing
    when it is complete.
    """,
)
ppo = _command(
    "ppo",
    """Align a model with any reward by sampling answers and learning from their scores (PPO, GRPO, RLOO).

    For example: vlmalign ppo smear-ppo --var root=runs/mine, or GRPO: --set advantage=group

    Reads cases, no pairs. metrics.jsonl has a line per round (reward, KL, clipping, lengths ...), answers.jsonl
    some of its answers: read both. The same command continues a stopped run and does nothing when it is complete.
    """,
)
