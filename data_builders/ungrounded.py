"""Words without sight: demonstrations whose pictures are replaced by one grey picture.

A general language model knows how reports sound before it has seen a single picture. A model built from
nothing gets that from these: its words cannot be learnt from the pictures, nor its pictures from the words.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vlmalign.records import DatasetBuild, Demonstration, RecordFolder

GREY = (128, 128, 128)


def build_ungrounded(
    demonstrations: str | Path, out: str | Path, *, every: int = 1, size: int = 96, overwrite: bool = False
) -> Path:
    """Write demonstrations again with a grey picture in place of each of their own.

    Args:
        demonstrations: Demonstration folder.
        out: the new Demonstration folder.
        every: keep the first of every so many records; the others are counted as `left_out`.
        size: side of the grey picture in pixels.
        overwrite: replace a folder built with other settings.

    Raises:
        ValueError: `every` below 1.
        DataError: a folder is missing or of another kind.
    """
    if every < 1:
        raise ValueError(f"every is {every}: at least 1 is required")
    folder = RecordFolder(demonstrations, Demonstration)
    config = {"builder": "ungrounded", "demonstrations": folder.sha256, "every": every, "size": size}
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "demonstration", config, overwrite=overwrite, data_use=data_use) as build:
        grey = build.add_image(Image.new("RGB", (size, size), GREY))
        for number, record in enumerate(folder):
            if build.has(record.id):
                continue
            if number % every:
                build.commit(record.id, [], {"left_out": 1})
                continue
            blind = record.model_copy(update={"images": (grey,) * len(record.images), "source": "ungrounded"})
            build.commit(record.id, [blind])
    return Path(out)
