"""Agreement with a reference report: what counts as which error, and what cannot be scored."""

import math

import pytest

from vlmalign.clinical import load_logic, parse_text
from vlmalign.records import Reference
from vlmalign.rewards.report_agreement import ReportAgreementReward, compare_reports

LOGIC = load_logic("peripheral_smear")
TOLD = "The stain of the field is pale. No leukocyte is seen. Few platelets are seen."


def compared(said, told=TOLD):
    return compare_reports(LOGIC, parse_text(LOGIC, said), parse_text(LOGIC, told))


@pytest.mark.parametrize(
    ("said", "counts"),
    [  # matched, false, missing, location, severity, comparison
        (TOLD, (3, 0, 0, 0, 0, 0)),
        ("The stain of the field is pale.", (1, 0, 2, 0, 0, 0)),
        (f"{TOLD} Red cells are crowded in the field.", (3, 1, 0, 0, 0, 0)),
        ("A leukocyte is seen. The stain of the field is pale. Few platelets are seen.", (2, 1, 0, 0, 0, 0)),
        (f"{TOLD} A leukocyte is seen.", (2, 1, 0, 0, 0, 0)),  # contradicts itself
        (f"{TOLD} Unchanged from the previous smear.", (3, 0, 0, 0, 0, 1)),
        ("The stain is uncertain. No leukocyte is seen. Few platelets are seen.", (2, 0, 0, 0, 0, 0)),
        ("In summary this is a red cell field.", (0, 0, 3, 0, 0, 0)),  # a derived concept is no finding
    ],
)
def test_claims_are_counted_by_what_became_of_them(said, counts):
    assert tuple(compared(said)) == counts


def test_a_denial_of_which_the_reference_is_silent_is_no_error_and_an_affirmation_is():
    assert tuple(compared("No leukocyte is seen.", "The stain of the field is pale.")) == (0, 0, 1, 0, 0, 0)
    assert tuple(compared("A leukocyte is seen.", "The stain of the field is pale.")) == (0, 1, 1, 0, 0, 0)


def test_a_comparison_that_the_reference_makes_too_is_no_error():
    both = f"{TOLD} Unchanged from the previous smear."
    assert compared(both, both).wrong_comparison == 0


def test_the_score_is_matched_over_matched_and_errors_and_length_divides_it(make):
    case = make.case(()).model_copy(update={"reference": Reference(text=TOLD)})
    long = make.candidate(f"{TOLD} Red cells are crowded in the field. Hello there, dear reader of this.")
    plain = ReportAgreementReward("peripheral_smear").score([case], [long])
    assert plain.mean[0] == pytest.approx(3 / 4)
    ratio = len(long.text.split()) / len(TOLD.split())
    controlled = ReportAgreementReward("peripheral_smear", length_controlled=True).score([case], [long])
    assert controlled.mean[0] == pytest.approx(3 / 4 / ratio)
    assert plain.components["length_controlled"][0] == controlled.mean[0]  # so that either can choose pairs
    assert controlled.components["plain"][0] == plain.mean[0]
    short = make.candidate("The stain of the field is pale.")
    both = [ReportAgreementReward("peripheral_smear", length_controlled=c).score([case], [short]) for c in (0, 1)]
    assert both[0].mean == both[1].mean == pytest.approx((1 / 3,))


@pytest.mark.parametrize(
    ("reference", "said", "reason"),
    [
        (None, TOLD, "the case has no reference text"),
        ("Hello.", TOLD, "no claim parsed in the reference"),
        (TOLD, "Hello.", "no claim parsed"),
        ("The stain is uncertain.", "The stain of the field is pale.", "nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_invalid_with_the_reason(make, reference, said, reason):
    case = make.case(()).model_copy(update={"reference": Reference(text=reference) if reference else None})
    output = ReportAgreementReward("peripheral_smear").score([case], [make.candidate(said)])
    assert output.valid == (False,) and output.reasons == (reason,) and math.isnan(output.mean[0])


def test_what_the_reference_alone_compares_or_contradicts_is_no_error_of_the_report():
    assert tuple(compared(TOLD, f"{TOLD} Unchanged from the previous smear.")) == (3, 0, 0, 0, 0, 0)
    assert tuple(compared(TOLD, f"{TOLD} A leukocyte is seen.")) == (2, 0, 0, 0, 0, 0)
