"""Protocols by name: the built-in ones, and those that installed packages add by an entry point.

A protocol is made by a function of its options. A package adds one with

    [project.entry-points."vlmalign.judge_protocols"]
    my_rubric = "my_package.rubric:MyRubric"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import ValidationError

from data_builders.judges.asking import JudgeProtocol
from data_builders.judges.protocols import PROTOCOLS as OURS
from vlmalign.records.errors import ended
from vlmalign.records.plugins import Plugins
from vlmalign.records.suggestions import SettingsError, explain, unknown

ENTRY_POINTS = "vlmalign.judge_protocols"
PROTOCOLS = cast("dict[str, Callable[..., JudgeProtocol]]", dict(OURS))
FOUND = Plugins("judge protocol", ENTRY_POINTS, PROTOCOLS)


def make_protocol(name: str, options: Mapping[str, Any]) -> JudgeProtocol:
    """The protocol of that name with its options.

    Raises:
        ValueError: no such protocol, or an option that it does not know, lacks or cannot use.
    """
    made = FOUND.get(name).object
    where = f"protocol {name!r}"
    parameters = inspect.signature(made).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for option in options:
            if option not in parameters:
                raise SettingsError(f"{where}: {unknown('option', str(option), list(parameters))}")
    required = [key for key, p in parameters.items() if p.default is p.empty and p.kind not in (2, 4)]
    for option in required:
        if option not in options:
            raise SettingsError(f"{where}: the option {option!r} is missing. Add it.")
    try:
        protocol: JudgeProtocol = made(**options)
    except ValidationError as error:
        raise SettingsError(f"{where}: {explain(error, 'option', lambda place: ())}") from None
    except TypeError as error:
        raise SettingsError(f"{where}: {ended(str(error))} Correct its options.") from None
    return protocol
