"""`vlmalign chat`: talk to a model about an image; it may call an expert, whose findings and overlay come back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmalign.cli.console import console, errors

if TYPE_CHECKING:
    from vlmalign.cli.consulting import Answered, Consultant

HELP = "/image PATH  look at another image (starts anew)   /again  forget what was said   /quit  end"


def command(
    model: Annotated[
        str, typer.Argument(help="a model folder, a run folder, builtin:smear-base, or a name on the Hub")
    ],
    image: Annotated[Path, typer.Argument(help="the image to talk about")],
    expert: Annotated[
        Path | None, typer.Option(help="an expert's folder: whom the model may call; default: nobody")
    ] = None,
    ask: Annotated[
        list[str] | None, typer.Option(help="ask this instead of reading questions from the keyboard; repeat it")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="folder for overlays and the transcript (chat.jsonl); must be new or empty")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option(help="per turn of the model")] = 256,
    seed: Annotated[int, typer.Option(help="of sampling")] = 0,
) -> None:
    """Talk to a model about an image, with an expert at hand. Research use only; not for clinical decisions.

    For example: vlmalign chat runs/consult field.png --expert runs/expert --ask "How many platelets are seen?"

    Where the model writes a call such as <CELLS(platelet)>, the expert examines the image, and its findings go
    back to the model with a picture on which they are coloured. Both are shown here; --save keeps them.
    """
    from vlmalign.cli.generate import check_numbers
    from vlmalign.records import load_image

    check_numbers(1, temperature, 1.0, max_new_tokens, 1, None)
    if save is not None and save.exists() and (not save.is_dir() or any(save.iterdir())):
        raise FileExistsError(f"{save} is there already and holds something. Name a new folder for --save.")
    shown = load_image(image)
    talk = _Talk(_consultant(model, expert, temperature, max_new_tokens), shown, seed, save)
    if ask is None and sys.stdin.isatty():
        console.print(HELP, markup=False, style="dim")
    for line in ask if ask is not None else _lines():
        if line == "/quit":
            break
        if line == "/again":
            talk.start(talk.image)
        elif line.startswith("/image "):
            try:
                talk.start(load_image(line.removeprefix("/image ").strip()))
            except ValueError as error:  # a wrong path must not end the conversation
                errors.print(str(error), style="red", markup=False)
        elif line.startswith("/"):
            errors.print(f"{line.split()[0]} is no command. {HELP}", markup=False)
        else:
            talk.say(line)


def _lines() -> Iterator[str]:
    """Lines from the keyboard, or from a pipe, without the empty ones."""
    while True:
        try:
            line = input("you: " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if line.strip():
            yield line.strip()


def _consultant(model: str, expert: Path | None, temperature: float, max_new_tokens: int) -> Consultant:
    """Both loaded, after both were found."""
    from experts import load_expert, read_card
    from vlmalign.cli.consulting import Consultant
    from vlmalign.cli.generate import model_to_sample

    if expert is not None:
        read_card(expert)
    weights = model_to_sample(model)
    called = None if expert is None else load_expert(expert)
    from vlmalign.models import load_vlm

    return Consultant(load_vlm(weights), called, temperature=temperature, max_new_tokens=max_new_tokens)


class _Talk:
    """One conversation: what was said, the images shown, and where they are kept."""

    def __init__(self, consultant: Consultant, image: Any, seed: int, save: Path | None) -> None:
        self.consultant, self.seed, self.save = consultant, seed, save
        self.asked = 0
        self.start(image)

    def start(self, image: Any) -> None:
        """Begin anew with an image."""
        self.image = image
        self.turns: tuple[Any, ...] = ()
        self.images: tuple[Any, ...] = ()

    def say(self, question: str) -> None:
        """Ask, show what comes back, and remember it."""
        from vlmalign.cli.consulting import Asked
        from vlmalign.records.hashing import derive_seed

        asked = Asked(question, self.image, self.image, self.turns, self.images)
        answered = self.consultant.answer([asked], [derive_seed(self.seed, "chat", self.asked)])[0]
        self.turns += answered.turns
        self.images += answered.images
        self.asked += 1
        self._show(answered, self._keep(question, answered))

    def _show(self, answered: Answered, overlay: Path | None) -> None:
        if answered.call.argument is not None:
            console.print(f"calls: {answered.first.text}", markup=False, style="cyan")
            console.print(f"expert: {answered.feedback}", markup=False, style="yellow")
            if overlay is not None:
                console.print(f"overlay: {overlay}", markup=False, style="yellow")
        elif answered.call.reason:
            errors.print(f"call not carried out: {answered.call.reason}", markup=False, style="red")
        cut = "" if answered.final.finished else " [cut: raise --max-new-tokens]"
        console.print(f"model: {answered.final.text}{cut}", markup=False)

    def _keep(self, question: str, answered: Answered) -> Path | None:
        """Write the overlay and a line of the transcript; the overlay's path."""
        if self.save is None:
            return None
        self.save.mkdir(parents=True, exist_ok=True)
        overlay = None
        if answered.overlay is not None:
            overlay = self.save / f"overlay-{self.asked}.png"
            answered.overlay.save(overlay)
        line = {
            "question": question, "call": answered.call.state, "first": answered.first.text,
            "feedback": answered.feedback, "answer": answered.final.text, "finished": answered.final.finished,
            "overlay": overlay and overlay.name,
        }  # fmt: skip
        with open(self.save / "chat.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n")
        return overlay
