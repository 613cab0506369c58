"""From an item to a request: what a judge is shown, fenced, in which order, by which template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from data_builders.judges.asking import JudgeAnswer, JudgeItem, JudgeRequest
from data_builders.judges.fence import make_fence
from data_builders.judges.template import JudgeTemplate, load_template
from vlmalign.records import Message, user

FENCE = "fence"


class Showing(BaseModel):
    """What all protocols may be told of how they ask; each adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str = Field(description="a shipped template's name, or a file of your own that ends in .j2")
    fence: bool = Field(True, description="keep answers in blocks they cannot leave; false is for measuring only")
    images: bool = Field(True, description="show the case's images")
    reference: bool = Field(False, description="show the case's reference text")
    temperature: float = Field(0.0, ge=0, description="of the judge's sampling; 0 is greedy")
    max_tokens: int = Field(512, gt=0, description="a longer reply is cut, and a cut reply is none")

    @field_validator("template")
    @classmethod
    def _template_loads(cls, name: str) -> str:
        load_template(name)
        return name

    _loaded: dict[str, JudgeTemplate] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Read the templates once, so that a run has one prompt however long it takes."""
        self._loaded.update({name: load_template(name) for name in (*self.templates(), FENCE)})

    @property
    def prompts(self) -> dict[str, str]:
        """Id and hash of each template that is used."""
        return {self._loaded[name].id: self._loaded[name].sha256 for name in self.templates()}

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that decides the requests: the options, and the templates with their hashes."""
        return {**self.model_dump(mode="json"), "prompts": self.prompts}

    def templates(self) -> tuple[str, ...]:
        """The templates that the protocol uses."""
        return (self.template, FENCE) if self.fence else (self.template,)

    def request(
        self,
        item: JudgeItem,
        shown: Sequence[JudgeAnswer],
        *,
        values: Mapping[str, Any] | None = None,
        blocks: Mapping[str, tuple[str, str]] | None = None,
        template: str | None = None,
        sample: int = 0,
    ) -> JudgeRequest:
        """The request that shows some of an item's answers.

        Args:
            item: with the question, the images and perhaps the reference.
            shown: the answers in the order of showing; they are called A, B, ...
            values: further values for the template; ours, not from data.
            blocks: further untrusted texts, value's name -> (label, text).
            template: another one than the protocol's own.
            sample: number of the sample.
        """
        texts = {"question": ("QUESTION", conversation_text(item.prompt))}
        if self.reference and item.reference is not None:
            texts["reference"] = ("REFERENCE", item.reference)
        texts |= blocks or {}
        labels = {chr(ord("A") + place): conversation_text(answer.messages) for place, answer in enumerate(shown)}
        fence = make_fence([*(text for _, text in texts.values()), *labels.values()], self.fence)
        filled: dict[str, Any] = {
            "images": len(item.images) if self.images else 0,
            "reference": None,
            **{name: fence.block(label, text) for name, (label, text) in texts.items()},
            "answers": {label: fence.block(f"ANSWER {label}", text) for label, text in labels.items()},
            **(values or {}),
        }
        used = self._loaded[template or self.template]
        text = used.render(filled)
        if self.fence:
            text = f"{self._loaded[FENCE].render({'nonce': fence.nonce})}\n\n{text}"
        images = item.images if self.images else ()
        return JudgeRequest(
            messages=(user(text, images=len(images)),),
            images=images,
            prompt=used.id,
            display_order=tuple(answer.id for answer in shown),
            sample=sample,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )


def conversation_text(messages: Sequence[Message]) -> str:
    r"""A conversation as one text; a single turn is itself, several are named by who speaks.

    Example:
        >>> from vlmalign.records import assistant
        >>> conversation_text((assistant("Yes."), user("How many?"), assistant("Two.")))
        '[answer] Yes.\n[question] How many?\n[answer] Two.'
    """
    if len(messages) == 1:
        return messages[0].text
    names = {"user": "question", "assistant": "answer", "system": "instruction"}
    return "\n".join(f"[{names[message.role]}] {message.text}" for message in messages)
