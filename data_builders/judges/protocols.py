"""The protocols by name; each takes keyword options, which it checks when it is made."""

from __future__ import annotations

from collections.abc import Callable

from data_builders.judges.asking import JudgeProtocol
from data_builders.judges.debate import Debate
from data_builders.judges.feedback import Feedback
from data_builders.judges.green import Green
from data_builders.judges.jury import Jury
from data_builders.judges.pairwise import Pairwise
from data_builders.judges.pointwise import Pointwise
from data_builders.judges.vote import Vote

PROTOCOLS: dict[str, Callable[..., JudgeProtocol]] = {
    "pairwise": Pairwise,
    "pointwise": Pointwise,
    "green": Green,
    "vote": Vote,
    "jury": Jury,
    "debate": Debate,
    "feedback": Feedback,
}
