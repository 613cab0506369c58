"""The same pairs with one thing taken away or put on: what a reward should mind, or should not.

A variant turns a pair into a pair and its pictures into pictures. It keeps ids, sides and labels, so that scores
of two variants are compared pair by pair.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vlmalign.data.blank import blank_image
from vlmalign.records import DataError, ImageRef, Message, Preference, RecordFolder, assistant, user
from vlmalign.records.hashing import derive_seed, sha256_bytes
from vlmalign.rewards import answer_styles

NEUTRAL_PROMPT = "Please answer."
NEUTRAL_TURN = "Please go on."

PairChange = Callable[[Preference], Preference]
ImageChange = Callable[[Image.Image], Image.Image]


def same_pair(pair: Preference) -> Preference:
    """The pair as it is."""
    return pair


def same_image(image: Image.Image) -> Image.Image:
    """The picture as it is."""
    return image


@dataclass(frozen=True)
class Variant:
    """One change.

    Attributes:
        name: unique; names the folder of its judgements.
        about: what is done, for people.
        pair: what a pair becomes.
        image: what each of its pictures becomes, after `pair`.
        needs_images: whether it changes pictures alone, so that a reward that takes none cannot tell.
    """

    name: str
    about: str
    pair: PairChange = same_pair
    image: ImageChange = same_image
    needs_images: bool = False


SEEN = Variant("seen", "the pairs as they are")
BLANKED = Variant("blanked", "a grey picture in place of each", image=blank_image, needs_images=True)


def restyled(pair: Preference, style: Callable[[str], str]) -> Preference:
    """A pair with the assistant's turns of both sides rewritten in one style.

    Where the sides differ in style alone they become equal: such a pair says nothing of style.
    """
    sides = {side: tuple(_rewrite(turn, style) for turn in getattr(pair, side)) for side in ("chosen", "rejected")}
    return pair.model_copy(update=sides)


def _rewrite(turn: Message, style: Callable[[str], str]) -> Message:
    return assistant(style(turn.text)) if turn.role == "assistant" else turn


CONCISE = Variant(
    "concise", "both answers as plain sentences", pair=lambda pair: restyled(pair, answer_styles.concise)
)
MARKDOWN = Variant(
    "markdown",
    "both answers as lists with bold heads, word for word",
    pair=lambda pair: restyled(pair, answer_styles.markdown),
)


def without_question(pair: Preference) -> Preference:
    """A pair whose prompt asks nothing: the words of every turn but the answers' are replaced by neutral ones.

    The places of the pictures stay, as a case has at least one; show grey ones there (`ANSWER_ONLY` does).

    Example:
        >>> pair = Preference(id="p", case_id="c", group_id="g", split="test", images=(), source="expert",
        ...                   prompt=(user("Which stain?"),), chosen=(assistant("A"),), rejected=(assistant("B"),))
        >>> without_question(pair).prompt[0].text
        'Please answer.'
    """
    prompt = (user(NEUTRAL_PROMPT, images=len(pair.images)),)
    sides = {
        side: tuple(turn if turn.role == "assistant" else user(NEUTRAL_TURN) for turn in getattr(pair, side))
        for side in ("chosen", "rejected")
    }
    return pair.model_copy(update={"prompt": prompt, **sides})


ANSWER_ONLY = Variant(
    "answer_only", "no question and a grey picture: the answer alone", pair=without_question, image=blank_image
)


def swapped(pairs: Iterable[Preference], *, seed: int = 0, source: Path | None = None) -> Variant:
    """The variant that shows each pair the pictures of another group.

    The groups are put in a seeded order and each takes pictures from the one that follows: never from itself, and
    for a role-swapped pair from neither of its two groups. All pairs of a case get the same pictures, those of one
    seeded pair of that group with as many.

    Args:
        pairs: all pairs of the folder.
        seed: of the order and of the picks.
        source: the folder, for errors.

    Raises:
        DataError: for some pair no other group has other pictures, as many of them.
    """
    images = _donated_images(list(pairs), seed, source)
    return Variant(
        "swapped",
        "the picture of another group in place of each",
        pair=lambda pair: pair.model_copy(update={"images": images[pair.id]}),
        needs_images=True,
    )


def _donated_images(
    pairs: Sequence[Preference], seed: int, source: Path | None
) -> dict[str, tuple[ImageRef, ...]]:
    of_group: dict[str, dict[tuple[str, ...], tuple[ImageRef, ...]]] = {}
    for pair in pairs:
        of_group.setdefault(pair.group_id, {})[tuple(ref.sha256 for ref in pair.images)] = pair.images
    order = sorted(of_group)
    random.Random(derive_seed("swapped", seed)).shuffle(order)
    place = {group: i for i, group in enumerate(order)}
    donated = {}
    for pair in pairs:
        own = {pair.group_id, *map(str, pair.provenance.get("groups") or ())}
        here = place[pair.group_id]
        for group in (*order[here + 1 :], *order[:here]):
            others = [] if group in own else _others(of_group[group], pair)
            if others:
                donated[pair.id] = others[derive_seed("donor", seed, pair.case_id) % len(others)]
                break
        else:
            raise DataError(
                f"no other group has other pictures, {len(pair.images)} of them, to show instead of its own "
                f"({len(of_group)} group{'s' * (len(of_group) != 1)} here)",
                "Give pairs of more groups, or leave the variant 'swapped' out.",
                file=source,
                record=pair.id,
                field="group_id",
            )
    return donated


def _others(images: dict[tuple[str, ...], tuple[ImageRef, ...]], pair: Preference) -> list[tuple[ImageRef, ...]]:
    own = {ref.sha256 for ref in pair.images}
    return [refs for key, refs in images.items() if len(refs) == len(pair.images) and not own & set(key)]


class VariantFolder(RecordFolder[Preference]):
    """A folder of pairs as a variant shows them.

    References to changed pictures carry another hash than the file's: a reward that remembers pictures by their
    hash must not take the grey one for the real one.
    """

    def __init__(self, folder: str | Path, variant: Variant) -> None:
        super().__init__(folder, Preference)
        self.variant = variant

    def __iter__(self) -> Iterator[Preference]:
        return map(self._changed, super().__iter__())

    def _changed(self, pair: Preference) -> Preference:
        pair = self.variant.pair(pair)
        if self.variant.image is same_image:
            return pair
        refs = [
            ref.model_copy(update={"sha256": sha256_bytes(f"{self.variant.name}:{ref.sha256}".encode())})
            for ref in pair.images
        ]
        return pair.model_copy(update={"images": tuple(refs)})

    def image(self, ref: ImageRef, *, verify: bool = False, record: str | None = None) -> Image.Image:
        """Decode an image and change it as the variant does; its hash is not that of its file (see the class)."""
        return self.variant.image(super().image(ref, record=record))
