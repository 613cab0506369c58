"""Options of the commands that score answers, declared once: what they mean is the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: the largest difference of no interest, where none is stated: two points of a share
MARGIN = 0.02
LOGIC = "peripheral_smear"

LogicName = Annotated[str, typer.Option(help="clinical logic: a name or a YAML file")]
InScope = Annotated[
    list[str] | None, typer.Option(help="concepts that an expert can verify; default: all observed")
]
Answered = Annotated[
    Path | None, typer.Option(help="the cases that were answered, where --cases is another selection of them")
]
LessIsBetter = Annotated[list[str] | None, typer.Option(help="a further metric of which less is better")]
Subgroups = Annotated[
    list[str] | None, typer.Option(help="subgroups: sex,age_band,site,laterality; default: those told")
]
CommonOnly = Annotated[
    bool, typer.Option("--common-only", help="compare items that both have; the others are counted")
]
OwnLabels = Annotated[
    list[str] | None, typer.Option(help="a reward that may be measured on pairs that it decided itself")
]
AllowSelfGrading = Annotated[
    list[str] | None, typer.Option(help="an expert whose findings may be behind both pairs and judgements")
]
