"""`vlmalign evaluate benchmark`, `list` and `lint`."""

import hashlib
import json


def test_predictions_are_scored_shown_and_written_whatever_way_the_files_are_given(vlmalign, tmp_path):
    row = {"score_chosen": 1, "score_rejected": 0, "chosen": "</script>[red]x", "rejected": "y"}
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(json.dumps([{**row, "id": name}]))
    one = vlmalign(
        "evaluate", "benchmark", "reward-bench", "--predictions", "a.json", "b.json", "--json", "f.json"
    )
    assert one.code == 0, one.err
    assert "2 items: 2 scored" in one.out and "a tie is wrong" in one.out and "Null baselines" in one.out
    two = vlmalign("evaluate", "benchmark", "reward-bench", "--predictions", "a.json", "--predictions", "b.json")
    assert two.code == 0 and "2 items: 2 scored" in two.out
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["tables"]["all"]["rows"]["all pairs"]["coverage"]["n"] == 2
    assert figures["options"]["weights"] == "published"


def test_what_cannot_be_scored_is_one_plain_message_and_writes_nothing(vlmalign, tmp_path):
    (tmp_path / "x.json").write_bytes(b"[" + bytes(3) + b"]")
    bad = vlmalign("evaluate", "benchmark", "reward-bench", "--predictions", "x.json", "--json", "f.json")
    assert bad.code == 2 and "bytes 1 to 3 (3 bytes) are NUL" in bad.err
    assert not (tmp_path / "f.json").exists()
    for arguments, told in (
        (("reward-bnech", "--predictions", "x.json"), "Did you mean 'reward-bench'?"),
        (("reward-bench",), "no prediction file is given"),
        (("reward-bench", "x.json", "--set", "weights"), "expected option=value"),
    ):
        result = vlmalign("evaluate", "benchmark", *arguments)
        assert result.code == 2 and told in result.err


def test_the_list_names_benchmarks_with_formats_and_options(vlmalign):
    result = vlmalign("evaluate", "list")
    assert result.code == 0
    for told in ("vl-rewardbench", "mj-bench-bias", "rm-bench", "reads hits:", "--set damaged=refuse"):
        assert told in result.out


def test_a_table_that_does_not_add_up_ends_with_code_1_and_says_where(vlmalign, tmp_path):
    lines = ["model,a,b,mean", "good,50.0,60.0,55.0", "bad,50.0,60.0,58.0"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    rule = ("--whole", "mean", "--part", "a", "--part", "b")
    result = vlmalign("evaluate", "lint", "t.csv", *rule, "--json", "f.json")
    assert result.code == 1
    assert "line 3: impossible: bad: mean 58 cannot come from the parts, which give 55.00" in " ".join(
        result.out.split()
    )
    assert len(json.loads((tmp_path / "f.json").read_text())["findings"]) == 2
    (tmp_path / "t.csv").write_text("\n".join(lines[:2]))
    assert vlmalign("evaluate", "lint", "t.csv", *rule).code == 0
    unnamed = vlmalign("evaluate", "lint", "t.csv")
    assert unnamed.code == 2 and "no rule fits its columns" in unnamed.err


def test_the_page_holds_tables_null_baselines_and_what_was_said_against_what_is_true(vlmalign, tmp_path):
    hostile = "no </td><script>alert(1)</script>"
    rows = [
        {"question_id": k, "image": f"{k // 2}.png", "text": "Is there a dog?", "label": "yes" if k < 4 else "no",
         "prediction": hostile if k in (0, 5, 6) else "I cannot say" if k == 7 else "yes"}
        for k in range(8)
    ]  # fmt: skip
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = vlmalign("evaluate", "benchmark", "pope", "--predictions", "p.jsonl", "--report", "r/page.html")
    assert result.code == 0, result.err
    page = (tmp_path / "r" / "page.html").read_text()
    assert "always yes" in page and "<script" not in page and "data:image/svg" in page
    confusion = page[page.index('id="confusion"') : page.index('id="notes"')]
    setup = page[page.index('id="setup"') :]
    assert ">p.jsonl<" in setup and "<td>8</td>" in setup and str(tmp_path) not in page
    assert hashlib.sha256((tmp_path / "p.jsonl").read_bytes()).hexdigest() in setup
    cells = [int(cell.split(">")[1].split("<")[0]) for cell in confusion.split("<td")[1:]]
    assert cells == [2, 1, 1, 1, 3, 0]  # true no: said no, yes, not read; true yes: the same


def test_a_benchmark_that_has_no_null_baseline_says_so(vlmalign, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"alpacaeval-easy": 0.9}))
    result = vlmalign("evaluate", "benchmark", "reward-bench", "a.json", "--report", "r.html")
    assert result.code == 0, result.err
    assert "no null baseline: these files do not tell" in result.out
    assert "None could be computed" in (tmp_path / "r.html").read_text()
