"""`vlmalign data convert`: both ways, between foreign formats, and what it refuses."""

import json

import pytest

from vlmalign.records import Preference, read_records


@pytest.fixture
def comparisons(tmp_path):
    rows = [
        {"id": str(k), "conversations": [{"from": "human", "value": "What is seen?"}], "preference": k % 3,
         "output_1": {"from": "gpt", "value": "A cell."}, "output_2": {"from": "gpt", "value": "Two."}}
        for k in range(3)
    ]  # fmt: skip
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    return tmp_path / "rows.json"


def test_rows_become_pairs_and_pairs_become_rows_of_another_toolkit(vlmalign, comparisons, tmp_path):
    result = vlmalign("data", "convert", "llava-rlhf", "vlmalign", "rows.json", "pairs")
    assert result.out == "wrote pairs\n2 records: left_out:tie 1, rows 3\n"
    assert [pair.chosen[0].text for pair in read_records(tmp_path / "pairs", Preference)] == ["A cell.", "Two."]
    result = vlmalign("data", "convert", "vlmalign", "ms-swift", "pairs", "swift")
    assert (result.code, result.out) == (0, "wrote swift\n2 rows\n")
    assert "lost: extra.llava-rlhf 1, group_id 2, id 2" in result.err
    rows = [json.loads(line) for line in (tmp_path / "swift" / "rows.jsonl").read_text().splitlines()]
    assert rows[1]["rejected_response"] == "A cell."
    result = vlmalign("data", "convert", "llava-rlhf", "ms-swift", "rows.json", "direct")
    assert (tmp_path / "direct" / "rows.jsonl").read_bytes() == (tmp_path / "swift" / "rows.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["direct", "pairs", "rows.json", "swift"]


def test_what_cannot_be_converted_is_refused_before_anything_is_written(refused, comparisons, tmp_path):
    convert = ("data", "convert")
    refused(*convert, "llava-rlfh", "vlmalign", "rows.json", "x", says="Did you mean 'llava-rlhf'?")
    refused(
        *convert, "llava", "ms-swift", "rows.json", "x", says="llava holds demonstrations, ms-swift holds pref"
    )
    refused(*convert, "vlmalign", "vlmalign", "rows.json", "x", says="nothing to convert")
    refused(*convert, "ms-swift", "vlmalign", "rows.json", "x", says="rows.json, record 'row 1', field 'messages'")
    refused(*convert, "llava-rlhf", "trl", "rows.json", "rows.json", says="path and out are both")
    (tmp_path / "other.json").write_text("[]")
    refused(*convert, "llava-rlhf", "trl", "rows.json", "other.json", says="is there already")
    short = tmp_path / "key"
    short.write_text("short")
    refused(
        *convert, "llava-rlhf", "vlmalign", "rows.json", "x", "--group", "id", "--key", short, says="at least 16"
    )
    assert not (tmp_path / "x").exists()
