import math

import numpy as np
import pytest

from vlmalign.clinical import load_logic
from vlmalign.rewards.weak_sources import ABSTAINS, Harmoniser, settled_answers, votes_of


def world(n=600, seed=0):
    """A truth that features tell, a model right in 7 of 10, a source right in 8, and one that often abstains."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    features = rng.normal(0, 1, (n, 3))
    features[:, 0] += 3 * truth

    def says(right):
        return np.where(rng.random(n) < right, truth, 1 - truth)

    third = np.where(rng.random(n) < 0.6, ABSTAINS, says(0.9))
    return features, says(0.7), np.stack([says(0.8), third], 1), truth


@pytest.mark.parametrize("scalariser", ["quadratic", "linear", "euclidean"])
def test_the_risk_is_higher_where_the_model_is_wrong(scalariser):
    features, answers, sources, truth = world()
    risk = Harmoniser.fit(features, answers, sources, 2, scalariser=scalariser).risk(features, answers)
    wrong = answers != truth
    assert risk[wrong].mean() > 0.55 and risk[~wrong].mean() < 0.45
    assert ((risk > 0.5) == wrong).mean() > 0.9


def test_linear_scalarising_without_features_is_the_share_of_votes():
    """No feature: the losses' minimum is at the share of all votes, abstentions aside: 5 of 8 for value 0."""
    answers, sources = [0, 0, 1, 0], [[0, ABSTAINS], [1, ABSTAINS], [0, ABSTAINS], [ABSTAINS, 1]]
    fitted = Harmoniser.fit(np.zeros((4, 1)), answers, sources, 2, scalariser="linear")
    assert fitted.predict([[0.0]])[0] == pytest.approx([5 / 8, 3 / 8], abs=1e-4)
    assert fitted.risk(np.zeros((3, 1)), [0, 1, ABSTAINS]) == pytest.approx(
        [3 / 8, 5 / 8, math.nan], nan_ok=True, abs=1e-4
    )


def test_quadratic_scalarising_leans_to_examples_on_which_sources_contradict():
    """Two voters on each of four examples: (0,0), (0,0), (0,0), (1,1). h minimises 3 (2 a)^2 + (2 b)^2."""
    fitted = Harmoniser.fit(np.zeros((4, 1)), [0, 0, 0, 1], [[0], [0], [0], [1]], 2)
    p = np.linspace(0.001, 0.999, 9981)
    best = p[np.argmin(3 * (2 * np.log(p)) ** 2 + (2 * np.log(1 - p)) ** 2)]
    assert fitted.predict([[0.0]])[0, 0] == pytest.approx(best, abs=1e-3) and best < 0.75


def test_examples_without_any_vote_change_nothing_and_the_state_is_plain_json():
    features, answers, sources, _ = world(60)
    more = np.vstack([features, [[9.0, 9.0, 9.0]]])
    fitted = Harmoniser.fit(features, answers, sources, 2)
    with_empty = Harmoniser.fit(more, [*answers, ABSTAINS], np.vstack([sources, [[ABSTAINS] * 2]]), 2)
    assert with_empty == fitted and fitted.n == 60
    assert Harmoniser.model_validate_json(fitted.model_dump_json()) == fitted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": [[0.0]]}, r"shapes \(1, 1\), \(2,\), \(2, 1\)"),
        ({"features": [[0.0], [math.inf]]}, "not finite"),
        ({"answers": [0, 2]}, "n_values is 2"),
        ({"sources": [[ABSTAINS], [ABSTAINS]]}, "source 0 abstains on all 2 examples"),
        ({"answers": [ABSTAINS] * 2, "sources": np.zeros((2, 0))}, "without any vote"),
        ({"scalariser": "max"}, "use quadratic, linear or euclidean"),
    ],
)
def test_votes_that_cannot_be_harmonised_are_refused(change, message):
    given = {"features": [[0.0], [1.0]], "answers": [0, 1], "sources": [[0], [1]], "n_values": 2, **change}
    with pytest.raises(ValueError, match=message):
        Harmoniser.fit(**given)


def test_claims_and_findings_vote_by_value_and_abstain_where_nothing_is_clear(make):
    logic = load_logic("peripheral_smear")
    present = list(logic.concept("leukocyte").values).index("present")
    answers = [{"leukocyte": "present"}, {"leukocyte": "uncertain"}, {}]
    assert votes_of(logic, "leukocyte", answers).tolist() == [present, ABSTAINS, ABSTAINS]
    findings = [make.finding("leukocyte_count", 1.0, image=make.image_ref(1), probability=0.95)]
    settled = settled_answers(logic, [make.case(i=1), make.case(i=0)], findings)
    assert votes_of(logic, "leukocyte", settled).tolist() == [present, ABSTAINS]


def test_a_feature_that_is_constant_but_for_rounding_weighs_nothing():
    features, answers, sources, _ = world(n=300)
    constant = np.full((300, 1), 0.1)
    assert constant.std(0)[0] > 0  # by rounding
    fitted = Harmoniser.fit(np.hstack([features, constant]), answers, sources, 2)
    moved = np.hstack([features, constant + 0.01])
    assert np.abs(fitted.risk(moved, answers) - fitted.risk(np.hstack([features, constant]), answers)).max() < 0.01
