import re
from html.parser import HTMLParser

import pytest

from vlmalign.evaluation import Example, ExampleAnswer, Figure, plots, render_report
from vlmalign.evaluation.report_metrics import Span

HOSTILE = "</p><script>alert(1)</script><img src=x onerror=alert(2)>\"'><a href=javascript:x>{{ 7 * 7 }}"


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs


def page(results, examples=(), figures=(), *, tmp_path, **options):
    path = render_report(results, list(examples), list(figures), tmp_path / "report.html", **options)
    return path.read_text(encoding="utf-8")


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style.*?</style>", "", html)))


@pytest.fixture
def example(picture):
    answers = [ExampleAnswer("sft_more", [Span("Platelets are absent.", "wrong")]),
               ExampleAnswer("dpo", [Span("Few platelets are seen.", "right")])]  # fmt: skip
    return Example("field-001", [picture], "Describe this blood smear field.", answers, {"platelets": "few"})


def test_the_report_holds_every_figure_with_interval_and_counts(results, example, tmp_path):
    text = text_of(page(results, [example], tmp_path=tmp_path))
    pieces = ["41.0", "37.0 to 45.0", "n 480 · 24 groups", "9 excluded", "+27.0", "+20.0 to +34.0", "ties 1.0 %"]
    pieces += ["3.90 TFLOP", "Not for clinical decisions", "Platelets are absent.", "invalid candidates"]
    assert [piece for piece in pieces if piece not in text] == []


def test_the_report_says_the_conclusions_in_words(results, tmp_path):
    text = text_of(page(results, tmp_path=tmp_path))
    assert "Whole-report accuracy is 27.0 points higher" in text
    assert "Whole-report accuracy: no conclusion, " in text
    assert "none above 2 points" in text


def test_intervals_over_seeds_are_spoken_of_only_with_several(results, tmp_path):
    for seeds, said in ([], False), ([7], False), ([7, 8], True):
        text = text_of(page({**results, "seeds": seeds}, tmp_path=tmp_path))
        assert ("95% intervals over groups and seeds" in text) is said
        assert ("the groups and training seeds that were drawn" in text) is said


def test_every_table_names_how_its_intervals_were_made(results, tmp_path):
    results["expert"]["dice"]["method"] = "Clopper-Pearson, 24 groups"
    text = text_of(page(results, tmp_path=tmp_path))
    # arms, sampled, baselines, comparisons, dpo against sft_more, reward model
    assert text.count("Intervals: t, 23 df, over 24 groups.") == 6
    assert "Intervals: Clopper-Pearson, 24 groups (of 1); t, 23 df, over 24 groups (of 1)." in text


def test_the_report_does_not_deny_that_unread_answers_count_as_wrong(results, tmp_path):
    text = text_of(page(results, tmp_path=tmp_path))
    assert "say nothing readable count as wrong" in text
    assert "never a zero" not in text


def test_the_report_tells_what_went_the_other_way(results, tmp_path):
    text = text_of(page({**results, "seeds": [7]}, tmp_path=tmp_path))
    assert "Worse: Omitted; Consistent path." in text
    assert "training seed 7 " in text


def test_hostile_text_stays_text(results, picture, tmp_path):
    results["arms"][HOSTILE] = results["arms"].pop("sft_clean")
    results["comparisons"]["dpo_minus_sft_more"]["conclusion"] = HOSTILE
    results["config"] = {HOSTILE: HOSTILE}
    results["notes"] = [HOSTILE]
    answers = [ExampleAnswer(HOSTILE, [Span(HOSTILE, "wrong")])]
    example = Example(HOSTILE, [picture], HOSTILE, answers, {HOSTILE: HOSTILE}, HOSTILE)
    html = page(results, [example], [Figure(HOSTILE, HOSTILE, picture)], tmp_path=tmp_path, title=HOSTILE)
    found = Page(html)
    assert "script" not in found.tags
    assert not any(name.startswith("on") or name == "href" for name, _ in found.attributes)
    assert "{{ 7 * 7 }}" in html


def test_the_page_is_self_contained_and_forbids_scripts(results, example, tmp_path):
    html = page(results, [example], tmp_path=tmp_path)
    sources = [value for name, value in Page(html).attributes if name in ("src", "srcset", "href")]
    assert sources and all(value.startswith("data:image/") for value in sources)
    assert "default-src 'none'" in html
    assert not re.search(r"url\(|@import|https?://", html.split("<body>")[0])


def test_a_run_of_ones_own_with_one_metric_is_enough(results, tmp_path):
    own = {"arms": {"mine": {"in_scope_accuracy": results["arms"]["dpo"]["in_scope_accuracy"]}}}
    text = text_of(page(own, tmp_path=tmp_path))
    assert "In-scope claims right" in text
    assert "Not part of these results: comparisons" in text
    assert "What was done" not in text


def test_a_run_may_tell_its_own_flow(results, tmp_path):
    own = {"arms": results["arms"], "flow": [["Judge", "a local model ranked the answers"]]}
    assert "Judge a local model ranked the answers" in text_of(page(own, tmp_path=tmp_path))


@pytest.mark.parametrize("section", ["sampled", "baselines", "comparisons", "reward_model", "expert", "seconds",
                                     "dpo_against_sft_more",
                                     "n_groups", "seed", "versions", "source", "counts", "config"])  # fmt: skip
def test_any_section_may_be_missing(results, section, tmp_path, monkeypatch):
    for name in ("forest_plot", "comparison_plot", "best_of_n_plot"):  # drawing is slow, and tested elsewhere
        monkeypatch.setattr(plots, name, lambda *_, **__: b"<svg/>")
    del results[section]
    assert "Limits" in page(results, tmp_path=tmp_path)


def test_a_sentence_goes_by_the_margin_of_its_comparison(results, tmp_path):
    control = results["comparisons"]["dpo_shuffled_minus_sft_more_in_scope"]
    control |= {"margin": 0.05, "conclusion": "none above 5 points"}
    assert "by no more than 5 points either way" in text_of(page(results, tmp_path=tmp_path))


def test_a_metric_of_which_nothing_was_scored_shows_no_zero(results, tmp_path):
    nothing = {"mean": None, "low": None, "high": None, "n": 0, "excluded": 480}
    results["arms"] = {"mine": {"path_consistency": nothing}}
    text = text_of(page(results, tmp_path=tmp_path))
    assert "nothing scored" in text and "480 excluded" in text


def test_the_same_results_give_the_same_bytes(results, example, tmp_path):
    assert page(results, [example], tmp_path=tmp_path) == page(results, [example], tmp_path=tmp_path)


def test_results_that_break_the_schema_leave_no_file(results, tmp_path):
    results["arms"]["dpo"]["invalid_rate"]["mean"] = 7
    with pytest.raises(ValueError, match="invalid_rate"):
        page(results, tmp_path=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_image_of_unknown_kind_is_refused(results, tmp_path):
    with pytest.raises(ValueError, match="PNG, JPEG or SVG"):
        page(results, figures=[Figure("x", "n = 1", b"GIF89a")], tmp_path=tmp_path)
