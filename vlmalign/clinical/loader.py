"""Reading a logic from its YAML file; every error names the file, the line and the place."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vlmalign.clinical.checks import check_logic, check_policies, check_rules
from vlmalign.clinical.resolving import resolve
from vlmalign.clinical.schema import Logic
from vlmalign.records.errors import DataError
from vlmalign.records.suggestions import hint

_FOLDER = Path(__file__).parent / "logic"
_ENDINGS = (".yaml", ".yml")


def list_logics() -> list[str]:
    """Names of the logics that come with the package.

    Example:
        >>> "peripheral_smear" in list_logics()
        True
    """
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_logic(name_or_path: str | Path) -> Logic:
    """Load and check a clinical logic.

    Args:
        name_or_path: a name of `list_logics()`, or the path of a YAML file (ends in .yaml or .yml). Where the
            logic has policies, `@` and a policy's name choose one (`amd_oct@beckman`); else the default holds.

    Raises:
        DataError: no such logic or policy, or the file breaks a rule, under whichever of its policies: unknown
            key, concept or value, wording with two meanings, a bank sentence that the parser does not read
            back, a value or rule no path reaches.

    Example:
        >>> load_logic("peripheral_smear").order[:2]
        ('focus', 'stain')
    """
    text = os.fspath(name_or_path)
    policy = None
    if "@" in text and not text.endswith(_ENDINGS):
        text, _, policy = text.rpartition("@")
    if text.endswith(_ENDINGS):
        path = Path(text)
    elif text in list_logics():
        path = _FOLDER / f"{text}.yaml"
    else:
        raise DataError(
            f"no clinical logic is named {text!r}",
            f"{hint(text, list_logics())} Choose one, or give the path of a .yaml file.",
        )
    if not path.is_file():
        raise DataError("no such file", "Check the path.", file=path)
    logics = _load(path, path.read_bytes())
    if policy is None:
        return next(iter(logics.values()))
    if policy not in logics:
        known = [name for name in logics if name is not None]
        remedy = f"Choose one of {known}." if known else f"It has none: name it {text!r} alone."
        raise DataError(f"no policy is named {policy!r}", remedy, file=path)
    return logics[policy]


@lru_cache(maxsize=32)
def _load(path: Path, data: bytes) -> dict[str | None, Logic]:
    """The logic under each of its policies, the default one first; all of them are checked."""
    root, content = _parse(path, data)
    try:
        logic = Logic.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"]
        rule = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        remedy = f"Correct it; {len(error.errors())} places of the file do not fit the schema."
        raise DataError(rule, remedy, file=path, line=_line(root, where), field=_dotted(where)) from None
    try:
        return _checked(logic)
    except DataError as error:
        where = tuple(error.field.split(".")) if error.field else ()
        raise DataError(error.rule, error.remedy, file=path, line=_line(root, where), field=error.field) from None


def _checked(logic: Logic) -> dict[str | None, Logic]:
    check_policies(logic)
    if not logic.policies:
        check_logic(logic)
        return {None: logic}
    default = logic.default_policy or next(iter(logic.policies))
    resolved: dict[str | None, Logic] = {}
    for name in dict.fromkeys((default, *logic.policies)):
        resolved[name] = resolve(logic, name)
        try:
            # the wording is the same under every policy: it is checked once
            (check_rules if len(resolved) > 1 else check_logic)(resolved[name])
        except DataError as error:
            place = _place_in_policy(logic, name, error.field or "")
            raise DataError(f"under policy {name!r}, {error.rule}", error.remedy, field=place) from None
    return resolved


def _place_in_policy(logic: Logic, policy: str, place: str) -> str:
    """Where the file writes what a policy puts at a place of the logic."""
    top, _, rest = place.partition(".")
    own = logic.policies[policy]
    if top == "constraints":
        index, _, part = rest.partition(".")
        name = resolve(logic, policy).constraints[int(index)].name
        for number, constraint in enumerate(own.constraints):
            if constraint.name == name:
                return f"policies.{policy}.constraints.{number}.{part}"
    if top == "concepts":
        concept, _, part = rest.replace(".measurement.", ".").partition(".")
        if getattr(own.concepts.get(concept), part.partition(".")[0], None) is not None:
            return f"policies.{policy}.concepts.{concept}.{part}"
    return place


class _Loader(yaml.SafeLoader):
    """YAML in which only `true` and `false` are booleans: yes, no, on and off are words here."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or letter in "tTfF"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _parse(path: Path, data: bytes) -> tuple[yaml.Node, Any]:
    """The file as nodes, which know their lines, and as plain data."""
    loader = _Loader(data)
    try:
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise DataError(
            f"not valid YAML: {getattr(error, 'problem', error)}", "Correct it.", file=path, line=line
        ) from None
    if not isinstance(root, yaml.MappingNode):
        raise DataError("a logic file must hold a mapping", "See logic/peripheral_smear.yaml.", file=path)
    _refuse_repeated_keys(path, root, ())
    return root, loader.construct_document(root)


def _refuse_repeated_keys(path: Path, node: yaml.Node, place: tuple[str, ...]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _refuse_repeated_keys(path, item, (*place, str(index)))
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise DataError(
                    f"key {key.value!r} is given twice",
                    "Join or rename them.",
                    file=path,
                    line=key.start_mark.line + 1,
                    field=_dotted((*place, key.value)),
                )
            seen.add(key.value)
            _refuse_repeated_keys(path, value, (*place, key.value))


def _line(root: yaml.Node, where: tuple[Any, ...]) -> int:
    """Line of the deepest node on the way to a place."""
    node, line = root, root.start_mark.line
    for part in where:
        if isinstance(node, yaml.SequenceNode) and str(part).isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line
        elif isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                continue  # a name of the schema's own, such as the long form of a condition
            line, node = pair[0].start_mark.line, pair[1]
    return line + 1


def _dotted(where: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in where)
