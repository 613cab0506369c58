"""Pairs with the critiques that a critique model itself writes of both answers: what its head meets in use."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from PIL import Image

from vlmalign.data.critique import encode_judged
from vlmalign.models.loading import model_folder
from vlmalign.records import DataError, DatasetBuild, Preference, RecordFolder
from vlmalign.records.hashing import config_hash
from vlmalign.records.scores import SIDES
from vlmalign.rewards.critique import load_critic
from vlmalign.rewards.critique_writing import UNREADABLE, CritiqueWriter, WrittenCritique
from vlmalign.rewards.language_model import chosen_device, weights_hashes
from vlmalign.rewards.pair_scoring import pair_case, side_candidate


def write_own_critiques(
    run: str | Path,
    pairs: str | Path,
    out: str | Path,
    *,
    n: int = 1,
    temperature: float | None = None,
    seed: int = 0,
    max_new_tokens: int = 256,
    pairs_per_batch: int = 8,
    overwrite: bool = False,
) -> Path:
    """Write the pairs with critiques of a critique model's own in the place of the given ones. Resumable.

    With n above 1 each pair comes n times, with the k-th critique of both answers, ids `<pair id>/own-<k>`. Where
    either critique is cut, empty or spells a special token, that record is left out and counted. The model has
    learnt to write on its training pairs, so its critiques of other pairs tell more of its faults: train on
    critiques of pairs that it has not seen where there are enough.

    Args:
        run: run folder of a critique model, or the `model` folder inside.
        pairs: Preference folder.
        out: the new Preference folder.
        n: see `CritiqueWriter`.
        temperature: see `CritiqueWriter`.
        seed: see `CritiqueWriter`.
        max_new_tokens: see `CritiqueWriter`.
        pairs_per_batch: pairs whose critiques are written together.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. The manifest counts `records_left_out` and the critiques that were the reason, by fault.

    Raises:
        DataError: a folder that cannot be used, or an answer that spells a special token.
        ValueError: no critique model; settings out of range.
    """
    folder = RecordFolder(pairs, Preference)
    model_path = Path(model_folder(run))
    model = load_critic(model_path, device=chosen_device("auto"))
    writer = CritiqueWriter(model, n, temperature, seed, max_new_tokens)
    who = f"critique@{config_hash(weights_hashes(model_path))[:8]}"
    config = {
        "stage": "own_critiques", "writer": who, "pairs": folder.sha256, "n": n, "temperature": temperature,
        "seed": seed, "max_new_tokens": max_new_tokens, "pairs_per_batch": pairs_per_batch,
    }  # fmt: skip
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "preference", config, overwrite=overwrite, data_use=data_use) as build:
        records = [] if build.finished else list(folder)
        for start in range(0, len(records), pairs_per_batch):
            batch = records[start : start + pairs_per_batch]
            if build.has(batch[0].id):
                continue
            images = [[folder.image(ref, record=pair.id) for ref in pair.images] for pair in batch]
            written, counts = _criticise(writer, batch, images, who)
            for record in written:
                for image in record.images:
                    build.adopt(image, folder.path)
            build.commit(batch[0].id, written, counts)
    return build.path


def _criticise(
    writer: CritiqueWriter, batch: list[Preference], images: list[list[Image.Image]], who: str
) -> tuple[list[Preference], Counter[str]]:
    """The records of some pairs, and the counts of what was left out."""
    answers = [side_candidate(pair, side) for pair in batch for side in SIDES]
    cases = [pair_case(pair) for pair in batch for _ in SIDES]
    critiques, _ = writer.write(cases, answers, [own for own in images for _ in SIDES])
    records: list[Preference] = []
    counts: Counter[str] = Counter()
    for i, pair in enumerate(batch):
        for k in range(writer.n):
            found = [
                _readable(writer, pair, side, critiques[2 * i + place][k]) for place, side in enumerate(SIDES)
            ]
            faults = [critique.fault for critique in found if critique.fault is not None]
            if faults:
                counts["records_left_out"] += 1
                counts.update(f"critiques_{fault}" for fault in faults)
                continue
            changes = {
                "id": pair.id if writer.n == 1 else f"{pair.id}/own-{k}",
                "chosen_critique": found[0].text,
                "rejected_critique": found[1].text,
                "provenance": {**pair.provenance, "critiques": who},
            }
            records.append(pair.model_copy(update=changes))
    return records, counts


def _readable(writer: CritiqueWriter, pair: Preference, side: str, critique: WrittenCritique) -> WrittenCritique:
    """A critique, marked as unreadable where it spells a special token."""
    if critique.fault is not None:
        return critique
    processor, stops = writer.model.processor, writer.model.vlm.stop_tokens
    try:
        encode_judged(processor, pair.prompt, getattr(pair, side), critique.text, record=pair.id, stops=stops)
    except DataError:
        return WrittenCritique(critique.text, UNREADABLE)
    return critique
