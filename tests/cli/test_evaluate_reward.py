"""`vlmalign evaluate reward`: the table, the figures, the page."""

import json
from html.parser import HTMLParser

HOSTILE = "</p><script>alert(1)</script>{{ 7 * 7 }}"


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.sources = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]


def test_two_rewards_are_measured_and_compared_in_table_json_and_page(vlmalign, pair_folders, tmp_path):
    names = [f"p{i}" for i in range(6)]
    pairs = pair_folders.pairs("pairs", {n: {"rejected": HOSTILE} if n == "p0" else {} for n in names})
    pair_folders.judged_pairs("good", {n: (1.0, 0.0) for n in names})
    pair_folders.judged_pairs("poor", {n: (0.0, 1.0 if n == "p0" else 0.0) for n in names[:5]})
    judged = ("--judged", "good", "--judged", "mine=poor")
    result = vlmalign(
        "evaluate", "reward", "--pairs", pairs, *judged, "--json", "f.json", "--report", "r/reward.html"
    )
    assert result.code == 0, result.err
    assert "good (fake@1, fake)" in result.out and "unscored: no judgement" in result.out
    assert "good - mine" in result.out
    figures = json.loads((tmp_path / "f.json").read_text())
    mine = figures["rewards"]["mine"]
    assert mine["counts"] == {"pairs": 6, "scored": 5, "ties": 4, "unscored": 1}
    assert (mine["accuracy"]["mean"], mine["strict"]["mean"]) == (0.4, 0.0)
    assert figures["comparisons"]["good_minus_mine"]["mean"] == 0.6
    html = (tmp_path / "r" / "reward.html").read_text()
    page = Page(html)
    assert "script" not in page.tags and "{{ 7 * 7 }}" in html
    assert all(source.startswith("data:image/") for source in page.sources)
    assert sum(source.startswith("data:image/png") for source in page.sources) == 1  # of the one mistake
    assert "Reliability" in html and "Risk over coverage" in html and "Null baselines" in html
    same, longer = (figures["baselines"][name] for name in ("same_score", "longer_answer"))
    assert (same["accuracy"]["mean"], same["strict"]["mean"], same["ties"]["mean"]) == (0.5, 0, 1)
    assert longer["accuracy"]["mean"] + figures["baselines"]["shorter_answer"]["accuracy"]["mean"] == 1
    assert "mine: p0" in html and "rejected, score 1" in html


def test_the_two_slides_of_role_swapped_pairs_are_counted_and_not_their_combinations(
    vlmalign, pair_folders, tmp_path
):
    joined = {f"p{i}": {"provenance": {"groups": list(own)}} for i, own in enumerate(("ab", "bc", "ca"))}
    pairs = pair_folders.pairs("pairs", {**joined, "q": {"group_id": "d"}})
    pair_folders.judged_pairs("judged", {name: (1.0, 0.0) for name in (*joined, "q")})
    result = vlmalign("evaluate", "reward", "--pairs", pairs, "--judged", "judged", "--json", "f.json")
    assert result.code == 0 and "4 pairs of 4 groups" in result.out, result.err
    assert json.loads((tmp_path / "f.json").read_text())["pairs"]["groups"] == 4


def test_margins_that_are_no_numbers_and_files_that_cannot_be_are_refused(refused, pair_folders, tmp_path):
    pairs = pair_folders.pairs("pairs", {"a": {}})
    pair_folders.judged_pairs("judged", {"a": (1.0, 0.0)})
    command = ("evaluate", "reward", "--pairs", pairs, "--judged", "judged")
    for margin in ("nan", "inf", "0"):
        refused(*command, "--margin", margin, says="give the smallest difference of interest")
    refused(*command, "--json", tmp_path, says="this is a folder")
    refused(*command, "--json", "judged/figures.json", says="this would change the input")


def test_a_folder_that_is_named_twice_or_another_subset_is_refused(refused, pair_folders):
    pairs = pair_folders.pairs("pairs", {"a": {}})
    pair_folders.judged_pairs("judged", {"a": (1.0, 0.0)})
    command = ("evaluate", "reward", "--pairs", pairs, "--judged", "judged")
    refused(*command, "--judged", "judged", says="given twice")
    refused(*command, "--by", "colour", says="expected source, concept, question or provenance.NAME")
