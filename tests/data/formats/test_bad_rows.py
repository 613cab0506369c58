"""Malformed rows: the error names file, row and field, and nothing is written; ties and videos are states."""

import copy
import importlib.util
import json
from pathlib import Path

import pytest

from vlmalign.data.formats import export_rows, get_format
from vlmalign.records import (
    DataError,
    DatasetBuild,
    Preference,
    assistant,
    read_manifest,
    read_records,
    user,
)

_spec = importlib.util.spec_from_file_location("format_rows", Path(__file__).with_name("rows.py"))
rows = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rows)
turn, said = rows.turn, rows.said

BAD = [
    # format, changes of the first row, field, what the rule says
    ("llama-factory", {"images": ["pictures/0.png", "pictures/1.png"]}, "conversations",
     "1 <image> placeholders stand in the text, and the row has 2 images"),
    ("llama-factory", {"images": []}, "conversations", "1 <image> placeholders .* the row has 0 images"),
    ("llama-factory", {"conversations": [turn("human", "<image>"), turn("gpt", "x")]}, "conversations",
     "does not end on a turn of 'human'"),
    ("llama-factory", {"chosen": "A cell."}, "chosen.0", "expected a mapping with 'from' and 'value'"),
    ("llama-factory", {"chosen": turn("bot", "A")}, "chosen.0.from", "the role 'bot' is unknown"),
    ("llama-factory", {"chosen": turn("gpt", "Two.")}, None, "chosen equals rejected"),
    ("llama-factory", {"kto_tag": True}, "kto_tag", "a row for KTO"),
    ("llama-factory", {"images": 5}, "images", "got a int; expected one image or a list"),
    ("ms-swift", {"messages": [said("user", "What?"), said("assistant", "A.")]}, "messages",
     "0 <image> placeholders stand in the text, and the row has 1 images"),
    ("ms-swift", {"rejected_response": None}, "rejected_response", "no rejected answer given"),
    ("ms-swift",
     {"rejected_response": None, "rejected_messages": [said("user", "Other?"), said("assistant", "A")]},
     "rejected_messages", "answer another prompt"),
    ("ms-swift", {"margin": "wide"}, "margin", "got 'wide', a str; expected float or int"),
    ("ms-swift", {"rejected_response": None, "label": True}, "label", "a row for KTO"),
    ("llava", {"conversations": "What?"}, "conversations", "expected a list of turns"),
    ("llava",
     {"conversations": [turn("human", "What?"), turn("gpt", "A"), turn("human", "<image>"), turn("gpt", "B")]},
     "conversations", "1 placeholders stand after the first answer"),
    ("llava", {"image": "pictures/none.png"}, "images.0", "the image file 'pictures/none.png' is missing"),
    ("llava", {"image": "../secret.png"}, "images.0", "leads out of the folder of images"),
    ("llava", {"image": "/etc/hostname"}, "images.0", "leads out of the folder of images"),
    ("llava", {"image": "https://a.org/x.png"}, "images.0", "is an address"),
    ("llava", {"image": "rows.jsonl"}, "images.0", "cannot be decoded"),
    ("llava", {"image": "data:image/png;base64,%%%"}, "images.0", "neither a path nor valid base64"),
    ("llava-rlhf", {"preference": 3}, "preference", "got 3; expected the number of the better output"),
    ("llava-rlhf", {"preference": "1"}, "preference", "a str; expected int"),
    ("llava-rlhf", {"preference": None}, "preference", "the field is missing"),
    ("rlaif-v", {"image": {"bytes": b"no picture", "path": None}}, "images.0", "cannot be decoded"),
    ("rlaif-v", {"question": "<image><image>What?"}, "question", "2 <image> placeholders .* 1 images"),
    ("rlaif-v", {"chosen": None}, "chosen", "the text is missing"),
    ("rlhf-v", {"text": "{question"}, "text", "not valid JSON"),
    ("rlhf-v", {"text": json.dumps({"question": "What?", "chosen": "A."})}, "text.rejected",
     "the text is missing"),
    ("mm-rlhf", {"is_tie": "maybe"}, "is_tie", "expected true or false"),
    ("mm-rlhf", {"ls_factor": -1}, "weight", "greater than or equal to 0"),
    ("vl-rewardbench", {"human_ranking": [1, 2]}, "human_ranking", "expected the ranks 0 .better. and 1"),
    ("vl-rewardbench", {"response": ["one"]}, "response", "expected two texts"),
    ("trl", {"images": "pictures/0.png"}, "images", "expected a list of images"),
    ("trl", {"prompt": [said("tool", "x")]}, "prompt.0.role", "role is one of system, user, assistant"),
    ("trl", {"images": ["pictures/0.png"] * 2}, "prompt", "1 image parts stand in the prompt"),
    ("trl", {"vlmalign": "{"}, "vlmalign", "expected JSON of the fields"),
    ("trl", {"vlmalign": '{"split": "holdout"}'}, "split", "Input should be 'train'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "field", "says"), BAD)
def test_a_malformed_row_is_named_and_nothing_is_written(name, changes, field, says, desk):
    given = copy.deepcopy(rows.ROWS[name])
    bad = {key: value for key, value in {**given[0], **changes}.items() if value is not None}
    container = rows.CONTAINERS[name]
    with pytest.raises(DataError, match=says) as caught:
        desk.read(name, [given[1], bad], container)
    error = caught.value
    assert (Path(error.file).name, error.record, error.field) == (f"rows.{container}", "row 2", field)
    assert not (desk.root / "ours").exists()


def test_bad_rows_may_be_skipped_and_are_listed_with_their_field(desk):
    given = [*rows.LLAVA[:1], {**rows.LLAVA[1], "image": "pictures/none.png"}, *rows.LLAVA[2:]]
    ours = desk.read("llava", given, on_bad="skip")
    counts = read_manifest(ours).counts
    assert (counts["rows"], counts["records"], counts["bad_rows"]) == (4, 3, 1)
    (line,) = map(json.loads, (ours / "left_out.jsonl").read_text().splitlines())
    assert (line["file"], line["row"], line["reason"], line["field"]) == ("rows.jsonl", 2, "bad_row", "images.0")


def test_a_damaged_line_is_named_by_file_and_row(desk):
    path = desk.write(rows.MS_SWIFT)
    path.write_text(path.read_text() + '{"messages": \n')
    with pytest.raises(DataError, match=r"rows.jsonl, record 'row 5': the line is not valid JSON"):
        desk.read("ms-swift", path)
    (desk.root / "in" / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="x.parquet: the Parquet file cannot be read"):
        desk.read("rlaif-v", desk.root / "in" / "x.parquet")
    with pytest.raises(DataError, match="holds .jsonl and .parquet files"):
        desk.read("rlaif-v", desk.root / "in")


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("llava-rlhf", {"preference": 0}, "tie"),
        ("mm-rlhf", {"is_tie": True}, "tie"),
        ("mm-rlhf", {"mixed_up_image": True}, "mixed_up_image"),
        ("mm-rlhf", {"video": "frames"}, "video"),
        ("vl-rewardbench", {"human_ranking": [0, 0]}, "tie"),
        ("ms-swift", {"rejected_images": ["pictures/3.png"]}, "other_rejected_images"),
        ("llama-factory", {"videos": ["x.mp4"]}, "video"),
    ],
)
def test_a_tie_is_a_state_that_is_counted_and_listed(name, changes, reason, desk):
    given = [rows.ROWS[name][1], {**rows.ROWS[name][0], **changes}]
    ours = desk.read(name, given, rows.CONTAINERS[name])
    counts = read_manifest(ours).counts
    assert (counts["rows"], counts["records"], counts[f"left_out:{reason}"]) == (2, 1, 1)
    (line,) = map(json.loads, (ours / "left_out.jsonl").read_text().splitlines())
    assert (line["row"], line["reason"]) == (2, reason)


def test_the_rank_convention_is_first_best(desk):
    pairs = read_records(desk.read("vl-rewardbench", rows.VL_REWARDBENCH, "parquet"), Preference)
    assert [(pair.chosen[0].text, pair.rejected[0].text) for pair in pairs] == [("A cell.", "Two.")] * 2
    pairs = read_records(desk.read("llava-rlhf", rows.LLAVA_RLHF, out="more"), Preference)
    assert [(pair.chosen[0].text, pair.rejected[0].text) for pair in pairs] == [
        ("A cell.", "Two."),
        ("Left.", "Right."),
    ]
    assert [pair.id for pair in pairs] == ["9", "9#2"]


def test_rows_of_one_picture_are_one_group_also_through_a_third_row(desk):
    def row(*numbers):
        images = [f"pictures/{n}.png" for n in numbers]
        return {**rows.MM_RLHF[0], "image": images}

    groups = [
        pair.group_id
        for pair in read_records(desk.read("mm-rlhf", [row(0), row(2), row(0, 1), row(1), row(3)]), Preference)
    ]
    assert groups[0] == groups[2] == groups[3] and len(set(groups)) == 3


def test_a_column_of_patients_becomes_a_pseudonym_and_is_not_kept(desk):
    given = [{**row, "patient": "Doe-17"} for row in rows.MM_RLHF]
    ours = desk.read("mm-rlhf", given, group="patient", key=b"0123456789abcdef")
    other = desk.read("mm-rlhf", given, out="other", group="patient", key=b"another key of 16")
    groups = {pair.group_id for pair in read_records(ours, Preference)}
    assert len(groups) == 1 and groups != {pair.group_id for pair in read_records(other, Preference)}
    text = (ours / "records.jsonl").read_text() + (ours / "manifest.json").read_text()
    assert "Doe-17" not in text and "0123456789abcdef" not in text
    with pytest.raises(DataError, match="record 'row 2', field 'patient': got None"):
        desk.read("mm-rlhf", [given[0], rows.MM_RLHF[1]], out="x", group="patient", key=b"0123456789abcdef")
    with pytest.raises(ValueError, match="group and key belong together"):
        desk.read("mm-rlhf", given, out="x", group="patient")


def test_dropped_fields_are_not_kept(desk):
    ours = desk.read("rlaif-v", rows.RLAIF_V, "parquet", drop=("image_path", "origin_split"))
    assert "x.jpg" not in (ours / "records.jsonl").read_text()


def test_a_record_that_does_not_fit_is_named_or_listed_and_nothing_is_half_written(desk):
    with DatasetBuild(desk.root / "pairs", "preference", {}) as build:
        for name, chosen in (
            ("long", (assistant("A."), user("Where?"), assistant("Left."))),
            ("mark", (assistant("An <image> literally."),)),
            ("good", (assistant("A."),)),
        ):
            build.commit(name, [Preference(
                id=name, case_id=name, group_id="g", split="train", images=(), prompt=(user("What?"),),
                chosen=chosen, rejected=(assistant("B."),), source="human",
            )])  # fmt: skip
    out = desk.root / "out"
    with pytest.raises(DataError, match="record 'long', field 'chosen': the answer has 3 turns"):
        export_rows(get_format("ms-swift"), desk.root / "pairs", out)
    assert not out.exists() and not out.with_name("out.partial").exists()
    report = export_rows(get_format("ms-swift"), desk.root / "pairs", out, on_unfit="skip")
    assert report.records == 1 and report.left_out == {"unfit:chosen": 2}
    assert [line["id"] for line in json.loads((out / "conversion.json").read_text())["unfit"]] == ["long", "mark"]


def test_columns_and_tags_of_dataset_info_are_understood(desk):
    row = {
        "dialogue": [said("user", "<image>What?")], "better": said("assistant", "A."),
        "worse": said("assistant", "B."), "pics": ["pictures/0.png"],
    }  # fmt: skip
    desk.write([row], "json", name="mine")
    entry = {
        "file_name": "mine.json", "formatting": "sharegpt", "ranking": True,
        "columns": {"messages": "dialogue", "chosen": "better", "rejected": "worse", "images": "pics"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    }  # fmt: skip
    info = desk.root / "in" / "dataset_info.json"
    info.write_text(json.dumps({"mine": entry, "sft": {"file_name": "sft.json"}}))
    (pair,) = read_records(desk.read("llama-factory", desk.root / "in"), Preference)
    assert (pair.prompt[0].n_images, pair.chosen[0].text, pair.rejected[0].text) == (1, "A.", "B.")
    info.write_text(json.dumps({"mine": {**entry, "file_name": "../mine.json"}}))
    with pytest.raises(DataError, match="field 'file_name': the file of rows, '../mine.json', is not below"):
        desk.read("llama-factory", desk.root / "in", out="x")
    info.write_text(json.dumps({"a": entry, "b": entry}))
    with pytest.raises(DataError, match="2 entries are rankings .a, b.. Name one with --dataset"):
        desk.read("llama-factory", desk.root / "in", out="x")


def test_an_interrupted_import_continues_to_the_same_bytes(desk, monkeypatch):
    whole = desk.read("llava", rows.LLAVA, out="whole")
    commit, calls = DatasetBuild.commit, []

    def killed(self, *args, **kwargs):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        commit(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DatasetBuild, "commit", killed)
        desk.read("llava", rows.LLAVA)
    desk.read("llava", rows.LLAVA)
    for name in ("records.jsonl", "manifest.json"):
        assert (desk.root / "ours" / name).read_bytes() == (whole / name).read_bytes()


def test_what_export_trl_adds_is_read_back(desk, pair_folders):
    from vlmalign.data import export_trl_parquet

    pairs = pair_folders.pairs("pairs", {"a": {"weight": 0.5}, "b": {"source": "judge"}})
    path = export_trl_parquet(pairs, desk.root / "in" / "pairs.parquet")
    again = desk.read("trl", path)
    assert (again / "records.jsonl").read_bytes() == (pairs / "records.jsonl").read_bytes()
