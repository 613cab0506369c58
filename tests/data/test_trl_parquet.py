import datasets
import pytest

from vlmalign.data import export_trl_parquet
from vlmalign.records import DataError, Preference, assistant, read_records, user


def test_the_datasets_library_reads_back_messages_and_decoded_images(build_folder, records, tmp_path):
    folder = build_folder("p", "preference", lambda b: [records["preference"](b, i) for i in (1, 2)])
    out = export_trl_parquet(folder, tmp_path / "out" / "pairs.parquet")
    rows = datasets.load_dataset("parquet", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    row = rows[1]
    assert row["images"][0].size == (32, 32) and row["images"][0].getpixel((0, 0)) == (20, 20, 20)
    assert row["prompt"] == [
        {
            "role": "user",
            "content": [{"type": "image", "text": None}, {"type": "text", "text": "Describe the field."}],
        }
    ]
    assert row["chosen"][0]["content"][0]["text"] == "A leukocyte is present."
    assert row["rejected"][0]["role"] == "assistant"
    assert row["margin"] == 1.5 and row["id"] == "p2"
    assert read_records(folder, Preference)[1].images[0].sha256 in row["image_refs"][0]


def test_the_same_folder_gives_the_same_bytes(build_folder, records, tmp_path):
    folder = build_folder("p", "preference", lambda b: [records["preference"](b, 1)])
    first, second = (export_trl_parquet(folder, tmp_path / f"{i}.parquet").read_bytes() for i in range(2))
    assert first == second


def test_a_pair_of_conversations_is_refused_by_name(build_folder, records, tmp_path):
    turns = (assistant("Yes."), user("How many?"), assistant("Two."))
    folder = build_folder("p", "preference", lambda b: [records["preference"](b, 3, chosen=turns)])
    with pytest.raises(DataError, match="record 'p3', field 'chosen': the answer has 3 turns"):
        export_trl_parquet(folder, tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
