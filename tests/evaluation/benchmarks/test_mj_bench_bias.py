import json
import os
from pathlib import Path

import pytest

from vlmalign.evaluation.benchmarks import find_benchmark, run_benchmark
from vlmalign.evaluation.benchmarks.bias_scores import close_pairs, dispersion_score, equality_score
from vlmalign.records import DataError

LOGS = Path(os.environ.get("VLMALIGN_DATA", Path(__file__).parents[3].parent / "shared" / "data")) / "mjbench_logs"
needs_logs = pytest.mark.skipif(not LOGS.is_dir(), reason="the logs of MJ-Bench are absent (VLMALIGN_DATA)")
CLAUDE, GPT = "new_bias_dataset_claude-3-opus.json", "new_bias_dataset_gpt-4o.json"


def run(files, **options):
    return run_benchmark(find_benchmark("mj-bench-bias"), files, options)


def figures(result, table, row):
    return [round(100 * result.table(table).rows[row][name].mean, 2) for name in ("ACC", "NDS", "GES")]


def test_the_measures_meet_hand_worked_numbers():
    assert close_pairs([0, 0.1, 0.25, 1]) == 1 / 6  # the pair (0, 0.1) alone
    assert dispersion_score([2, 4, 6]) == pytest.approx(1 - (8 / 3) ** 0.5 / 4)
    assert equality_score([1, 2, 3]) == pytest.approx(1 - (2 * (1 + 4 + 9) - 4 * 6) / (3 * 6))


def test_equal_scores_are_perfect_and_a_scale_with_negative_values_has_no_dispersion():
    assert close_pairs([3, 3]) == dispersion_score([3, 3]) == equality_score([3, 3]) == 1.0
    assert dispersion_score([-1, 2]) is equality_score([-1, 2]) is dispersion_score([0, 0]) is None
    assert close_pairs([1]) is None


def rows(ratings, analysis=None):
    return [
        {"occupation": job, "demographic": str(k), "judge-x": rating, "analysis": (analysis or {}).get((job, k))}
        for job, values in ratings.items()
        for k, rating in enumerate(values)
    ]


def write(path, found):
    path.write_text(json.dumps(found))
    return path


def test_occupations_weigh_alike_or_by_their_images(tmp_path):
    file = write(tmp_path / "a.json", rows({"a": [1, 1], "b": [1, 5, 5, 5]}))
    result = run([file])
    assert figures(result, "occupation_raw", "judge-x")[0] == 75.0  # (1 + 3 / 6) / 2
    assert figures(result, "image_raw", "judge-x")[0] == 66.67  # (2 * 1 + 4 * 1 / 2) / 6


def test_a_refusal_is_shown_as_stored_and_left_out(tmp_path):
    file = write(
        tmp_path / "a.json", rows({"a": [3, 5, 5], "b": [4, 5]}, {("a", 0): "I apologize, but I cannot."})
    )
    result = run([file])
    assert result.counts == {"scored": 4, "refused": 1}
    kept = result.table("occupation_raw").rows["judge-x, refusals as stored"]["ACC"].mean
    left = result.table("occupation_raw").rows["judge-x, refusals left out"]["ACC"].mean
    assert (round(kept, 3), left) == (round((1 / 3 + 0) / 2, 3), 0.5)


def test_two_files_of_one_judge_are_refused(tmp_path):
    files = [write(tmp_path / f"{name}.json", rows({"a": [1, 2]})) for name in "xy"]
    with pytest.raises(DataError, match="same judge"):
        run(files)


@needs_logs
def test_published_scorers_are_met_by_occupation_means_of_rescaled_scores():
    result = run([LOGS / GPT])
    met = {
        "clipscore_v2": [57.42, 76.34, 86.92],
        "hps_v2.1": [55.00, 77.93, 87.63],
        "aesthetics": [61.45, 85.73, 92.08],
        "blipscore": [68.70, 83.68, 91.33],
        "ImageReward": [40.87, 73.78, 85.30],
        "gpt-4o, refusals as stored": [65.75, 82.50, 92.74],
    }
    assert {name: figures(result, "occupation_normalised", name) for name in met} == met
    assert figures(result, "image_normalised", "gpt-4o, refusals as stored") == [66.57, 82.73, 92.88]
    assert result.table("occupation_normalised").rows["pickscore_v1"]["ACC"].mean is None
    assert any("pickscore_v1 is 1 for every image" in note for note in result.notes)
    assert result.counts == {"scored": 1546, "filtered": 2}


@needs_logs
def test_apologies_stored_as_a_3_are_refusals_beside_the_published_convention():
    result = run([LOGS / CLAUDE], paper="Claude 3 Opus, 0-5")
    assert result.counts == {"scored": 1277, "refused": 271}
    assert figures(result, "image_normalised", "claude-3-opus, refusals as stored") == [58.16, 66.08, 85.23]
    left = result.table("image_normalised").rows["claude-3-opus, refusals left out"]["ACC"]
    assert (left.n, left.excluded) == (1277, 271)
    assert "is met within 0.1 by: claude-3-opus, refusals as stored (mean over images" in result.notes[-1]


@needs_logs
@pytest.mark.parametrize(
    ("judge", "paper", "convention"),
    [
        ("gpt-4o", "GPT-4o, 0-10", "occupations, rescaled"),
        ("claude-3-opus", "Claude 3 Opus, 0-10", "occupations, raw"),
    ],
)
def test_the_published_ten_point_rows_mix_two_conventions(judge, paper, convention):
    file = LOGS / "scales" / f"scale_10_bias_dataset_{judge}.json"
    result = run([file], first="300", scorer=judge, paper=paper)
    assert convention in result.notes[-1] and result.notes[-1].count("mean over") == 1


@needs_logs
def test_dropping_the_refusals_of_the_ten_point_file_turns_its_numbers_over():
    file = LOGS / "scales" / "scale_10_bias_dataset_claude-3-opus.json"
    result = run([file], first="301", scorer="claude-3-opus")
    assert result.counts == {"refused": 171, "scored": 130}
    kept = figures(result, "occupation_raw", "claude-3-opus, refusals as stored")
    left = figures(result, "occupation_raw", "claude-3-opus, refusals left out")
    assert kept[0] > left[0] + 8 and left[1] > kept[1] + 25


def test_the_dispersion_score_is_at_most_one_and_so_is_its_interval(tmp_path):
    file = write(tmp_path / "x.json", rows({"nurse": [4, 4], "pilot": [1, 5]}))
    found = run([file]).table("occupation_raw").rows["judge-x"]["NDS"]
    assert found.low < 0 and found.high == 1.0


def test_a_log_of_fewer_people_than_the_published_ones_says_so(tmp_path):
    found = run([write(tmp_path / "x.json", rows({"nurse": [1, 2]}))])
    assert "judge-x: 2 rows; the published logs have 1,548, those of other scales 301" in found.notes


def test_images_without_a_number_are_counted_and_not_passed_over(tmp_path):
    found = rows({"nurse": [4, 2, None], "pilot": [1, 5, "?"]})
    for k, row in enumerate(found):
        row["hps_v2.1"] = None if k == 0 else k / 10
    result = run([write(tmp_path / "x.json", found)])
    of_images = {name: row["ACC"] for name, row in result.table("image_raw").rows.items()}
    assert {name: (e.n, e.excluded) for name, e in of_images.items()} == {"hps_v2.1": (5, 1), "judge-x": (4, 2)}
    assert "judge-x: 2 images have no number and are in no figure" in result.notes
    assert result.counts == {"scored": 4, "missing": 1, "unparsed": 1}
