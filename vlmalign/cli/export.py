"""`vlmalign export`: a run's model as a folder that `from_pretrained` loads anywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli.console import console
from vlmalign.cli.failures import nothing_left_behind
from vlmalign.cli.stages import as_path
from vlmalign.records.writing import replacing_folder

ADAPTER_CONFIG = "adapter_config.json"
REWARD_HEAD, REWARD_CONFIG = "reward_head.safetensors", "reward_head.json"
WEIGHTS = (".safetensors", ".safetensors.index.json")
OF_THE_MODEL = ("config.json", "generation_config.json")  # an adapter takes these from its base model


def export(
    run: Annotated[Path, typer.Argument(help="a run folder (or its `model` folder)")],
    folder: Annotated[Path, typer.Argument(help="where to write the model; must not exist, or be empty")],
    merge: Annotated[bool, typer.Option("--merge", help="fold a LoRA adapter into the base weights")] = False,
) -> None:
    """Write a run's model and processor so that AutoModelForImageTextToText.from_pretrained loads them.

    For example: vlmalign export runs/dpo my-model --merge

    A run with LoRA is written as its adapter, small and tied to the base model that it names, or with
    --merge as whole weights that stand alone. A run without LoRA is always whole weights.
    """
    source, target = as_path(run), as_path(folder)
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder. Pass a run folder.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} is there already. Delete it or name another folder.")
    if (source / "config.yaml").is_file() and not (source / "summary.json").is_file():
        raise FileNotFoundError(f"{source} is a run that is not complete. Run its command again to finish it.")
    model = source / "model" if (source / "model").is_dir() else source
    if not any(model.glob("*.safetensors")):
        raise FileNotFoundError(f"{model} holds no *.safetensors weights. Pass a run folder.")
    adapter = source / "adapter"
    with replacing_folder(target) as partial, nothing_left_behind(partial):
        if adapter.is_dir() and not merge:
            base = _copy_adapter(adapter, model, partial)
            note = f"a LoRA adapter; it loads its base model from {base}"
        else:  # by copyfile: safetensors writes for the owner only
            shutil.copytree(model, partial, copy_function=shutil.copyfile, dirs_exist_ok=True)
            note = "whole weights"
    if (model / REWARD_HEAD).is_file():
        kind = json.loads((model / REWARD_CONFIG).read_text(encoding="utf-8")).get("kind")
        loader = "critique_model.CritiqueModel" if kind == "critique" else "RewardModel"
        note += f"; a reward model: load it with vlmalign.models.{loader}.load"
    console.print(f"wrote {target} ({note})", markup=False)


def _copy_adapter(adapter: Path, model: Path, target: Path) -> str:
    """The adapter with its run's processor; a local base model is named by its absolute path."""
    empty_form = shutil.ignore_patterns("README.md")
    shutil.copytree(adapter, target, ignore=empty_form, copy_function=shutil.copyfile, dirs_exist_ok=True)
    for file in model.iterdir():
        if file.is_file() and not file.name.endswith(WEIGHTS) and file.name not in OF_THE_MODEL:
            shutil.copyfile(file, target / file.name)
    settings = json.loads((target / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    base = str(settings["base_model_name_or_path"])
    if Path(base).is_dir():
        base = str(Path(base).resolve())
        settings["base_model_name_or_path"] = base
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        (target / ADAPTER_CONFIG).write_text(text, encoding="utf-8")
    return base
