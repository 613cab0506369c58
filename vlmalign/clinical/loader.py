"""Reading a logic from its YAML file; every error names the file, the line and the place."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vlmalign.clinical.checks import check_logic
from vlmalign.clinical.schema import Logic
from vlmalign.records.errors import DataError

_FOLDER = Path(__file__).parent / "logic"


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
        name_or_path: a name of `list_logics()`, or the path of a YAML file (ends in .yaml or .yml).

    Raises:
        DataError: no such logic, or the file breaks a rule: unknown key, concept or value, wording with two
            meanings, a bank sentence that the parser does not read back, a value or rule no path reaches.

    Example:
        >>> load_logic("peripheral_smear").order[:2]
        ('focus', 'stain')
    """
    text = os.fspath(name_or_path)
    if text.endswith((".yaml", ".yml")):
        path = Path(text)
    elif text in list_logics():
        path = _FOLDER / f"{text}.yaml"
    else:
        raise DataError(
            f"no clinical logic is named {text!r}",
            f"Choose one of {list_logics()}, or give the path of a .yaml file.",
        )
    if not path.is_file():
        raise DataError("no such file", "Check the path.", file=path)
    return _load(path, path.read_bytes())


@lru_cache(maxsize=32)
def _load(path: Path, data: bytes) -> Logic:
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
        check_logic(logic)
    except DataError as error:
        where = tuple(error.field.split(".")) if error.field else ()
        raise DataError(error.rule, error.remedy, file=path, line=_line(root, where), field=error.field) from None
    return logic


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
