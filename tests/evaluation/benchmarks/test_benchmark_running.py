import hashlib

import pytest

from vlmalign.evaluation.benchmarks import BENCHMARKS, find_benchmark, run_benchmark
from vlmalign.evaluation.benchmarks.combining import weighted_mean
from vlmalign.evaluation.benchmarks.own_pairs import read_own_pairs
from vlmalign.evaluation.benchmarks.prediction_files import prediction_file
from vlmalign.records import DataError, DatasetBuild, Judgement

STRICT = "accuracy, a tie is wrong"


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_benchmark_names_its_source_formats_and_options(name):
    found = find_benchmark(name)
    assert found.name == name and found.title and found.formats
    assert all(option.help for option in found.options.values())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"math": "1"}, "unknown option 'math'"),
        ({"damaged": "maybe"}, "expected one of refuse, skip"),
        ({"threshold": "much"}, "expected a finite number"),
        ({"threshold": "nan"}, "expected a finite number"),
    ],
)
def test_options_are_refused_before_a_file_is_read(options, told):
    with pytest.raises(ValueError, match=told):
        run_benchmark(find_benchmark("reward-bench"), ["/no/such/file"], options)


def test_a_missing_file_and_no_file_are_named():
    with pytest.raises(DataError, match="/no/such/file: no such file"):
        run_benchmark(find_benchmark("reward-bench"), ["/no/such/file"])
    with pytest.raises(ValueError, match="no prediction file"):
        run_benchmark(find_benchmark("reward-bench"), [])


def test_a_weighted_mean_is_its_parts_mean_and_nothing_where_a_part_has_none():
    parts = {"a": ([1.0, 0.0, None], "xyz"), "b": ([1.0], "w")}
    mean = weighted_mean(parts)
    assert (mean.mean, mean.n, mean.n_groups, mean.excluded) == (0.75, 3, 3, 1)
    empty = weighted_mean({"a": parts["a"], "b": ([None], "w")})
    assert empty.mean is None and empty.excluded == 4
    with pytest.raises(ValueError, match="one weight for each part"):
        weighted_mean(parts, {"a": 1.0})


def test_a_weighted_mean_of_one_part_has_the_interval_of_that_part():
    from vlmalign.evaluation import cluster_estimate

    values, groups = [float(k % 3 == 0) for k in range(90)], [k // 2 for k in range(90)]
    alone, whole = cluster_estimate(values, groups), weighted_mean({"a": (values, groups)})
    assert (whole.low, whole.high) == pytest.approx((alone.low, alone.high), abs=0.015)  # other random draws
    assert whole.n_groups == alone.n_groups == 45 and whole.mean == alone.mean
    few = slice(0, 20)
    alone, whole = cluster_estimate(values[few], groups[few]), weighted_mean({"a": (values[few], groups[few])})
    assert (whole.low, whole.high) == pytest.approx((alone.low, alone.high))  # t over ten clusters: no draws


def verdict(pair, said, k=0, shown="chosen", **more):
    sides = (f"{pair}/chosen", f"{pair}/rejected")
    state = {"verdict": said} if said else {"valid": False, "invalid_reason": "refused: no"}
    order = sides if shown == "chosen" else sides[::-1]
    return Judgement(
        id=f"{pair}-{k}", case_id=f"case-{pair}", candidate_ids=sides, criterion="x", judge="j@1",
        display_order=more.get("order", order), **state,
    )  # fmt: skip


def write(folder, judgements):
    with DatasetBuild(folder, "judgement", {"name": folder.name}) as build:
        for judgement in judgements:
            build.commit(judgement.id, [judgement])
    return folder


def test_our_own_scores_are_read_with_ties_refusals_and_missing_ones(pair_folders):
    subsets = {n: {"provenance": {"subset": "hep-go" if n < "c" else "math-prm"}} for n in "abcd"}
    pairs = pair_folders.pairs("pairs", subsets)
    judged = pair_folders.judged_pairs("judged", {"a": (2, 1), "b": (1, 1), "c": ("refused: no", 1)})
    result = run_benchmark(find_benchmark("reward-bench"), [pairs, judged])
    assert {k: v for k, v in result.counts.items() if k != "missing"} == {"scored": 1, "tied": 1, "refused": 1}
    row = result.table("all").rows["all pairs"][STRICT]
    assert (row.mean, row.n, row.excluded, row.n_groups) == (0.5, 2, 2, 2)


def test_our_own_verdicts_vote_and_need_a_majority(pair_folders, tmp_path):
    pairs = pair_folders.pairs("pairs", {n: {} for n in "abc"})
    judged = write(
        tmp_path / "judged",
        [
            *(verdict("a", said, k) for k, said in enumerate(("first", "first", "second"))),
            *(verdict("b", said, k) for k, said in enumerate(("first", "second"))),
            *(verdict("c", said, k, shown="rejected") for k, said in enumerate(("second", None, None))),
        ],
    )
    items = read_own_pairs([pairs, judged])
    assert [(i.state, i.outcome) for i in items] == [
        ("scored", "right"), ("no_majority", None), ("refused", None),
    ]  # fmt: skip
    assert [i.better_shown_first for i in items] == [1.0, 1.0, 0.0]


def test_a_verdict_joined_from_both_orders_counts_alone(pair_folders, tmp_path):
    pairs = pair_folders.pairs("pairs", {"a": {}})
    single = [verdict("a", "first", 0), verdict("a", "second", 1, shown="rejected")]
    judged = write(tmp_path / "judged", [*single, verdict("a", "tie", 2, order=None)])
    assert [i.state for i in read_own_pairs([pairs, judged])] == ["tied"]


def test_folders_that_do_not_belong_together_are_refused(pair_folders):
    pairs = pair_folders.pairs("pairs", {"a": {}, "b": {"judge_ids": ("fake@1",)}})
    strange = pair_folders.judged_pairs("strange", {"z": (1, 0)}, judge="other@1")
    own = pair_folders.judged_pairs("own", {"a": (1, 0)})
    with pytest.raises(DataError, match="no judgement is of a side"):
        read_own_pairs([pairs, strange])
    with pytest.raises(DataError, match="its own word"):
        read_own_pairs([pairs, own])
    with pytest.raises(DataError, match="one of preferences and one or more of judgements"):
        read_own_pairs([pairs])


@pytest.mark.parametrize("n", [1, 6, 7, 29])  # 29 times 1 / 29 is more than 1, 6 times 1 / 6 less
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_average_of_parts_that_are_all_alike_is_that_value_with_room_for_what_was_not_seen(n, value):
    parts = {str(k): ([value] * 2, [f"{k}/0", f"{k}/1"]) for k in range(n)}
    mean = weighted_mean(parts, dict.fromkeys(parts, 1 / n))
    bound = 1 - 0.025 ** (1 / (2 * n))
    assert mean.mean == value and mean.n == mean.n_groups == 2 * n
    assert (mean.low, mean.high) == pytest.approx((value * (1 - bound), value + (1 - value) * bound))


def test_a_result_names_its_files_by_name_hash_and_rows(write_log, run):
    rows = [{"id": k, "score_chosen": 1, "score_rejected": 0} for k in range(3)]
    files = [write_log("a.json", rows), write_log("b.jsonl", [{**row, "id": f"b{row['id']}"} for row in rows])]
    found = run("reward-bench", *files).to_dict()["files"]
    assert [(each["name"], each["rows"]) for each in found] == [("a.json", 3), ("b.jsonl", 3)]
    assert [each["sha256"] for each in found] == [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]
    files[0].write_text(files[0].read_text() + " ")
    assert run("reward-bench", *files).to_dict()["files"][0]["sha256"] != found[0]["sha256"]


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("t.csv", 'id,prediction\n1,"a\nb"\n2,c\n', 2),
        ("o.json", '{"q1": "yes", "q2": "no", "q3": "no"}', 3),
        ("s.json", '{"acc": 1, "outputs": {"1": "A", "2": "B"}}', 2),
        ("hits.json", '{"out_all": [1, 0], "out_general": [1]}', None),
        ("l.jsonl", '{"id": 1}\n', 1),
    ],
)
def test_rows_are_predictions_not_lines(tmp_path, name, text, rows):
    (tmp_path / name).write_text(text)
    assert prediction_file(tmp_path / name).rows == rows


def test_a_record_folder_is_named_without_its_path(tmp_path):
    with DatasetBuild(tmp_path / "judged", "judgement", {}) as build:
        build.commit("u", [Judgement(id="j", case_id="c", candidate_ids=("c/0",), judge="r@1", criterion="x",
                                     score=1.0)])  # fmt: skip
    found = prediction_file(tmp_path / "judged")
    assert (found.name, found.rows) == ("judged", 1)
    assert found.sha256 == hashlib.sha256((tmp_path / "judged" / "records.jsonl").read_bytes()).hexdigest()
