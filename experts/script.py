"""The wording of a conversation with experts: cards before the question, calls, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experts.feedback import write_feedback
from experts.protocol import ExpertCard
from experts.trigger import EVERYTHING, TriggerCard, describe_cards, read_call, trigger_card
from vlmalign.records.finding import Finding

VERSION = 1


@dataclass(frozen=True)
class ExpertScript:
    """The wording for one expert.

    Example:
        >>> card = ExpertCard(name="cells", version="3f2a", architecture="segmentation", modality="microscopy",
        ...                   domain="peripheral_smear", structures=("red_cell", "platelet"),
        ...                   concepts=("red_cell_cover", "platelet_count"))
        >>> script = ExpertScript(card)
        >>> script.call(["platelet_count"]), script.call(["platelet_count", "red_cell_cover"])
        ('<CELLS(platelet)>', '<CELLS(everything)>')
    """

    card: ExpertCard

    @property
    def trigger(self) -> TriggerCard:
        """The expert's trigger card."""
        return trigger_card(self.card)

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides the wording."""
        return {"version": VERSION, "card": self.trigger.model_dump(mode="json")}

    @property
    def introduction(self) -> str:
        """The list of experts, for the prompt."""
        return describe_cards([self.trigger])

    def call(self, findings: Sequence[str]) -> str:
        """The call for findings: of one structure where they are all about it, else for everything."""
        for argument in self.trigger.arguments:
            if all(name == argument or name.startswith(f"{argument}_") for name in findings):
                return self.trigger.call(argument)
        return self.trigger.call(EVERYTHING)

    def feedback(
        self, image: Image.Image, findings: Sequence[Finding], labels: NDArray[np.uint8] | None, call: str
    ) -> tuple[str, Image.Image | None]:
        """What comes back on a call.

        Raises:
            ValueError: not a call of this expert.
        """
        read = read_call(call, [self.trigger])
        if read.argument is None:
            raise ValueError(f"{call!r} does not call {self.trigger.name}: {read.reason or 'no call is in it'}")
        found = write_feedback(image, findings, labels, structures=self.card.structures, argument=read.argument)
        return found.text, found.overlay
