import pytest

from vlmalign.reader_study.sample_size import cases_needed, variance_of_mean


def test_more_readers_spare_cases_only_as_far_as_readers_differ_about_a_case():
    assert cases_needed(0.1, 1) > cases_needed(0.1, 2) > cases_needed(0.1, 8)
    # all variance between cases: readers spare nothing
    assert cases_needed(0.1, 1, case_share=1, reader_share=0) == cases_needed(0.1, 9, case_share=1, reader_share=0)


def test_ties_spare_cases_and_all_ties_leave_no_variance():
    assert cases_needed(0.1, 2, tie_rate=0.4) < cases_needed(0.1, 2)
    assert cases_needed(0.1, 2, tie_rate=1.0) == 2


def test_the_variance_of_new_readers_does_not_vanish_with_cases():
    given = {"variance": 0.25, "case_share": 0.3, "reader_share": 0.1}
    assert variance_of_mean(10**9, 4, estimand="new readers", **given) == pytest.approx(0.25 * 0.1 / 4)
    assert variance_of_mean(10**9, 4, **given) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("given", [{"half_width": 0.6}, {"win_rate": 1.2}, {"case_share": 0.99}, {"n_readers": 0}])
def test_numbers_outside_their_range_are_refused(given):
    with pytest.raises(ValueError, match="expected"):
        cases_needed(**{"half_width": 0.1, "n_readers": 2, **given})


def test_for_new_readers_the_quantile_knows_how_few_readers_there_are():
    # two readers who differ by nothing: t(1) is 12.7062; times sqrt(.25 / (2 n)) it is .2 at n 504.5
    given = {"case_share": 0.0, "reader_share": 0.0}
    assert cases_needed(0.2, 2, estimand="new readers", **given) == 505
    assert cases_needed(0.2, 2, **given) < 20
