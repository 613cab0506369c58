"""From a stage's signature to a command: plain parameters become options, mappings are reached by --set."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.stages import merge, parse_settings, run_stage, stage

HELP = {
    "cases": "folder of cases",
    "candidates": "folder of candidates",
    "findings": "folder of findings; may be repeated",
    "pairs": "folder of preference pairs",
    "out": "folder to write; the same command again continues or does nothing",
    "logic": "clinical logic: a shipped name or a YAML file of your own",
    "seed": "of every random choice",
    "overwrite": "start anew where the folder was built with other settings",
    "min_probability": "how sure a finding must be to be used",
    "keep": "probability that each detail is told",
    "omit": "probability that a report leaves a claim out",
    "wrong": "probability that a claim is wrong",
    "implied": "also state what only follows from other findings",
    "kinds": "report or conversation; may be repeated",
    "from_reference": "use the cases' reference findings instead of reports",
    "max_cases": "keep at most so many, taken at even distances",
    "n_items": "how many items, each of two pictures and two texts",
    "concepts": "only these; may be repeated",
    "differ": "the two texts differ in any concepts, or in one",
    "same_wording": "word both texts by the same draw, so that only claims differ",
    "every": "keep the first of every so many records",
    "size": "side of the pictures in pixels",
    "run": "run folder of a critique model",
    "n": "critiques of each answer; with several each pair comes as often",
    "temperature": "of sampling; default: greedy for one critique, 1 for several",
    "max_new_tokens": "a longer critique is cut, and its pair left out",
    "pairs_per_batch": "pairs whose critiques are written together",
}
SHARD_HELP = "do part i of n only, i from 0: --shard 0/8; then vlmalign data merge --shards"
SAMPLES = {"logic": "peripheral_smear", "n_items": "100"}


def stage_command(
    app: typer.Typer, name: str, *, shards: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as a stage and as a command of `app`, both called `name`; `shards`: with --shard i/n."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        app.command(name)(_command(name, function, shards))
        return stage(name, shards=shards)(function)

    return register


def _command(name: str, function: Callable[..., Any], shards: bool) -> Callable[..., Any]:
    hints = get_type_hints(function)
    parameters, in_mappings = [], []
    for key, parameter in inspect.signature(function).parameters.items():
        if _is_mapping(hints[key]):
            in_mappings.append(key)
            continue
        names = [f"--{key.replace('_', '-')}"] if parameter.default is False else []
        option = typer.Option(*names, help=HELP.get(key, key.replace("_", " ")))
        default = parameter.default
        if default == ():
            default = []
        parameters.append(
            inspect.Parameter(
                key,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[_plain(hints[key]), option],
            )  # fmt: skip
        )
    if shards:
        option = typer.Option("--shard", help=SHARD_HELP)
        parameters.append(
            inspect.Parameter(
                "shard", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
            )
        )
    about = f"a further setting, e.g. --set {in_mappings[0]}.KEY=VALUE" if in_mappings else "a setting, key=value"
    parameters.append(
        inspect.Parameter(
            "set_",
            inspect.Parameter.KEYWORD_ONLY,
            default=[],
            annotation=Annotated[list[str], typer.Option("--set", help=about)],
        )  # fmt: skip
    )

    def command(**given: Any) -> None:
        settings = parse_settings(given.pop("set_"))
        merged = merge(given, settings)
        before = stamp(merged["out"])
        run_stage(name, merged)
        tell_outcome(merged["out"], before)

    command.__doc__ = f"{inspect.getdoc(function)}\n\nFor example: {_example(name, function)}"
    command.__name__ = function.__name__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _example(name: str, function: Callable[..., Any]) -> str:
    """The shortest command that is whole."""
    words = ["vlmalign build", name]
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.default is parameter.empty:
            words.append(f"--{key.replace('_', '-')} {SAMPLES.get(key, key.upper())}")
    return " ".join(words)


def _is_mapping(hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_mapping(item) for item in get_args(hint))
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _plain(hint: Any) -> Any:
    """The type as the command line library knows it: sequences are lists."""
    if get_origin(hint) is Sequence:
        return list[get_args(hint)[0]]  # type: ignore[misc]
    return hint
