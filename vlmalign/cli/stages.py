"""Stages: one function each, called by a command line verb, by a recipe, or by the demo.

A stage reads dataset folders and writes one. Its function's signature is at once its command line
options and the keys that a recipe may set.
"""

from __future__ import annotations

import functools
import inspect
import string
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, ValidationError, validate_call

from vlmalign.cli.failures import disk_is_full, name_full_disk
from vlmalign.recipes import read_recipe
from vlmalign.records.suggestions import SettingsError, explain, unknown

STAGES: dict[str, Callable[..., Any]] = {}
#: modules of this package that define stages
DEFINED_IN = (
    "answers", "best_of_n", "build", "build_consultations", "build_curriculum", "build_judge", "build_judged",
    "build_symbolic", "calibrate", "chexalign", "consult", "data_convert", "data_filters", "data_merge", "elicit",
    "evaluate_shortcuts", "experts", "generate", "reader_study_stage", "reward_comparison", "risk", "score",
    "source", "train",
)  # fmt: skip
IN_SHARDS: set[str] = set()  # stages that go unit by unit, so that each of n processes can do a part


def stage(
    name: str, *, continues: bool = True, shards: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the stage `name`.

    Args:
        name: unique.
        continues: whether the stage, started again after a failure, goes on from what it has written; a full
            disk's message says so.
        shards: whether it may be run in parts, with the key `shard: i/n` (`vlmalign.records.shards`).
    """
    if shards:
        IN_SHARDS.add(name)

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: Any, **rest: Any) -> Any:
            _refuse_input_as_output(name, signature, signature.bind(*args, **rest).arguments)
            try:
                return function(*args, **rest)
            except Exception as error:
                if disk_is_full(error):
                    given = {**signature.bind(*args, **rest).arguments, **rest}
                    name_full_disk(error, given.get("out"), continues=continues)
                raise

        STAGES[name] = run
        return run

    return register


class StageError(SettingsError):
    """A recipe or a configuration that cannot be run; the message names the key and the remedy."""


@dataclass(frozen=True)
class Recipe:
    """One stage with its settings, variables filled in."""

    stage: str
    about: str
    config: dict[str, Any]


def load_recipe(text: str, variables: Mapping[str, Any] | None = None, *, name: str = "recipe") -> Recipe:
    """Read a recipe and fill `${variable}` in its values.

    Args:
        text: YAML with the keys `stage`, `about`, `vars` (defaults) and `config`.
        variables: values that replace the defaults in `vars`; unknown names are refused.
        name: for error messages.

    Example:
        >>> load_recipe("{stage: sft, vars: {root: runs}, config: {out: '${root}/sft'}}").config
        {'out': 'runs/sft'}
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = name if mark is None else f"{name}:{mark.line + 1}"
        raise StageError(f"{place}: not valid YAML ({getattr(error, 'problem', error)}). Correct it.") from None
    if not isinstance(data, dict) or "stage" not in data or "config" not in data:
        raise StageError(f"{name}: a recipe is a mapping with the keys 'stage' and 'config'.")
    _refuse_unknown(data, {"stage", "about", "vars", "config"}, name)
    if not isinstance(data["stage"], str):
        raise StageError(f"{name}, key 'stage': got {data['stage']!r}, expected the name of one stage.")
    for key in ("vars", "config"):
        if not isinstance(data.get(key) or {}, dict):
            raise StageError(f"{name}, key {key!r}: got {data[key]!r}, expected `name: value` lines.")
    defaults = data.get("vars") or {}
    given = dict(variables or {})
    _refuse_unknown(given, set(defaults), f"{name}, vars")
    return Recipe(data["stage"], data.get("about", ""), _fill(data["config"] or {}, {**defaults, **given}, name))


def open_recipe(
    name: str | Path, variables: Mapping[str, Any] | None = None, *, stage: str | None = None
) -> Recipe:
    """A shipped recipe, or a YAML file of one's own, with its variables filled in.

    Args:
        name: of the recipe, or the file.
        variables: see `load_recipe`.
        stage: the stage that it must be of.

    Raises:
        StageError: it is of another stage, or cannot be read.
    """
    recipe = load_recipe(read_recipe(name), variables, name=str(name))
    if stage is not None and recipe.stage != stage:
        raise StageError(
            f"{name}: this is a recipe of stage {recipe.stage!r}, not of {stage!r}. "
            f"Run it with: vlmalign recipes run {name}"
        )
    return recipe


def _fill(value: Any, variables: Mapping[str, Any], name: str) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, variables, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables, name) for item in value]
    if not isinstance(value, str) or "$" not in value:
        return value
    whole = value[2:-1] if value.startswith("${") and value.endswith("}") else ""
    if whole in variables:
        return variables[whole]
    try:
        return string.Template(value).substitute(variables)
    except (KeyError, ValueError):
        raise StageError(f"{name}: {value!r} names a variable that 'vars' does not define.") from None


def _refuse_unknown(given: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise StageError(f"{where}: {unknown('key', str(key), known)}")


def run_stage(name: str, config: Mapping[str, Any]) -> Any:
    """Check a configuration against the stage's signature, then run the stage."""
    load_stages()
    if name not in STAGES:
        raise StageError(unknown("stage", name, STAGES))
    function = STAGES[name]
    config = dict(config)
    shard = config.pop("shard", None)
    parameters = inspect.signature(function).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        _refuse_unknown(config, set(parameters), f"stage {name!r}")
    try:
        with in_shard(name, shard):
            return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)(**config)
    except ValidationError as error:
        if error.title != function.__name__:
            raise
        raise StageError(f"stage {name!r}: {explain(error, 'key', lambda place: ())}") from None


def _refuse_input_as_output(name: str, signature: inspect.Signature, given: Mapping[str, Any]) -> None:
    """With overwrite a folder that is read would be replaced while it is read, and then be lost."""
    if not isinstance(out := given.get("out"), (str, Path)):
        return
    target = Path(out).resolve()
    for key, value in given.items():
        if "Path" not in str(signature.parameters[key].annotation):
            continue
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if key != "out" and isinstance(one, (str, Path)) and Path(one).resolve() == target:
                raise StageError(f"stage {name!r}: {key} and out are both {out}. Choose another --out.")


def in_shard(name: str, shard: str | None) -> AbstractContextManager[None]:
    """Let the stage that runs inside do its part `i/n`; None: all.

    Raises:
        StageError: the stage looks at its whole input.
    """
    from vlmalign.records.shards import building, parse_shard

    if shard is not None and name not in IN_SHARDS:
        raise StageError(
            f"stage {name!r} cannot be run in shards: those that can are {', '.join(sorted(IN_SHARDS))}"
        )
    return building(None if shard is None else parse_shard(str(shard)))


def run_recipe_stage(stage: str, config: Mapping[str, Any], *, name: str) -> Any:
    """Run a recipe's stage; what is wrong with its settings is said with the recipe's name."""
    try:
        return run_stage(stage, config)
    except SettingsError as error:
        raise StageError(f"{name}, {error}") from None


def load_stages() -> None:
    """Import the modules that define stages; they stand above this one, which knows them by name only."""
    for name in DEFINED_IN:
        import_module(f"vlmalign.cli.{name}")


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """`["a=1", "b.c=x"]` -> `{"a": 1, "b": {"c": "x"}}`, values read as YAML.

    Example:
        >>> parse_settings(["loss.beta=0.1", "out=runs/x"])
        {'loss': {'beta': 0.1}, 'out': 'runs/x'}
    """
    result: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise StageError(f"{setting!r}: expected key=value.")
        place = result
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise StageError(f"{setting!r}: {parent!r} was already given a plain value. Drop one of the two.")
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise StageError(
                f"{setting!r}: the value is not valid YAML ({getattr(error, 'problem', error)})."
            ) from None
    return result


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` written over it, nested mappings merged, but for those that are of another `name`.

    Example:
        >>> merge({"loss": {"name": "ipo", "beta": 1}}, {"loss": {"beta": 2}})
        {'loss': {'name': 'ipo', 'beta': 2}}
        >>> merge({"loss": {"name": "ipo", "beta": 1}}, {"loss": {"name": "simpo"}})
        {'loss': {'name': 'simpo'}}
    """
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        if (
            isinstance(old, dict)
            and isinstance(value, dict)
            and value.get("name", old.get("name")) == old.get("name")
        ):
            result[key] = merge(old, value)
        else:
            result[key] = value
    return result


def as_path(value: str | Path) -> Path:
    """A path with `~` expanded."""
    return Path(value).expanduser()
