"""The protocols by name; each takes keyword options, which it checks when it is made."""

from __future__ import annotations

from data_builders.judges.green import Green
from data_builders.judges.pairwise import Pairwise
from data_builders.judges.pointwise import Pointwise
from data_builders.judges.showing import Showing

PROTOCOLS: dict[str, type[Showing]] = {
    "pairwise": Pairwise,
    "pointwise": Pointwise,
    "green": Green,
}
