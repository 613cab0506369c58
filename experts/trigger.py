"""How a language model calls an expert: cards in its prompt, and one `<NAME(argument)>` in its answer.

After the protocol of VILA-M3 (Nath et al. 2025), with its gaps closed: an unknown name, a wrong argument and
several calls are states that are told and counted, and cards come from the experts' own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from experts.protocol import ExpertCard
from vlmalign.records.base import Part

CallState = Literal["called", "none", "several", "unknown_expert", "wrong_argument"]
EVERYTHING = "everything"
_CALL = re.compile(r"<([A-Z][A-Z0-9_]*)(?:\(([^()<>]{0,80})\))?>")


class TriggerCard(Part):
    """What a language model is told of an expert.

    Example:
        >>> TriggerCard(name="CELLS", expert="cells@3f2a", modality="light microscopy", task="segmentation",
        ...             arguments=("everything", "platelet")).call("platelet")
        '<CELLS(platelet)>'
    """

    name: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", description="what stands in the call")
    expert: str = Field(description="name@version of the expert behind it")
    modality: str
    task: str
    arguments: tuple[str, ...] = Field(min_length=1, description="what it can be asked to look for")
    performance: str = Field("unknown", description="held-out performance in one sentence")

    def call(self, argument: str) -> str:
        """The words that call it.

        Raises:
            ValueError: not one of its arguments.
        """
        if argument not in self.arguments:
            raise ValueError(f"argument is {argument!r}: {self.name} takes {', '.join(self.arguments)}")
        return f"<{self.name}({argument})>"


@dataclass(frozen=True)
class Call:
    """What an answer says about experts.

    Attributes:
        state: `called`: exactly one call that can be carried out; `none`: no call; else what is wrong with it.
        card: whom it calls; None unless called.
        argument: with what; None unless called.
        reason: what is wrong, in plain language; empty for `called` and `none`.
    """

    state: CallState
    card: TriggerCard | None = None
    argument: str | None = None
    reason: str = ""


def trigger_card(card: ExpertCard) -> TriggerCard:
    """The trigger card of an expert: its name in capitals, its structures (or concepts) as arguments.

    Example:
        >>> card = ExpertCard(name="blood-cells", version="3f2a", architecture="segmentation", modality="light",
        ...                   domain="peripheral_smear", structures=("platelet",), concepts=("platelet_count",))
        >>> found = trigger_card(card)
        >>> found.name, found.arguments, found.performance
        ('BLOOD_CELLS', ('everything', 'platelet'), 'unknown')
    """
    name = re.sub(r"[^A-Z0-9]+", "_", card.name.upper()).strip("_")
    if not name[:1].isalpha():
        name = f"EXPERT_{name}"
    shown = [f"{m.name} of {m.structure} {m.value:.2f}" for m in card.performance if m.name in ("dice", "auroc")]
    return TriggerCard(
        name=name,
        expert=card.id,
        modality=card.modality,
        task=card.architecture,
        arguments=(EVERYTHING, *(card.structures or card.concepts)),
        performance="; ".join(shown) or "unknown",
    )


def describe_cards(cards: Sequence[TriggerCard]) -> str:
    """The list of experts as it stands in a prompt, one line each.

    Raises:
        ValueError: two cards of one name: a call could mean either.

    Example:
        >>> card = TriggerCard(name="CELLS", expert="cells@3f2a", modality="light microscopy", task="segmentation",
        ...                    arguments=("everything", "platelet"), performance="dice of platelet 0.91")
        >>> print(describe_cards([card]))
        You can call these experts by writing one call as your whole answer:
        <CELLS(argument)>: segmentation, light microscopy; argument: everything, platelet; dice of platelet 0.91.
    """
    names = [card.name for card in cards]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two experts are called {name}: rename one of them (`name` in its expert.json)")
    lines = [
        f"<{c.name}(argument)>: {c.task}, {c.modality}; argument: {', '.join(c.arguments)}; {c.performance}."
        for c in cards
    ]
    return "\n".join(["You can call these experts by writing one call as your whole answer:", *lines])


def read_call(text: str, cards: Sequence[TriggerCard]) -> Call:
    """Whom an answer calls.

    A call is `<NAME(argument)>`, or `<NAME>` for everything; capitals only, so that tags such as `<b>` are none.
    An argument may differ in case and spaces around it.

    Args:
        text: the answer.
        cards: of the experts that can be called.

    Example:
        >>> card = TriggerCard(name="CELLS", expert="cells@3f2a", modality="m", task="t", arguments=("platelet",))
        >>> read_call("Let me see. <CELLS(Platelet)>", [card]).argument
        'platelet'
        >>> read_call("No platelets are seen.", [card]).state, read_call("<CELLS(spleen)>", [card]).state
        ('none', 'wrong_argument')
    """
    found = _CALL.findall(text)
    if not found:
        return Call("none")
    if len(found) > 1:
        return Call("several", reason=f"{len(found)} calls in one answer, one is allowed")
    name, given = found[0]
    card = next((card for card in cards if card.name == name), None)
    if card is None:
        known = ", ".join(card.name for card in cards) or "none"
        return Call("unknown_expert", reason=f"no expert is called {name}; there are: {known}")
    argument = (given.strip() or EVERYTHING).casefold()
    match = next((known for known in card.arguments if known.casefold() == argument), None)
    if match is None:
        return Call(
            "wrong_argument", reason=f"{name} has no argument {given!r}; it takes {', '.join(card.arguments)}"
        )
    return Call("called", card, match)
