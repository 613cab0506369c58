"""`record_validation`: schema, ids and existence of files, in records per second of one core; and the memory of
it.

The folder holds preference pairs of one picture each, with texts of the length of a short report. Counted is all
that `vlmalign data validate` does without --images, from opening the manifest to its last word. Seconds are those
of the process, so that others on the machine do not count.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import peak, restart_peak
from PIL import Image

from vlmalign.records import DatasetBuild, Preference, RecordFolder, assistant, user
from vlmalign.records.validation import validate_folder

NAME = "record_validation"
LIMIT = 20_000  # records per second
RECORDS, PICTURES = 40_000, 5_000
REPORT = "The lungs are clear. No pleural effusion and no pneumothorax is seen. The heart is of normal size. "


def measure(records: int = RECORDS, repeats: int = 3) -> dict[str, Any]:
    """Validate a folder a few times; the best time is that of the code."""
    with tempfile.TemporaryDirectory() as place:
        start = restart_peak()
        folder = build_pairs(Path(place) / "pairs", records)
        times = []
        for _ in range(repeats):
            began = time.process_time()
            problems = validate_folder(folder, images=False)
            times.append(time.process_time() - began)
            if problems:
                raise SystemExit(f"the folder is not sound: {problems[0]}")
        read = sum(1 for _ in RecordFolder(folder, Preference))
        memory = peak() - start
    rate = records / min(times)
    return {
        "name": NAME, "records": read, "records_per_second": rate, "limit": LIMIT, "reached": rate >= LIMIT,
        "seconds": times, "peak_mb": memory,
    }  # fmt: skip


def build_pairs(folder: Path, records: int) -> Path:
    """Pairs whose ids are as long as those that builders write."""
    with DatasetBuild(folder, "preference", {"records": records}) as build:
        pictures = [
            build.add_image(Image.new("RGB", (8, 8), (k % 256, k // 256, 0)))
            for k in range(min(PICTURES, records))
        ]
        for k in range(records):
            case = f"source/patient-{k // 4:07}/study-{k:07}"
            pair = Preference(
                id=f"{case}/report/0-1", case_id=case, group_id=f"{k // 4:016x}", split="train", source="expert",
                images=(pictures[k % len(pictures)],), prompt=(user("Describe the film.", images=1),), margin=1.0,
                chosen=(assistant(f"{REPORT}Film {k}."),), rejected=(assistant(f"{REPORT}An effusion is seen."),),
                expert_ids=("expert@1",), provenance={"policy": "sft@1", "candidates": [f"{case}/0", f"{case}/1"]},
            )  # fmt: skip
            build.commit(pair.id, [pair])
    return folder


def line(result: dict[str, Any]) -> str:
    """The figures in one line."""
    mark = "reached" if result["reached"] else "MISSED"
    return (
        f"{result['name']:22} {result['records_per_second']:,.0f} records per second of one core "
        f"(wanted {result['limit']:,}, {mark}); {result['records']:,} written, validated and read in "
        f"{result['peak_mb']:.0f} MB beyond the start"
    )


if __name__ == "__main__":  # a million: PYTHONPATH=tests python -m benchmarks.record_validation 1000000
    import sys

    print(line(measure(int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS, repeats=1)))  # noqa: T201
