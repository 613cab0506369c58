"""From a stage's signature to a command: plain parameters become options, mappings are reached by --set."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from vlmalign.cli.console import console
from vlmalign.cli.mapping_settings import mapping_table
from vlmalign.cli.outcome import another_domain, stamp, tell_outcome
from vlmalign.cli.stages import StageError, merge, open_recipe, parse_settings, run_stage, stage

HELP = {
    "cases": "folder of cases",
    "candidates": "folder of candidates",
    "findings": "folder of findings; may be repeated",
    "pairs": "folder of preference pairs",
    "texts": "folder of true texts: demonstrations, cases with reports, or candidates with their cases",
    "out": "folder to write; the same command again continues or does nothing",
    "logic": "clinical logic: a shipped name or a YAML file of your own, with @policy where it has policies",
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
    "judgements": "folder of judgements",
    "criterion": "which judgements decide, e.g. pairwise; default the only one, or the jury's",
    "judge": "whose judgements decide; default the only judge's",
    "score": "score, or a component of it to use instead, e.g. length_controlled",
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
    "expert": "an expert's folder",
    "labels": "answers where the expert says nothing: the cases' reports, or their reference findings",
    "questions_per_case": "questions drawn for each case",
    "reports": "also ask for a report",
    "rewrites": "folder of candidates that rewrite the demonstrations",
    "allow_unread": "how many sentences more than its source a rewrite may have that cannot be read",
    "per_text": "how many verified rewrites of a text are kept",
    "uncertain": "what an expert is unsure of is dropped, or every claim weighed by its probability",
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
    parameters, in_mappings, required = [*_FROM_FILE], [], []
    for key, parameter in inspect.signature(function).parameters.items():
        if _is_mapping(hints[key]):
            in_mappings.append(key)
            continue
        parameters.append(_option(key, parameter, hints[key]))
        if parameter.default is parameter.empty:
            required.append(key)
    if shards:
        parameters.append(_keyword("shard", None, str | None, typer.Option("--shard", help=SHARD_HELP)))
    about = "a setting, key=value"
    if in_mappings:
        about = f"a further setting, e.g. --set {in_mappings[0]}.NAME=VALUE; --settings lists them"
    parameters.append(_keyword("set_", [], list[str], typer.Option("--set", help=about)))
    if in_mappings:
        parameters.append(_list_of(in_mappings))

    def command(context: typer.Context, **options: Any) -> None:
        options.pop("settings", None)
        recipe, variables = options.pop("config"), parse_settings(options.pop("var"))
        settings = parse_settings(options.pop("set_"))
        base = _from_file(recipe, name, variables)
        chosen = {key: value for key, value in options.items() if _given(context, key) or key not in base}
        merged = merge({**base, **chosen}, settings)
        for key in required:
            if merged.get(key) in (None, []):
                option = f"--{key.replace('_', '-')}"
                raise StageError(f"{key} is not given: pass {option}, or name a CONFIG that sets it.")
        before = stamp(merged["out"])
        run_stage(name, merged)
        tell_outcome(merged["out"], before, lambda: another_domain(merged))

    command.__doc__ = f"{inspect.getdoc(function)}\n\nFor example: {_example(name, function)}"
    command.__name__ = function.__name__
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    command.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (context, *parameters)}
    return command


def _list_of(mappings: Sequence[str]) -> inspect.Parameter:
    """--settings: what can be given by --set, listed."""

    def show(value: bool) -> None:
        if value:
            for name, default, about in mapping_table(mappings):
                console.print(f"{name:28} {default:10} {about}", markup=False)
            raise typer.Exit

    about = f"list what --set reaches in {', '.join(mappings)}, with defaults, and stop"
    option = typer.Option("--settings", callback=show, is_eager=True, help=about)
    return _keyword("settings", False, bool, option)


def _keyword(name: str, default: Any, annotation: Any, about: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=Annotated[annotation, about])


_FROM_FILE = (
    _keyword("config", None, str | None, typer.Argument(help="a recipe of this stage: shipped, or a YAML file")),
    _keyword("var", [], list[str], typer.Option("--var", help="a variable of the recipe, e.g. --var seed=1")),
)


def _option(key: str, parameter: inspect.Parameter, hint: Any) -> inspect.Parameter:
    """An option; one that must be given may come from a CONFIG, so that it is checked later."""
    names = [f"--{key.replace('_', '-')}"] if parameter.default is False else []
    about, default, plain = HELP.get(key, key.replace("_", " ")), parameter.default, _plain(hint)
    if default == ():
        default = []
    if default is parameter.empty:
        about += " (needed)"
        default, plain = ([], plain) if get_origin(plain) is list else (None, plain | None)
    return _keyword(key, default, plain, typer.Option(*names, help=about, show_default=default is not None))


def _given(context: typer.Context, key: str) -> bool:
    source = context.get_parameter_source(key)
    return source is not None and source.name != "DEFAULT"


def _from_file(recipe: str | None, name: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a recipe of this stage; none without one."""
    if recipe is None:
        if variables:
            raise StageError(f"--var {next(iter(variables))}: there is no recipe to fill. Name a CONFIG.")
        return {}
    return open_recipe(recipe, variables, stage=name).config


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
