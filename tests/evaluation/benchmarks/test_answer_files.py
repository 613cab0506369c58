import pytest

from vlmalign.evaluation.benchmarks.answer_files import read_answered, read_rows
from vlmalign.evaluation.benchmarks.ratios import mean_of_shares, share_of_sums
from vlmalign.records import DataError


def test_a_damaged_file_is_named_with_its_place_and_not_read(tmp_path):
    nul = tmp_path / "nul.json"
    nul.write_bytes(b'[{"id": 1}\n' + bytes(8) + b"]")
    with pytest.raises(DataError, match=r"nul.json.*NUL"):
        read_rows(nul)
    half = tmp_path / "half.jsonl"
    half.write_text('{"id": 1}\n{"id": 2, "pre')
    with pytest.raises(DataError, match="half.jsonl:2"):
        read_rows(half)
    short = tmp_path / "short.tsv"
    short.write_text("index\tA\tanswer\n1\tx\n")
    with pytest.raises(DataError, match="short.tsv:2: the row has not the 3 columns"):
        read_rows(short)
    with pytest.raises(DataError, match="xlsx is not a format that is read"):
        read_rows(tmp_path / "a.xlsx")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("a.jsonl", [{"id": 1, "x": 2}]),
        ("a.json", [{"id": 1, "x": 2}]),
        ("a.json", {"data": [{"id": 1, "x": 2}]}),
        ("a.json", {"1": {"x": 2}}),
    ],
)
def test_all_shapes_of_a_log_give_the_same_rows(write_log, name, rows):
    assert [(str(row["id"]), row["x"]) for row in read_rows(write_log(name, rows))] == [("1", 2)]


def test_a_question_without_an_answer_stays_and_doubles_are_refused(write_log):
    asked = write_log("q.jsonl", [{"id": 1, "truth": "x"}, {"id": 2, "truth": "y"}])
    found = read_answered([write_log("a.jsonl", [{"id": 2, "text": "y"}]), asked], truth=("truth",))
    assert [(item.id, item.prediction) for item in found] == [("1", None), ("2", "y")]
    with pytest.raises(DataError, match="record '2': it is answered twice"):
        read_answered([asked, write_log("b.jsonl", [{"id": 2, "text": "y"}] * 2)], truth=("truth",))
    with pytest.raises(DataError, match="record '1': the id is used twice"):
        read_answered([asked, asked], truth=("truth",))
    with pytest.raises(DataError, match="no row has an answer"):
        read_answered([asked], truth=("truth",))
    with pytest.raises(DataError, match="there is no truth to score against"):
        read_answered([write_log("c.jsonl", [{"id": 2, "text": "y"}])], truth=("truth",))


def test_a_ratio_of_sums_widens_with_clusters_and_ignores_items_without_a_total():
    hits, totals = [1.0, 1.0, 0.0, 0.0] * 10, [1.0, 1.0, 1.0, 1.0] * 10
    alone = share_of_sums(hits, totals, list(range(40)))
    together = share_of_sums(hits, totals, [k // 2 for k in range(40)])
    assert alone.mean == together.mean == 0.5
    assert together.high - together.low > 1.2 * (alone.high - alone.low)
    padded = share_of_sums([*hits, 0], [*totals, 0], list(range(41)))
    assert (padded.n, padded.n_groups, padded.low) == (40, 40, alone.low)


def test_a_ratio_at_an_end_still_has_an_interval():
    found = share_of_sums([1.0] * 10, [1.0] * 10, list(range(10)))
    assert (found.mean, round(found.low, 4), found.high) == (1.0, 0.6915, 1.0)


def test_macro_means_leave_out_classes_without_any_total():
    found = mean_of_shares([[1, 0, 0], [0, 1, 0]], [[1, 1, 0], [1, 1, 0]], ["a", "b"], weights=[3, 1, 5])
    assert found.mean == pytest.approx((3 * 0.5 + 1 * 0.5) / 4)
    with pytest.raises(ValueError, match="item 0: its hits are not between 0 and its total"):
        share_of_sums([2.0], [1.0], ["a"])
