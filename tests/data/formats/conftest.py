"""Hand-made rows of each format, sound and malformed, about pictures of plain colours."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmalign.data.formats import ImportOptions, get_format, import_rows


def picture(shade, form="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 10, 20)).save(buffer, form)
    return buffer.getvalue()


class Desk:
    """Writes files of rows below one folder, and reads them."""

    def __init__(self, root: Path):
        self.root = root
        (root / "in" / "pictures").mkdir(parents=True)
        for number in range(4):
            (root / "in" / "pictures" / f"{number}.png").write_bytes(picture(number * 40))
        (root / "in" / "pictures" / "scan.jpeg").write_bytes(picture(200, "JPEG"))

    def write(self, rows, container="jsonl", name="rows"):
        path = self.root / "in" / f"{name}.{container}"
        if container == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif container == "json":
            path.write_text(json.dumps(rows, ensure_ascii=False))
        else:
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return path

    def read(self, form, rows, container="jsonl", out="ours", **options):
        path = self.write(rows, container) if isinstance(rows, list) else rows
        return import_rows(get_format(form), path, self.root / out, options=ImportOptions(**options))


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)
