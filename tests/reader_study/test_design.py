from collections import Counter
from itertools import combinations

import pytest

from vlmalign.reader_study import StudyPlan, read_key, read_public
from vlmalign.reader_study.allocation import allocate, reader_blocks
from vlmalign.records import DataError, DatasetBuild, Judgement


def plan(**given):
    return StudyPlan(**{"readers": ("anna", "ben"), "purpose": "evaluation", **given})


@pytest.mark.parametrize(("cases", "readers", "each"), [(20, 5, 2), (30, 6, 3), (14, 7, 3), (23, 4, 3)])
def test_blocks_load_readers_equally_and_put_every_two_together_about_as_often(cases, readers, each):
    blocks = reader_blocks(cases, readers, each, seed=1)
    loads = Counter(r for b in blocks for r in b)
    together = Counter(p for b in blocks for p in combinations(sorted(b), 2))
    assert len(blocks) == cases and all(len(set(b)) == each for b in blocks)
    assert max(loads.values()) - min(loads.values()) <= 1
    counts = [together[p] for p in combinations(range(readers), 2)]
    assert max(counts) - min(counts) <= 2


def test_sides_and_comparisons_are_balanced_within_each_reader():
    for slots in allocate(plan(seed=3), 31, 3, ()):
        by_comparison = Counter(s.comparison for s in slots)
        assert max(by_comparison.values()) - min(by_comparison.values()) <= 1
        for c, n in by_comparison.items():
            swapped = sum(s.swapped for s in slots if s.comparison == c)
            assert abs(2 * swapped - n) <= 1
        assert abs(2 * sum(s.swapped for s in slots) - len(slots)) <= 2
        assert len({s.case for s in slots}) == 31  # each case once


def test_repeats_are_the_same_comparison_far_apart_with_half_of_the_sides_exchanged():
    for slots in allocate(plan(repeats=10), 40, 2, ()):
        first = {s.case: p for p, s in enumerate(slots) if not s.repeat}
        again = {s.case: p for p, s in enumerate(slots) if s.repeat}
        assert len(again) == 10 and len(slots) == 50
        assert min(again[c] - first[c] for c in again) >= 10
        assert all(slots[again[c]].comparison == slots[first[c]].comparison for c in again)
        assert sum(slots[again[c]].swapped != slots[first[c]].swapped for c in again) == 5


def test_a_crossed_study_reads_each_case_once_in_each_part_with_rotated_comparisons():
    for slots in allocate(plan(crossed=True, repeats=2), 9, 3, ()):
        for session in range(3):
            part = [s for s in slots if s.session == session]
            assert sorted(s.case for s in part) == list(range(9))
            assert set(Counter(s.comparison for s in part).values()) == {3}
        assert {(s.case, s.comparison) for s in slots} == {(c, m) for c in range(9) for m in range(3)}
        assert [s.session for s in slots if s.repeat] == [3, 3]


def test_the_same_seed_and_secret_give_the_same_bytes_and_another_seed_other_sides(design, tmp_path):
    def content(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    a, b = design("a", seed=1), design("b", seed=1)
    assert content(a) == content(b)
    assert design("a", seed=1) == a  # complete already
    assert read_key(design("c", seed=2)).readings != read_key(a).readings


def test_a_study_is_not_replaced_by_another_one_unless_told(design):
    study = design()
    with pytest.raises(DataError, match="designed with other inputs or settings"):
        design(n_cases=3)
    assert read_key(study).counts["cases"] == 6
    design(n_cases=3, overwrite=True)
    assert read_key(study).counts["cases"] == 3


def test_the_public_part_names_no_case_no_arm_and_commits_to_the_key(design):
    study = design(arms=("sft_zebra", "human_okapi"))
    public = b"".join(p.read_bytes() for p in (study / "public").rglob("*") if p.is_file())
    for word in (b"zebra", b"okapi", b"case-", b"patient", b"Mueller", b"ab12", b"signed@"):
        assert word not in public.lower() and word not in public
    key = study / "private" / "key.json"
    key.write_text(key.read_text().replace('"anna"', '"anna" ', 1))
    with pytest.raises(DataError, match="not the one that the study committed to"):
        read_key(study)


def test_cases_rated_for_training_are_refused_for_evaluation_by_name(design):
    first = design("first", purpose="training", n_cases=2)
    used = sorted({i.case_id for i in read_key(first).items.values()})
    with pytest.raises(
        DataError, match=rf"2 cases cannot be read for evaluation: .*{used[0]}.*rated for training"
    ):
        design("second", earlier=[first])
    second = design("second", earlier=[first], leave_out_used=True)
    key = read_key(second)
    assert key.counts["used_otherwise"] == 2 and key.counts["cases"] == 4
    assert not set(used) & {i.case_id for i in key.items.values()}


def test_a_text_that_tells_its_arm_is_refused(design):
    with pytest.raises(DataError, match="name of arm 'sft_zebra' stands in 1 texts that readers see, e.g. title"):
        design(title="SFT_zebra against the other")


def test_stratified_cases_follow_the_shares_and_unknown_strata_are_an_error(design):
    key = read_key(design(select="stratified", stratify="attributes.sex", n_cases=3))
    chosen = {int(i.case_id[-1]) for i in key.items.values()}
    assert sum(i % 3 == 0 for i in chosen) == 1  # two of six are m
    with pytest.raises(DataError, match="no case says anything of 'attributes.site'"):
        design("b", select="stratified", stratify="attributes.site", n_cases=3)


def test_the_most_uncertain_cases_are_chosen_by_margin_over_its_spread(design, tmp_path):
    margins = {0: (1.0, 0.1), 1: (1.0, 5.0), 2: (0.01, 0.1), 3: (3.0, 0.1), 4: (2.0, 0.1)}
    with DatasetBuild(tmp_path / "judged", "judgement", {}) as build:
        for i, (margin, std) in margins.items():
            for arm, score in (("sft_zebra", margin), ("dpo_quagga", 0.0)):
                name = f"{arm}/case-{i}"
                build.commit(name, [Judgement(id=name, case_id=f"case-{i}", candidate_ids=(name,), criterion="r",
                                              judge="r@1", score=score, std=std)])  # fmt: skip
    key = read_key(design(select="uncertain", n_cases=2, judged=tmp_path / "judged"))
    assert {i.case_id for i in key.items.values()} == {"case-1", "case-2"}
    assert key.counts["unscored"] == 1


def test_readers_guess_the_human_arm_at_the_end(design):
    study = design(arms=("sft_zebra", "human_okapi"), guesses=3)
    public = read_public(study)
    assert public.questions.guess == "Which of the two texts was written by a person?"
    assert read_key(study).guess_arm == "human_okapi"
    assert [r.kind for r in public.forms[0].readings] == ["rate"] * 6 + ["guess"] * 3


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"repeats": 12, "kappa": True}, "kappa needs at least 30"),
        ({"preference": 0}, "nothing is asked"),
        ({"readers_per_case": 3}, "readers_per_case is 3 but there are 2 readers"),
        ({"readers": ("Anna", "anna")}, "a name twice"),
        ({"select": "stratified"}, "go together"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        plan(**given)


def test_more_repeats_than_cases_are_refused(design, tmp_path):
    with pytest.raises(ValueError, match="repeats is 7 but reader 'anna' reads 6 cases"):
        design(repeats=7)
    assert not list(tmp_path.glob("study*"))
