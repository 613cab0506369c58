import stat
from collections import Counter
from itertools import combinations

import pytest

from vlmalign.reader_study import StudyPlan, design_study, read_key, read_public
from vlmalign.reader_study.allocation import allocate, reader_blocks
from vlmalign.reader_study.what_meets import limits
from vlmalign.records import Case, DataError, DatasetBuild, Judgement, read_records


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
    for slots in allocate(plan(seed=3), 31, 3, {}):
        by_comparison = Counter(s.comparison for s in slots)
        assert max(by_comparison.values()) - min(by_comparison.values()) <= 1
        for c, n in by_comparison.items():
            swapped = sum(s.swapped for s in slots if s.comparison == c)
            assert abs(2 * swapped - n) <= 1
        assert abs(2 * sum(s.swapped for s in slots) - len(slots)) <= 2
        assert len({s.case for s in slots}) == 31  # each case once


def test_repeats_are_the_same_comparison_far_apart_with_half_of_the_sides_exchanged():
    for slots in allocate(plan(repeats=10), 40, 2, {}):
        first = {s.case: p for p, s in enumerate(slots) if not s.repeat}
        again = {s.case: p for p, s in enumerate(slots) if s.repeat}
        assert len(again) == 10 and len(slots) == 50
        assert min(again[c] - first[c] for c in again) >= 10
        assert all(slots[again[c]].comparison == slots[first[c]].comparison for c in again)
        assert sum(slots[again[c]].swapped != slots[first[c]].swapped for c in again) == 5


def test_a_crossed_study_reads_each_case_once_in_each_part_with_rotated_comparisons():
    for slots in allocate(plan(crossed=True, repeats=2), 9, 3, {}):
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
    for word in (b"zebra", b"okapi", b"case-", b"patient", b"Mueller", b"step-12", b"signed@"):
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


def test_a_picture_rated_for_training_is_known_again_under_another_name(design, inputs, tmp_path):
    first = design("first", purpose="training", n_cases=1)
    (used,) = {item.case_id for item in read_key(first).items.values()}
    with DatasetBuild(tmp_path / "renamed", "case", {}) as build:
        for case in read_records(inputs / "cases", Case):
            build.adopt(case.images[0], inputs / "cases")
            build.commit(case.id, [case.model_copy(update={"id": f"new-{case.id}", "group_id": f"new-{case.id}"})])
    with pytest.raises(DataError, match=f"1 cases .*: new-{used}: rated for training .*same image"):
        design_study(
            plan(select="all"), tmp_path / "second", cases=[tmp_path / "renamed"], earlier=[first],
            arms={"x": "reference", "y": table_of(tmp_path)},
        )  # fmt: skip


def table_of(tmp_path):
    path = tmp_path / "y.csv"
    path.write_text("case_id,text\n" + "".join(f"new-case-{i},Calm.\n" for i in range(6)))
    return path


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
        ({"select": "listed", "n_cases": 3}, "n_cases is 3 but select is 'listed'"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        plan(**given)


def test_more_repeats_than_cases_are_refused(design, tmp_path):
    with pytest.raises(ValueError, match="repeats is 7 but reader 'anna' reads 6 cases"):
        design(repeats=7)
    assert not list(tmp_path.glob("study*"))


def of_case(per_reader):
    found = {}
    for slots in per_reader:
        for s in slots:
            found.setdefault(s.case, []).append(s.comparison)
    return found


@pytest.mark.parametrize(
    ("cases", "readers", "each", "arms"), [(7, 2, 2, 2), (31, 5, 3, 3), (40, 6, 2, 2), (9, 7, 7, 3)]
)
def test_every_case_is_read_in_each_arm_by_someone_and_readers_share_the_arms_evenly(cases, readers, each, arms):
    names = tuple(f"r{k}" for k in range(readers))
    settings = {"texts_per_item": 1, "preference": 0, "criteria": ("c",), "guesses": 0, "readers_per_case": each}
    per_reader = allocate(plan(readers=names, **settings), cases, arms, {}, "secret")
    for read in of_case(per_reader).values():
        counts = [read.count(arm) for arm in range(arms)]
        assert len(read) == each and min(counts) >= 1 and max(counts) - min(counts) <= 1
    for slots in per_reader:
        counts = [sum(s.comparison == arm for s in slots) for arm in range(arms)]
        assert max(counts) - min(counts) <= 1


def test_with_fewer_readers_than_arms_a_case_is_read_in_different_arms_that_meet_about_as_often():
    names = tuple(f"r{k}" for k in range(4))
    settings = {"texts_per_item": 1, "preference": 0, "criteria": ("c",), "guesses": 0, "readers_per_case": 2}
    read = of_case(allocate(plan(readers=names, **settings), 30, 3, {}, "secret"))
    assert all(len(set(arms)) == 2 for arms in read.values())
    met = Counter(tuple(sorted(arms)) for arms in read.values())
    assert len(met) == 3 and max(met.values()) - min(met.values()) <= 3


@pytest.mark.parametrize(
    "given", [{}, {"crossed": True}, {"texts_per_item": 1, "preference": 0, "mark_errors": True}]
)
def test_the_seed_alone_tells_nobody_whose_text_stands_where(given):
    settings = plan(seed=0, guesses=0, **given)
    arms = 2 if given else 1
    one, other = (allocate(settings, 24, arms, {}, secret)[0] for secret in ("one", "other"))
    assert [s.case for s in one] == [s.case for s in other]  # the order is the seed's
    hidden = "comparison" if given else "swapped"
    same = sum(getattr(a, hidden) == getattr(b, hidden) for a, b in zip(one, other, strict=True))
    assert len(one) / 5 < same < len(one) * 4 / 5


def test_whoever_always_says_left_or_yes_guesses_half_of_the_arms_right():
    for slots in allocate(plan(guesses=6), 20, 3, {0: 0, 2: 1}, "s"):
        guesses = [s for s in slots if s.guess]
        assert len(guesses) == 6 and {s.comparison for s in guesses} <= {0, 2}
        assert sum((s.comparison == 2) == s.swapped for s in guesses) == 3  # the arm stands left
    alone = plan(texts_per_item=1, preference=0, mark_errors=True, guesses=4)
    for slots in allocate(alone, 20, 3, {0: 1, 1: 0, 2: 1}, "s"):
        assert sum(s.comparison == 1 for s in slots if s.guess) == 2


def test_a_design_says_what_cannot_be_compared_within_a_case(design):
    alone = {"texts_per_item": 1, "preference": 0, "criteria": ("correctness",), "guesses": 0}
    assert limits(read_key(design("crossed", crossed=True, **alone))) == []
    told = limits(read_key(design("two", **alone)))
    assert len(told) == 1 and "no two readers are shown the same" in told[0]
    told = limits(read_key(design("one", readers=("anna",), **alone)))
    assert len(told) == 1 and "can be compared within 0 of 6 cases" in told[0] and "at least 2 readers" in told[0]
    assert limits(read_key(design("pairs"))) == []


def test_the_key_can_be_read_by_its_owner_alone_and_the_public_part_by_all(design):
    study = design()
    rights = {
        name: stat.S_IMODE((study / name).stat().st_mode) for name in ("private", "private/key.json", "public")
    }
    assert rights["private"] == 0o700 and rights["private/key.json"] == 0o600 and rights["public"] & 0o500 == 0o500
