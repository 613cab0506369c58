"""How many patients."""

import pytest

from vlmalign.evaluation.power import Differences, groups_for_equivalence, of_share, of_shares
from vlmalign.evaluation.study_size import Plan, read_pilot, size_study
from vlmalign.records import DataError


@pytest.mark.parametrize(
    "plan",
    [
        Plan("superiority", of_shares(0.3, 0.05, correlation=0.2, items_per_group=3), effect=0.05, power=0.9),
        Plan("non-inferiority", of_shares(0.1, 0.0), margin=0.03),
        Plan("equivalence", Differences(0.3), margin=0.1, effect=0.02),
    ],
)
def test_the_number_is_the_least_that_reaches_the_power(plan):
    n = plan.groups()
    assert plan.reached(n) >= plan.power > plan.reached(n - 1)
    found = size_study(plan)
    assert found["groups"] == n and found["nearby"][str(2 * n)] > found["reached"]
    assert size_study(plan, n)["reached"] == found["reached"]


def test_a_share_of_independent_patients_needs_what_the_textbook_says():
    n = Plan("proportion", of_share(0.5), half_width=0.05).groups()
    assert n == pytest.approx(1.96**2 * 0.25 / 0.05**2, rel=0.01)  # 384
    clustered = Plan("proportion", of_share(0.5, correlation=0.2, items_per_group=6), half_width=0.05)
    assert size_study(clustered)["items"] == pytest.approx(2 * n, rel=0.02)  # design effect 2
    assert any("design effect 2" in told for told in size_study(clustered)["assumptions"])


def test_an_effect_beyond_the_margin_is_never_equivalent():
    with pytest.raises(ValueError, match=r"expected \|effect\| < margin"):
        groups_for_equivalence(Differences(0.3), margin=0.1, effect=0.1)


def test_a_pilot_tells_spread_and_correlation(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("group,difference\na,1\na,1\nb,0\nb,0\nb,\n")
    found = read_pilot(path)
    assert (found.correlation, found.items_per_group) == (1.0, 2.0)
    path.write_text("group,difference\na,x\n")
    with pytest.raises(DataError, match=":2, field 'difference'"):
        read_pilot(path)
    path.write_text("group\na\n")
    with pytest.raises(DataError, match="the column difference is missing"):
        read_pilot(path)
