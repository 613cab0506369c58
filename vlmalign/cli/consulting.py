"""The loop between a model and an expert: the model calls, the expert examines, the model answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlmalign.records import ImageRef, Message, assistant, user

if TYPE_CHECKING:
    from PIL import Image

    from experts.protocol import Expert
    from experts.trigger import Call
    from vlmalign.models import VLM
    from vlmalign.models.sampling import Sample


@dataclass(frozen=True)
class Asked:
    """A question about one image, and what was said before it.

    Attributes:
        question: in the user's words.
        image: what it is about.
        examined: what the expert is shown; the same image, but for a control.
        before: earlier turns; empty: this is the first one, which tells of the expert.
        images_before: images of the earlier turns, in the order of their places.
    """

    question: str
    image: Image.Image
    examined: Image.Image
    before: tuple[Message, ...] = ()
    images_before: tuple[Image.Image, ...] = ()


@dataclass(frozen=True)
class Answered:
    """What came of a question.

    Attributes:
        call: whom the model called, and how.
        first: the model's first turn.
        final: its answer after the expert's findings; the first turn itself where nobody was called.
        feedback: what the expert said; empty where nobody was called.
        overlay: the expert's picture, where there is one.
        turns: all turns from the question on.
        images: of these turns, in the order of their places.
    """

    call: Call
    first: Sample
    final: Sample
    feedback: str
    overlay: Image.Image | None
    turns: tuple[Message, ...]
    images: tuple[Image.Image, ...]


class Consultant:
    """A model that may call one expert.

    Args:
        vlm: the model.
        expert: whom it may call; None: nobody, and nothing is told of experts.
        temperature: of sampling; 0 is greedy.
        top_p: see `vlmalign.models.sample_responses`.
        max_new_tokens: per turn of the model.
    """

    def __init__(
        self,
        vlm: VLM,
        expert: Expert | None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_new_tokens: int = 128,
    ) -> None:
        from experts.script import ExpertScript

        self.vlm, self.expert = vlm, expert
        self.script = None if expert is None else ExpertScript(expert.card)
        self.sampling = {"temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens}

    def answer(self, questions: Sequence[Asked], seeds: Sequence[int]) -> list[Answered]:
        """Answer questions, each with its own seed; only those that call somebody are asked a second time."""
        from experts.trigger import Call, read_call

        opened = [self._open(asked) for asked in questions]
        first = self._sample([(*asked.before, turn) for asked, turn in zip(questions, opened, strict=True)],
                             [self._shown(asked) for asked in questions], seeds)  # fmt: skip
        cards = [] if self.script is None else [self.script.trigger]
        calls = [read_call(sample.text, cards) if cards else Call("none") for sample in first]
        calling = [i for i, call in enumerate(calls) if call.argument is not None]
        findings = dict(zip(calling, self._examine([questions[i] for i in calling],
                                                   [first[i].text for i in calling]), strict=True))  # fmt: skip
        turns: dict[int, tuple[Message, ...]] = {}
        for i in calling:
            text, overlay = findings[i]
            again = user(f"{text}\n{questions[i].question}", images=0 if overlay is None else 1)
            turns[i] = (opened[i], assistant(first[i].text), again)
        second = self._sample(
            [(*questions[i].before, *turns[i]) for i in calling],
            [[*self._shown(questions[i]), *self._drawn(findings[i])] for i in calling],
            [seeds[i] for i in calling],
        )
        last = dict(zip(calling, second, strict=True))
        return [
            self._answered(questions[i], calls[i], first[i], last.get(i), turns.get(i, (opened[i],)),
                           findings.get(i, ("", None)))
            for i in range(len(questions))
        ]  # fmt: skip

    def _open(self, asked: Asked) -> Message:
        if asked.before or self.script is None:
            return user(asked.question, images=0 if asked.before else 1)
        return user(f"{self.script.introduction}\n{asked.question}", images=1)

    @staticmethod
    def _shown(asked: Asked) -> list[Image.Image]:
        return list(asked.images_before) if asked.before else [asked.image]

    @staticmethod
    def _drawn(found: tuple[str, Image.Image | None]) -> list[Image.Image]:
        return [] if found[1] is None else [found[1]]

    def _answered(
        self,
        asked: Asked,
        call: Call,
        first: Sample,
        second: Sample | None,
        turns: tuple[Message, ...],
        found: tuple[str, Image.Image | None],
    ) -> Answered:
        final = first if second is None else second
        images = ([] if asked.before else [asked.image]) + self._drawn(found)
        return Answered(
            call, first, final, found[0], found[1], (*turns, assistant(final.text or " ")), tuple(images)
        )

    def _sample(
        self, prompts: Sequence[Sequence[Message]], images: Sequence[Sequence[Any]], seeds: Sequence[int]
    ) -> list[Sample]:
        from vlmalign.data import encode_prompts
        from vlmalign.models import sample_responses

        if not prompts:
            return []
        encoded = encode_prompts(self.vlm.processor, prompts, images)
        drawn = sample_responses(self.vlm, encoded, seeds=[[seed] for seed in seeds], **self.sampling)  # type: ignore[arg-type]
        return [samples[0] for samples in drawn]

    def _examine(self, questions: Sequence[Asked], calls: Sequence[str]) -> list[tuple[str, Any]]:
        from experts.running import findings_of

        if not questions or self.expert is None or self.script is None:
            return []
        found = []
        examined = self.expert.examine([asked.examined for asked in questions])
        place = ImageRef(path="images/shown.png", sha256="0" * 64)
        for asked, examination, call in zip(questions, examined, calls, strict=True):
            findings = findings_of(examination, place, None, "shown", "shown", self.expert.card.id)
            labels = examination.labels
            if labels is not None and asked.examined.size != asked.image.size:
                labels = None  # a control's picture of another size: its overlay would not fit
            found.append(self.script.feedback(asked.examined, findings, labels, call))
        return found
