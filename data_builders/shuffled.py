"""Negative control: the same pairs, each with the picture of another group.

Whatever preference training gains on these pairs it cannot have learnt from pictures.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from vlmalign.records import DataError, DatasetBuild, Preference, RecordFolder
from vlmalign.records.hashing import derive_seed


def build_shuffled(preferences: str | Path, out: str | Path, *, seed: int, overwrite: bool = False) -> Path:
    """Write the pairs with their images permuted, so that no answer keeps an image of its own group.

    Every image is used as often as before. The words of a prompt stay with the answers, or a question
    would meet the answer to another question; only pairs with equally many images and of one split trade.
    A record carries the case and group of its image; `provenance["answers_of"]` names those of its answers.

    Args:
        preferences: Preference folder.
        out: the new Preference folder.
        seed: of the permutation.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: one group holds more than half of the pairs that could trade images.
    """
    folder = RecordFolder(preferences, Preference)
    config = {"builder": "shuffled@1", "preferences": folder.sha256, "seed": seed}
    notes = {"control": "Images are permuted across groups on purpose: a negative control, not for use."}
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "preference", config, overwrite=overwrite, notes=notes, data_use=data_use) as build:
        if build.finished:
            return build.path
        pairs = list(folder)
        donors = _donors(pairs, seed, folder.path)
        for pair, donor in zip(pairs, donors, strict=True):
            if build.has(pair.id):
                continue
            for image in donor.images:
                build.adopt(image, folder.path)
            build.commit(pair.id, [_with_images_of(pair, donor, seed)])
    return build.path


def derangement(groups: Sequence[str], *, seed: int) -> list[int]:
    """A permutation in which no place keeps an element of its own group.

    Elements are laid out group by group and turned by the size of the largest group, which moves each out
    of its group; seeded swaps that keep the rule then mix the result.

    Args:
        groups: the group of each element.
        seed: of the layout and the swaps.

    Returns:
        For each place, the index of the element that comes there.

    Raises:
        ValueError: a group holds more than half of the elements, so that no such permutation exists.

    Example:
        >>> sorted(derangement(["a", "a", "b", "b"], seed=0)[:2])
        [2, 3]
    """
    n = len(groups)
    sizes = Counter(groups)
    largest, size = max(sizes.items(), key=lambda item: item[1], default=("", 0))
    if 2 * size > n:
        raise ValueError(
            f"group {largest!r} holds {size} of {n} pairs: more than half cannot move to other groups"
        )
    rng = random.Random(derive_seed("derangement", seed))
    names = sorted(sizes)
    rng.shuffle(names)
    rank = {name: k for k, name in enumerate(names)}
    layout = list(range(n))
    rng.shuffle(layout)
    layout.sort(key=lambda i: rank[groups[i]])
    source = [0] * n
    for place, i in enumerate(layout):
        source[i] = layout[(place + size) % n]
    for _ in range(10 * n):
        i, j = rng.randrange(n), rng.randrange(n)
        if groups[i] != groups[source[j]] and groups[j] != groups[source[i]]:
            source[i], source[j] = source[j], source[i]
    return source


def _donors(pairs: Sequence[Preference], seed: int, path: Path) -> list[Preference]:
    classes: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, pair in enumerate(pairs):
        classes[len(pair.images), pair.split].append(i)
    donors = list(pairs)
    for key, members in sorted(classes.items()):
        try:
            order = derangement([pairs[i].group_id for i in members], seed=derive_seed(seed, key))
        except ValueError as error:
            raise DataError(
                f"{error} (pairs with {key[0]} image(s), split {key[1]!r})",
                "Build pairs from more groups, or fewer pairs from this one.",
                file=path,
                field="group_id",
            ) from None
        for i, donor in zip(members, order, strict=True):
            donors[i] = pairs[members[donor]]
    return donors


def _with_images_of(pair: Preference, donor: Preference, seed: int) -> Preference:
    return pair.model_copy(
        update={
            "case_id": donor.case_id,
            "group_id": donor.group_id,
            "images": donor.images,
            "provenance": {
                **pair.provenance,
                "control": "shuffled_images",
                "shuffle_seed": seed,
                "answers_of": {"case_id": pair.case_id, "group_id": pair.group_id},
            },
        }
    )
