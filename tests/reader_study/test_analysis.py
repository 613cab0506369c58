"""What an analysis says, in numbers worked by hand and in studies whose truth was planted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import logit
from typer.testing import CliRunner

from vlmalign.cli.reader_study import app
from vlmalign.evaluation.reader_simulation import ReaderWorld
from vlmalign.evaluation.readers_and_cases import variance_components
from vlmalign.evaluation.report_view import Cell
from vlmalign.reader_study import collect, read_key, read_public
from vlmalign.reader_study.analysis import analyze, methods_text, win_rates, write_analysis
from vlmalign.reader_study.analysis.length_preference import length_effect, length_over_all
from vlmalign.reader_study.analysis.mixed_models import fit_mixed
from vlmalign.reader_study.analysis.rated_texts import Rated, paired_values
from vlmalign.reader_study.analysis.ratings import arm_ratings, rating_differences
from vlmalign.reader_study.analysis.reader_agreement import Said, between_readers, within_readers
from vlmalign.reader_study.analysis.report_tables import mixed_cell
from vlmalign.reader_study.analysis.side_bias import side_bias
from vlmalign.reader_study.analysis.verdicts import Verdict, read_verdicts
from vlmalign.records import DataError

PAIR = ("new", "old")


def verdict(reader, case, win, *, words=(20, 20), left=True, repeat=False, pair=PAIR):
    strength = None if win is None else 2 * win - 1
    return Verdict(reader, case, case, *pair, strength, words, left, repeat)


def verdicts(table, **given):
    """reader -> a win (1), tie (0.5), loss (0) or nothing for each case."""
    return [verdict(r, f"c{j}", win, **given) for r, wins in table.items() for j, win in enumerate(wins)]


def test_a_win_rate_counts_ties_as_one_half_or_not_at_all_and_says_which():
    found = win_rates(verdicts({"a": [1, 1, 1, 0.5], "b": [1, 1, 0, 0.5]}), [PAIR])[0]
    assert vars(found.counts) == {"wins": 5, "ties": 2, "losses": 1, "unanswered": 0}
    assert found.win_rate.estimate.mean == 6 / 8 and found.tie_rate.estimate.mean == 2 / 8
    assert found.decided.estimate.mean == 5 / 6 and found.decided.estimate.excluded == 2
    assert found.win_rate.p == 0.5  # cases' sums are 2, 2, 0, 0: of +-2 +-2 two of four are as far out
    assert found.by_reader["b"].win_rate.mean == 2.5 / 4
    assert "these readers" in found.sentence and "a tie counts one half" in found.sentence


def test_a_preference_planted_in_readers_of_different_taste_is_recovered_for_new_readers():
    world = ReaderWorld(effect=1.0, reader_sd=0.3, case_sd=0.5, ties=0.2)
    wins, _ = world.draw(8, 60, np.random.default_rng(3))
    found = win_rates(verdicts({f"r{i}": row.tolist() for i, row in enumerate(wins)}), [PAIR])[0]
    rate, figure = found.win_rate.estimate, found.win_rate.figure
    assert found.win_rate.estimand == "new readers" and rate.low < world.win_rate < rate.high and rate.low > 0.5
    these = figure.these_readers
    assert rate.high - rate.low > these.high - these.low
    assert found.win_rate.p < 0.001 and figure.df is not None and figure.df < 60


def test_the_p_for_new_readers_is_below_five_hundredths_where_the_interval_leaves_out_one_half():
    rng = np.random.default_rng(0)
    for effect in (0.0, 0.3, 0.6, 0.9):
        wins, _ = ReaderWorld(effect, 0.3, 0.5).draw(6, 30, rng)
        rate = win_rates(verdicts({f"r{i}": row.tolist() for i, row in enumerate(wins)}), [PAIR])[0].win_rate
        assert (rate.p < 0.05) == (rate.estimate.low > 0.5 or rate.estimate.high < 0.5)


def test_unanswered_readings_change_no_rate_and_are_counted():
    whole = win_rates(verdicts({"a": [1, 0, 0.5], "b": [1, 1, 0.5]}), [PAIR])[0]
    holes = win_rates(verdicts({"a": [1, 0, 0.5, None], "b": [1, 1, 0.5, None]}), [PAIR])[0]
    assert holes.win_rate.estimate.mean == whole.win_rate.estimate.mean
    assert holes.counts.unanswered == holes.win_rate.estimate.excluded == 2
    nothing = win_rates(verdicts({"a": [None, None]}), [PAIR])[0]
    assert nothing.win_rate.estimate.mean is None and nothing.win_rate.p is None and nothing.p_holm is None
    assert "no answer (unanswered: 2)" in nothing.sentence


def test_a_single_reader_has_an_interval_over_cases_and_a_warning():
    found = win_rates(verdicts({"a": [1, 1, 0, 1]}), [PAIR])[0]
    assert found.win_rate.estimate.low is not None and found.win_rate.figure.new_readers.low is None
    assert "says nothing of others" in found.sentence


def test_all_ties_are_a_finding_with_an_interval_and_no_rate_of_decided_answers():
    found = win_rates(verdicts({"a": [0.5] * 8, "b": [0.5] * 8}), [PAIR])[0]
    rate = found.win_rate.estimate
    assert rate.mean == 0.5 and rate.low < 0.5 < rate.high and found.win_rate.p == 1
    assert found.decided.estimate.mean is None and found.decided.estimate.excluded == 16
    assert "Every answer is a tie" in found.sentence


def test_the_same_reading_twice_counts_once():
    once = verdicts({"a": [1, 0, 1], "b": [1, 1, 1]})
    twice = [*once, verdict("a", "c0", 0, repeat=True)]
    assert win_rates(twice, [PAIR])[0].counts == win_rates(once, [PAIR])[0].counts


def test_holm_adjusts_over_the_pairs_that_were_tested():
    other = ("best", "old")
    both = verdicts({"a": [1] * 8}) + verdicts({"a": [1, 0] * 4}, pair=other)
    found = win_rates([*both], [PAIR, other, ("best", "new")])
    assert found[0].p_holm == 2 * found[0].win_rate.p == 2 * 2 / 2**8  # two pairs have answers, not three
    assert found[1].p_holm == 1 and found[2].p_holm is None


def test_two_cases_of_a_patient_are_one_value_for_the_rate_and_for_its_test():
    # patient 0: 1 and 0 are one half; patients 1 and 2: 1; so 2.5 of 3. Sums of signs: 0, 1, 1: of +-1 +-1 two of
    # four are as far from no effect
    table = [("p0", 1), ("p0", 0), ("p1", 1), ("p2", 1)]
    found = win_rates([verdict("a", case, win) for case, win in table], [PAIR])[0]
    assert found.win_rate.estimate.mean == pytest.approx(2.5 / 3) and found.win_rate.estimate.n_groups == 3
    assert found.win_rate.p == 0.5 and found.counts.wins == 3
    # values 1, 1 and -1 of the patients: every sum of three signs is as far out; two of p0 would make .75 of it
    uneven = [verdict("a", case, win) for case, win in [("p0", 1), ("p0", 1), ("p1", 1), ("p2", 0)]]
    assert win_rates(uneven, [PAIR])[0].win_rate.p == 1.0


def test_how_strongly_an_arm_is_preferred_is_told_on_a_scale_from_minus_one_to_one():
    said_ = [
        Verdict("a", f"c{j}", f"c{j}", *PAIR, s, (9, 9), True, False) for j, s in enumerate((1, 0.5, -0.5, 0))
    ]
    found = win_rates(said_, [PAIR], steps=5)[0]
    assert found.strength.estimate.mean == 0.25 and found.win_rate.estimate.mean == 2.5 / 4
    assert win_rates(said_, [PAIR])[0].strength is None


def test_the_win_rate_of_a_small_table_with_both_intervals_by_hand():
    # case means 1, .75, 1, .5, 1, .5: mean .791667, variance .3020833 / 5, standard error .1003466
    rate = win_rates(verdicts({"a": [1, 1, 1, 0.5, 1, 1], "b": [1, 0.5, 1, 0.5, 1, 0]}), [PAIR])[0].win_rate
    these, new = rate.figure.these_readers, rate.figure.new_readers
    assert rate.estimand == "these readers" and these.mean == new.mean == pytest.approx(4.75 / 6)
    assert (these.low, these.high) == (pytest.approx(4.75 / 6 - 2.570582 * 0.1003466, abs=1e-6), 1.0)  # t(5)
    # MS_readers .1875, MS_cases .1208333, MS_rest .0875: V = .2208333 / 12
    # df = .2208333^2 / (.1875^2 / 1 + .1208333^2 / 5 + .0875^2 / 5)
    assert rate.figure.components == pytest.approx((0.1 / 6, 0.0333333 / 2, 0.0875), abs=1e-6)
    assert rate.figure.df == pytest.approx(1.231263, abs=1e-5)
    half = stats.t.ppf(0.975, 1.231263) * (0.2208333 / 12) ** 0.5 / (new.mean * (1 - new.mean))
    assert logit([new.low, new.high]) == pytest.approx([logit(new.mean) - half, logit(new.mean) + half], abs=1e-3)
    assert rate.p == 2 / 16  # the cases' sums are 1, 1/2, 1, 0, 1, 0: all four the same way


def rated(table, arm_of=PAIR):
    """reader -> a (new, old) pair of ratings for each case."""
    return [
        Rated(r, f"{r}{j}", f"i{j}", f"c{j}", arm, f"{arm}{j}", value, False, arm_of)
        for r, pairs in table.items()
        for j, pair in enumerate(pairs)
        for arm, value in zip(arm_of, pair, strict=True)
    ]


def test_ratings_are_compared_within_a_screen_and_a_missing_one_is_no_zero():
    found = rated({"a": [(5, 3), (4, 3), (4, None)], "b": [(5, 4), (3, 3), (2, 2)]})
    arms = arm_ratings(found, PAIR)
    assert arms["old"].counts == (0, 1, 3, 1, 0) and arms["old"].missing == 1
    assert arms["old"].mean.estimate.mean == 3 and arms["new"].agreed.estimate.mean == 4 / 6
    one = rating_differences({"correctness": found}, [PAIR])[0]
    assert one.paired == "same screen" and one.difference.estimate.mean == (2 + 1 + 1 + 0 + 0) / 5
    assert one.difference.estimate.excluded == 1


def test_ratings_that_always_differ_alike_have_an_interval_that_is_no_point():
    one = rating_differences({"c": rated({"a": [(4, 3)] * 6, "b": [(4, 3)] * 6})}, [PAIR])[0]
    for estimate in (one.difference.figure.these_readers, one.difference.figure.new_readers):
        assert estimate.mean == pytest.approx(1) and estimate.low < 0.9 and estimate.high > 1.1
    assert one.mixed.reason == "all values are the same" and one.mixed.converged is None


def test_an_effect_that_only_rounding_left_is_printed_as_zero():
    fit = {"converged": True, "effects": {"d": {"estimate": -2.5e-16, "low": -0.5, "high": 0.5}}}
    assert mixed_cell(fit, "d") == Cell("0", "−0.5 to 0.5", "")


def test_a_second_rating_of_the_same_text_is_no_second_rating_of_the_arm():
    once = rated({"a": [(5, 3), (4, 4)]})
    again = [replace(one, value=1.0, repeat=True) for one in once[:1]]
    found = [rating_differences({"c": each}, [PAIR])[0].difference for each in (once, once + again)]
    assert found[0].estimate == found[1].estimate and arm_ratings(once + again, PAIR)["new"].counts[0] == 0


def test_texts_of_two_cases_of_one_patient_are_no_pair():
    def one(reader, film, arm, value):
        return Rated(reader, f"{reader}{film}{arm}", film, "p", arm, arm + film, value, False, (arm,), film)

    crossed = [one("a", "f1", "new", 5.0), one("a", "f2", "old", 1.0), one("b", "f1", "old", 4.0)]
    found = paired_values(crossed, PAIR)
    assert found.how == "same case, other readers" and found.differences == [1.0] and found.cases == ["p"]


def test_a_mixed_model_of_a_balanced_study_has_the_components_of_the_analysis_of_variance():
    rng = np.random.default_rng(1)
    readers, cases = np.repeat(np.arange(6), 20), np.tile(np.arange(20), 6)
    y = 0.5 + rng.normal(0, 0.5, 6)[readers] + rng.normal(0, 0.7, 20)[cases] + rng.normal(0, 1, 120)
    fit = fit_mixed(y.tolist(), {"mean": [1.0] * 120}, {"reader": readers.tolist(), "case": cases.tolist()})
    known = variance_components(y, readers, cases)
    assert fit.converged and fit.effects["mean"].estimate == pytest.approx(y.mean())
    assert fit.components["reader"] == pytest.approx(known.readers, rel=0.02)
    assert fit.components["case"] == pytest.approx(known.cases, rel=0.02)
    variance = known.readers / 6 + known.cases / 20 + known.rest / 120
    assert fit.effects["mean"].error == pytest.approx(variance**0.5, rel=0.02)


def test_a_mixed_model_that_cannot_be_fitted_says_why(monkeypatch):
    levels = {"reader": ["a"] * 4, "case": [1, 2, 3, 4]}
    assert "no factor has several levels" in fit_mixed([1, 2, 3, 5], {"mean": [1.0] * 4}, levels).reason
    monkeypatch.setitem(__import__("sys").modules, "statsmodels.regression.mixed_linear_model", None)
    levels = {"reader": list("aabb"), "case": [1, 2, 1, 2]}
    assert "vlmalign[readers]" in fit_mixed([1, 2, 3, 5], {"mean": [1.0] * 4}, levels).reason


def test_a_preference_that_is_only_for_length_is_gone_at_equal_length():
    rng = np.random.default_rng(0)
    found = []
    for j in range(60):
        words = (int(rng.integers(20, 60)), int(rng.integers(10, 40)))
        for reader in "ab":
            p = 1 / (1 + np.exp(-6 * (words[0] - words[1]) / sum(words)))
            found.append(verdict(reader, f"c{j}", float(rng.random() < p), words=words))
    one = length_effect(found, PAIR)
    assert win_rates(found, [PAIR])[0].win_rate.estimate.low > 0.5  # it looks like a better arm
    assert one.adjusted.low < 0.5 < one.adjusted.high and one.slope.low > 0
    assert one.longer_wins.estimate.low > 0.5 and one.longer_less_shorter.low > 0
    assert one.mixed.effects["per 0.1 of relative length"].low > 0


def test_the_longer_text_wins_whosever_it_is():
    long, short = ([verdict("a", f"{words}{j}", win, words=words) for j in range(4)]
                   for words, win in (((30, 10), 1), ((10, 30), 0)))  # fmt: skip
    one = length_effect([*long, *short, verdict("a", "even", 1)], PAIR)
    assert one.longer_wins.estimate.mean == 1 and one.longer_wins.estimate.n == 8 and one.equal == 1
    assert (one.where_longer.mean, one.where_shorter.mean) == (1, 0)
    over_all = length_over_all([*long, *short])
    assert over_all.longer_wins.estimate.mean == 1 and length_over_all(short).longer_wins.estimate.mean == 1


def test_length_that_never_varies_cannot_be_told_apart_from_the_arm():
    one = length_effect(verdicts({"a": [1, 0, 1, 1]}, words=(30, 10)), PAIR)
    assert one.adjusted is None and "cannot be told apart" in one.reason and one.times_as_long.mean == 3
    assert one.where_shorter.mean is None
    lone = [verdict("a", f"c{j}", j % 2, words=(30, 10 + 5 * (j == 0))) for j in range(5)]
    assert "in one case only" in length_effect(lone, PAIR).reason
    wins = [verdict("a", f"c{j}", 1, words=(30, 10 + j)) for j in range(5)]
    assert "every answer is the same" in length_effect(wins, PAIR).reason
    equal = length_effect(verdicts({"a": [1, 0, 1, 1]}), PAIR)
    assert equal.equal == 4 and equal.longer_wins.estimate.mean is None


def test_a_reader_who_always_takes_the_left_text_is_seen_as_such_and_gives_no_arm_a_win():
    found = [verdict("a", f"c{j}", float(j % 2), left=bool(j % 2)) for j in range(12)]
    side = side_bias(found)
    assert side.left_wins.estimate.mean == 1 and side.left_wins.p < 0.001
    assert win_rates(found, [PAIR])[0].win_rate.estimate.mean == 0.5
    again = [verdict("a", f"c{j}", 0, repeat=True) for j in range(6)]  # the other side, on second readings
    assert side_bias(found + again).left_wins.estimate == side.left_wins.estimate
    assert side.arm_on_left == {"new": (6, 12), "old": (6, 12)}


def said(table, repeat=False):
    return [Said(r, j, f"c{j}", value, repeat) for r, row in table.items() for j, value in enumerate(row)]


def test_readers_who_all_like_one_arm_agree_by_chance_alone():
    found = between_readers(said({"a": [1, 1, 1, 0], "b": [1, 1, 1, 1], "c": [1, 1, 1, 1]}), "nominal")
    assert found.same.mean == pytest.approx((3 * 3 + 1) / 12) and found.figures[1].name == "Fleiss' kappa"
    assert found.figures[1].value < 0.1
    again = said({"a": [0, 0, 0, 1]}, repeat=True)  # second readings say nothing of other readers
    assert (
        between_readers(said({"a": [1, 1, 1, 0], "b": [1, 1, 1, 1], "c": [1, 1, 1, 1]}) + again, "nominal")
        == found
    )
    alone = between_readers(said({"a": [1, 0, 1]}), "nominal")
    assert alone.figures == () and alone.same.mean is None and "needs two" in alone.sentence


def test_fewer_than_thirty_repeats_are_told_with_their_number():
    first, again = {"a": [1, 0, 1, 0], "b": [1, 1, 0, None]}, {"a": [1, 0, 0, 0], "b": [1, 1, 0, 1]}
    found = within_readers(said(first) + said(again, repeat=True), "nominal")
    assert found.n == 7 and found.incomplete == 1 and found.same.mean == 6 / 7
    assert found.by_reader["b"].mean == 1 and "30 or more are needed" in found.sentence
    many = within_readers(said({"a": [0, 1] * 15}) + said({"a": [0, 1] * 15}, repeat=True), "nominal")
    assert many.figures[1].value == 1 and "needed" not in many.sentence
    two = [Said("a", (j, t), "p", 1.0, r, j) for j in range(20) for t in "xy" for r in (False, True)]
    found = within_readers(two, "nominal")  # two texts on each of twenty screens, all of one patient
    assert (found.n, found.readings) == (40, 20)
    assert "nothing is known" in within_readers(said(first), "nominal").sentence


def test_intervals_of_agreement_draw_patients_whole():
    rng = np.random.default_rng(2)
    table = {"a": rng.integers(1, 6, 12).tolist()}
    table["b"] = [v if rng.random() < 0.6 else 6 - v for v in table["a"]]
    once = said(table)
    many = [Said(s.reader, (s.unit, k), s.case, s.value) for s in once for k in range(6)]  # six cases a patient
    for plain, wide in zip(
        between_readers(once, "ordinal").figures, between_readers(many, "ordinal").figures, strict=True
    ):
        assert wide.n == 6 * plain.n and wide.clusters == plain.clusters == 12
        assert (wide.low, wide.high) == pytest.approx((plain.low, plain.high), abs=0.08)
    again = [
        Said("a", s.unit, s.case, 6 - s.value if s.value == 5 else s.value, True) for s in many if s.reader == "a"
    ]
    assert {figure.clusters for figure in within_readers([*many, *again], "ordinal").figures} == {12}
    assert within_readers([*many, *again], "ordinal").same.n_groups == 12
    assert between_readers(many, "ordinal").same.n_groups == 12
    assert "n 72 in 12 cases" in within_readers([*many, *again], "ordinal").sentence


QUALITY = {"sft_zebra": 0.0, "dpo_quagga": 1.5}


@pytest.fixture
def study(design, answer_file, tmp_path):
    """A study with the files of simulated readers, who prefer one arm and are left-leaning."""

    def make(*, readers=("anna", "ben"), seed=0, change=lambda answer: answer, **given):
        options = {"criteria": ("correctness",), "mark_errors": True, "repeats": 2, "guesses": 3, **given}
        where = design(readers=readers, title="<b>Films</b>", **options)
        public, key, rng = read_public(where), read_key(where), np.random.default_rng(seed)

        def answer(reading):
            quality = [QUALITY[key.texts[name].arm] for name in key.readings[reading.id].shown]
            if reading.kind == "guess":
                return change({"guess": ("left", "right")[int(np.argmax(quality))]})
            wins = quality[0] - quality[-1] + 0.3 + rng.normal(0, 0.5)
            return change({
                "preference": 2 if abs(wins) < 0.2 else 1 if wins > 0 else 3,
                "ratings": {"correctness": [int(3 + round(q)) for q in quality]},
                "errors": [[2 if q == 0 else 0, *[0] * (len(t) - 1)]
                           for q, t in zip(quality, reading.texts, strict=True)],
                "checked": True,
            })  # fmt: skip

        return where, [answer_file(tmp_path / f"{r}.json", public, r, answer) for r in readers]

    return make


def test_the_command_recovers_a_planted_preference_and_fills_in_the_methods(study, tmp_path):
    where, files = study(guesses=6)
    told = CliRunner().invoke(app, ["analyze", str(where), *map(str, files), "--out", str(tmp_path / "out")])
    assert told.exit_code == 0 and "dpo_quagga was preferred over sft_zebra in" in told.output, told
    results = json.loads((tmp_path / "out/results.json").read_text())
    pair = results["preference"]["pairs"][0]
    assert pair["win_rate"]["mean"] > 0.9 and pair["win_rate"]["low"] > 0.5 and pair["losses"] == 0
    difference = results["ratings"]["differences"][0]["difference"]
    assert difference["mean"] == pytest.approx(2) and difference["low"] < 2 < difference["high"]
    errors = results["errors"]["arms"]
    assert errors["sft_zebra"]["any_major"]["mean"] == 1 and errors["dpo_quagga"]["per_sentence"]["mean"] == 0
    assert errors["dpo_quagga"]["per_sentence"]["high"] > 0.2  # six slides without a mark promise little
    assert results["blinding"]["right"] == 12 and "above chance" in results["blinding"]["sentence"]
    assert results["agreement"]["correctness"]["within"]["n"] == 8
    weights = results["agreement"]["errors: none, minor or major"]["between"]  # a major error or none, by both
    assert weights["same"]["mean"] == 1 and weights["figures"][0]["value"] == 1
    methods = (tmp_path / "out/methods.md").read_text()
    for words in ("2 readers were to rate", "for 6 cases", "12 readings and 4 repeats", "seed 0", "these readers",
                  read_public(where).key_sha256, "fewer than five", "28 were answered"):  # fmt: skip
        assert words in methods, words
    page = (tmp_path / "out/report.html").read_text()
    assert "&lt;b&gt;Films&lt;/b&gt;" in page and "<b>Films" not in page and "http://" not in page
    assert (tmp_path / "out/preferences.png").read_bytes().startswith(b"\x89PNG")


def test_an_analysis_is_the_same_every_time_and_does_not_replace_another_studys(study, tmp_path):
    where, files = study()
    results = analyze(collect(where, files))
    first = {p.name: p.read_bytes() for p in write_analysis(results, tmp_path / "out")}
    again = write_analysis(analyze(collect(where, files)), tmp_path / "out")
    assert {p.name: p.read_bytes() for p in again} == first
    other = {**results, "design": {**results["design"], "study": "another"}}
    with pytest.raises(DataError, match="--overwrite"):
        write_analysis(other, tmp_path / "out")
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no analysis"):
        write_analysis(results, tmp_path / "busy")
    (tmp_path / "out/results.json").unlink()  # as if killed before the last file
    assert {p.name: p.read_bytes() for p in write_analysis(results, tmp_path / "out")} == first
    write_analysis({**other, "ratings": None}, tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out/ratings.png").exists()


def test_one_reader_is_analysed_as_such_and_speaks_for_nobody_else(study, tmp_path):
    where, files = study()
    found = collect(where, files[:1])
    results = analyze(found)
    assert results["estimand"] == "these readers" and results["preference"]["pairs"][0]["win_rate"]["low"]
    assert any("One reader answered" in note for note in results["notes"])
    assert any("No file came from ben" in note for note in results["notes"]) and "ben" in methods_text(results)
    with pytest.raises(ValueError, match="says nothing of others"):
        analyze(found, estimand="new readers")
    write_analysis(results, tmp_path / "out")


def test_a_study_of_nothing_but_ties_and_unchecked_marks_is_written_without_a_zero(study, tmp_path):
    where, files = study(change=lambda a: {**a, "preference": 2, "checked": False, "ratings": {}, "guess": None})
    results = analyze(collect(where, files))
    pair = results["preference"]["pairs"][0]
    assert pair["win_rate_ties_left_out"]["mean"] is None and pair["ties"] == 12
    assert results["ratings"]["differences"][0]["difference"]["mean"] is None
    assert results["errors"]["arms"]["sft_zebra"]["any_error"]["mean"] is None
    assert results["errors"]["arms"]["sft_zebra"]["unchecked"] == 12
    assert results["preference"]["mixed_models"][0]["reason"] == "all values are the same"
    write_analysis(results, tmp_path / "out")
    assert "Every answer is a tie" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize("alone", [False, True])
def test_a_study_without_a_preference_question_is_written_whole(study, tmp_path, alone):
    asked = {"preference": 0, "texts_per_item": 1} if alone else {"preference": 0}
    where, files = study(
        **asked, change=lambda a: {**a, "preference": None} | ({"guess": "cannot_tell"} if "guess" in a else {})
    )
    told = CliRunner().invoke(app, ["analyze", str(where), *map(str, files), "--out", str(tmp_path / "out")])
    assert told.exit_code == 0 and "correctness, dpo_quagga less sft_zebra: +2.00" in told.output, told
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "ratings.png", "results.json"} <= names and "preferences.png" not in names
    page = (tmp_path / "out/report.html").read_text()
    assert '<p class="headline">correctness, dpo_quagga less sft_zebra: +2.00' in page


def test_a_lucky_guess_does_not_show_that_readers_could_tell(study):
    seen = []

    def one_right(answer):
        if "guess" not in answer:
            return answer
        seen.append(answer)
        return answer if len(seen) == 1 else {"guess": "cannot_tell"}

    where, files = study(guesses=4, change=one_right)
    found = analyze(collect(where, files))["blinding"]
    assert (found["right"], found["wrong"], found["cannot_tell"]) == (1, 0, 7)
    assert found["share_right"]["mean"] > 0.5 and "includes chance (50 %)" in found["sentence"]


def test_verdicts_undo_the_sides_in_every_field(study):
    where, files = study(repeats=0)
    shown = {r.id: r for form in read_public(where).forms for r in form.readings}
    found = collect(where, files)
    rows = [row for row in found.rows if row.kind == "rate"]
    both = list(zip(rows, read_verdicts(found), strict=True))
    assert {v.left for _, v in both} == {True, False} and len({v.words for _, v in both}) > 1
    for row, v in both:
        lengths = [len("".join(text).split()) for text in shown[row.reading].texts]
        on_left = row.candidates[0].startswith("dpo_quagga")
        assert (v.arm, v.against, v.left) == ("dpo_quagga", "sft_zebra", on_left)
        assert v.words == tuple(lengths if on_left else lengths[::-1])
        assert v.case == row.group_id == row.case_id.replace("case", "patient")


def test_arms_that_different_readers_rated_are_compared_for_these_readers_only(study):
    alone = {"texts_per_item": 1, "preference": 0, "repeats": 0, "guesses": 0}
    where, files = study(**alone, readers=tuple("abcde"), change=lambda a: {**a, "preference": None})
    results = analyze(collect(where, files))
    assert results["estimand"] == "new readers"
    methods = methods_text(results)
    assert "such intervals are for these readers" in methods and "so was which arm's text" in methods
    for kind in ("ratings", "errors"):
        assert results[kind]["differences"][0]["difference"]["estimand"] == "these readers"
    assert results["errors"]["arms"]["dpo_quagga"]["any_major"]["mean"] == 0


def test_texts_shown_alone_are_compared_by_case_between_readers(study):
    alone = {"texts_per_item": 1, "preference": 0, "repeats": 0, "crossed": False}
    where, files = study(
        **alone, change=lambda a: {**a, "preference": None} | ({"guess": "yes"} if "guess" in a else {})
    )
    results = analyze(collect(where, files))
    one = results["ratings"]["differences"][0]
    assert one["paired"] == "same case, other readers" and one["difference"]["mean"] == pytest.approx(2)
    assert one["difference"]["n"] == 6  # every case was read in both arms
    assert results["preference"] is None and results["blinding"]["share_right"] is None
    assert results["blinding"]["told_apart"]["mean"] in (0, None)  # yes to everything tells nothing
