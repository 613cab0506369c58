"""Damaged, foreign and impossible files of predictions: one plain message, code 2, nothing written."""

import gzip
import json

import pytest

PAIR = {"id": "a", "score_chosen": 1.0, "score_rejected": 0.0, "subset": "hep-go"}
MM = "index\tA\tB\tanswer\tprediction\n"
VL = {"id": "x", "query": "q", "response": ["a", "b"], "ranking": [0, 1],
      "meta": {"random_number": 0, "filter_choice": "Answer 1 is better"}}  # fmt: skip

FILES = [
    ("reward-bench", "x.json", b"", "the file is empty"),
    ("reward-bench", "x.json", [], "it holds no item"),
    ("reward-bench", "x.json", {}, "there are no fields at all"),
    ("reward-bench", "x.json", [PAIR, PAIR], "1 ids are used more than once"),
    ("rm-bench", "x.json", [{"id": 1, "score_chosen": [1, 2, 3], "score_rejected": [0] * 3}] * 2, "more than "
    "once"),
    ("reward-bench", "x.json.gz", gzip.compress(b"[]"), "compressed with gzip, which is not read. Unpack it "
    "first"),
    ("reward-bench", "x.json", "[]".encode("utf-16"), "it is UTF-16 text"),
    ("reward-bench", "x.json", "é".encode("latin1"), "byte 0 is no UTF-8"),
    ("reward-bench", "x.json", b"[" * 100_000, "nested too deeply"),
    ("reward-bench", "x.json", b'[{"a": ' + b"9" * 5000 + b"}]", "a number has thousands of digits"),
    ("vl-rewardbench", "x.jsonl", [{**VL, "ranking": 5}], "ranking is 5"),
    ("vl-rewardbench", "x.jsonl", [{**VL, "response": ["a", None]}], "two texts"),
    ("mmbench", "x.tsv", b"", "the file is empty"),
    ("mmbench", "x.tsv", MM.encode(), "a heading and no row"),
    ("mmbench", "x.tsv", MM.replace("A", "index").encode() + b"1\t2\ty\tB\tA\n", "the heading names index more "
    "than"),
    ("mmbench", "x.tsv", MM.encode() + b'1\tx\ty\tA\t"open\n2\tx\ty\tA\tB\n', "a quote may be left open"),
    ("mmbench", "x.jsonl", [{"index": "1e999", "A": "x", "B": "y", "answer": "A", "prediction": "A"}],
     "the index is '1e999', expected a whole number"),
    ("mmbench", "x.jsonl", [{"index": 1.5, "A": "x", "B": "y", "answer": "A", "prediction": "A"}], "whole number"),
    ("mm-vet", "x.jsonl", [{"index": 1, "category": 5, "score": 1}], "its capabilities are 5"),
    ("mediconfusion", "x.jsonl", [{"id": 1, "im_1_correct": "A", "im_2_correct": "B", "prediction": "A"}],
     "expected one to each image"),
    ("mediconfusion", "x.jsonl", [{"id": 1, "im_1_correct": "A", "im_2_correct": "B",
                                   "prediction": {"im1": {"A": "x", "B": 2}}}], "expected numbers"),
    ("scienceqa", "x.json", {"1": {"choices": 5, "answer": 0, "prediction": 1}}, "its choices are 5"),
    ("chair", "x.json", [{"image_id": 1, "caption": "a dog", "objects": 5}], "its objects are 5"),
    ("mj-bench", "x.json", [{"score_0": 1, "score_1": 0, "label": 2}], "expected 0, 1 or tie"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "content", "says"), FILES, ids=range(len(FILES)))
def test_a_file_that_cannot_be_meant_is_refused(refused, tmp_path, name, file, content, says):
    if not isinstance(content, bytes):
        rows = content if file.endswith("jsonl") else [content]
        content = "\n".join(json.dumps(row) for row in rows).encode()
    (tmp_path / file).write_bytes(content)
    said = refused("evaluate", "benchmark", name, "--predictions", file, "--json", "out.json", says=says)
    assert len(said) < 600 and [path.name for path in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize(
    ("name", "option", "says"),
    [
        ("reward-bench", "threshold=-1", "give 0 or more"),
        ("reward-bench", "threshold=nan", "expected a finite number"),
        ("mj-bench", "threshold=inf", "expected a finite number"),
        ("mj-bench", "perspective=beauty", "expected one of , alignment, safety, quality"),
        ("reward-bench", "subsets=latin.txt", "latin.txt: byte 0 is no UTF-8"),
        ("report-findings", "metrics=gren", "Did you mean 'green'?"),
        ("report-findings", "logic=peripheral_smear", "has no enlarged_cardiomediastinum"),
        ("scienceqa", "split=test", "it holds no item with split=test"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(refused, tmp_path, name, option, says):
    (tmp_path / "latin.txt").write_bytes("é".encode("latin1"))
    row = {**PAIR, "score_0": 1, "score_1": 0, "label": 0, "reference": "Edema.", "prediction": "Edema.",
           "choices": ["a", "b"], "answer": 0, "split": "val"}  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps([row]))
    refused(
        "evaluate", "benchmark", name, "--predictions", "x.json", "--set", option, "--json", "f.json", says=says
    )
    assert not (tmp_path / "f.json").exists()


def test_where_figures_cannot_be_written_is_said_before_the_work_and_no_input_is_overwritten(refused, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps([PAIR]))
    (tmp_path / "folder").mkdir()
    run = ("evaluate", "benchmark", "reward-bench", "--predictions", "x.json", "--json")
    refused(*run, "folder", says="--json folder: this is a folder")
    refused(*run, "x.json", says="this would change the input x.json")
    refused(*run, "x.json/f.json", says="this would change the input x.json")
    (tmp_path / "y").write_text("")
    refused(*run, "y/f.json", says="y is a file, not a folder")
    assert json.loads((tmp_path / "x.json").read_text()) == [PAIR]


def test_line_ends_of_windows_a_byte_order_mark_and_unscored_numbers_are_no_damage(vlmalign, tmp_path):
    lines = [
        json.dumps({**PAIR, "id": k, "score_chosen": value}) for k, value in enumerate((1, float("nan"), None))
    ]
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    found = vlmalign("evaluate", "benchmark", "reward-bench", "x.jsonl")
    assert (
        found.code == 0 and "1 unparsed" in found.out and "1 scored" in found.out and "2983 missing" in found.out
    )
