import numpy as np
import pytest
from PIL import Image

from experts import load_expert
from experts.ensemble import ViewSettings, ViewsExpert, combine
from experts.protocol import Examination, ExpertCard, Measured, Presence
from experts.views import VIEWS, show, undo
from vlmalign.records import DataError


class Centre:
    """Says where the bright pixel lies, in shares of the width, and marks it."""

    card = ExpertCard(
        name="centre", version="1", architecture="toy", modality="xray", domain="toy", concepts=("place",)
    )

    def examine(self, images):
        found = []
        for image in images:
            array = np.asarray(image.convert("L"))
            column = int(array.max(0).argmax())
            labels = (array > 128).astype(np.uint8)
            found.append(Examination({"place": Measured(column / array.shape[1], 0.0)}, labels, {"place": 1}))
        return found


def bright(column=3):
    array = np.zeros((10, 100), dtype=np.uint8)
    array[5, column] = 255
    return Image.fromarray(array)


def settings(*views, laterality_matters=True):
    return ViewSettings(member="m", views=views, laterality_matters=laterality_matters)


def test_the_variance_of_a_combination_is_within_plus_between():
    found = combine([Examination({"x": Measured(v, s)}) for v, s in ((1.0, 0.3), (2.0, 0.4))])
    assert found.measurements["x"].value == 1.5
    assert found.measurements["x"].std == pytest.approx(np.sqrt((0.09 + 0.16) / 2 + 0.25), abs=1e-6)


def test_only_members_that_know_a_concept_speak_of_it():
    found = combine([
        Examination({}, presences={"a": Presence(0.2, 0.0, 0.5), "b": Presence(0.9, 0.0, 0.4)}),
        Examination({}, presences={"a": Presence(0.4, 0.0, 0.6)}),
    ])  # fmt: skip
    assert found.presences == {"a": Presence(0.3, 0.1, None), "b": Presence(0.9, 0.0, 0.4)}


def test_what_most_members_cannot_assess_is_not_assessed_and_a_minority_lowers_the_probability():
    yes = Examination({"vcdr": Measured(0.5, 0.0, 1.0)})
    no = Examination({}, not_assessed={"vcdr": "the cup mask is empty"})
    assert combine([yes, no, no]).not_assessed == {"vcdr": "only 1 of 3: the cup mask is empty"}
    assert combine([yes, yes, no]).measurements["vcdr"].probability == pytest.approx(2 / 3, abs=1e-6)


def test_labels_are_voted_and_a_tie_goes_to_the_background():
    members = [Examination({}, np.array([row], dtype=np.uint8), {"x": 1}) for row in ([0, 1, 1], [0, 1, 0])]
    assert combine(members).labels.tolist() == [[0, 1, 0]]


def test_members_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="mm and px"):
        combine([Examination({"x": Measured(1.0, 0.0, None, unit)}) for unit in ("mm", "px")])
    with pytest.raises(ValueError, match="different labels"):
        combine([Examination({}, np.zeros((1, 1), np.uint8), {"x": k}) for k in (1, 2)])
    with pytest.raises(ValueError, match="a number for some members"):
        combine([Examination({"x": Measured(1.0, 0.0)}), Examination({}, presences={"x": Presence(0.5)})])


def test_views_of_any_expert_are_averaged_and_their_labels_put_back():
    expert = ViewsExpert(Centre(), Centre.card, settings("as_is", "left_2", "right_2"))
    (found,) = expert.examine([bright(30)])  # seen at columns 30, 28 and 32
    assert found.measurements["place"] == Measured(0.3, pytest.approx(0.01633, abs=1e-5), None, "1")
    assert found.labels[5].nonzero()[0].tolist() == [30]


def test_a_mirrored_view_is_no_default_and_changes_what_is_on_a_side():
    with pytest.raises(ValueError, match="laterality_matters is true"):
        ViewsExpert(Centre(), Centre.card, settings("as_is", "mirrored"))
    allowed = ViewsExpert(Centre(), Centre.card, settings("as_is", "mirrored", laterality_matters=False))
    (found,) = allowed.examine([bright(10)])
    assert found.measurements["place"].value == pytest.approx((0.10 + 0.89) / 2)
    assert found.labels[5].nonzero()[0].tolist() == [10]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_keeps_the_size_and_is_undone(view):
    image = bright(50)
    seen = np.asarray(show(image, view).convert("L"))
    assert seen.shape == (10, 100)
    assert (undo((seen > 128).astype(np.uint8), view)[5].nonzero()[0] == [50]).all()


def test_an_ensemble_of_folders_asks_members_only_what_it_should(adopt_from, blob_expert, tmp_path):
    two = adopt_from(
        "ensemble", {"members": ["a", "b"], "thresholds": {"blob": 0.4}},
        {"a": str(blob_expert), "b": str(blob_expert)},
    )  # fmt: skip
    image = Image.new("L", (32, 32), 90)
    alone, both = (load_expert(folder).examine([image])[0].presences["blob"] for folder in (blob_expert, two))
    assert (both.probability, both.std, both.threshold) == (alone.probability, alone.std, 0.4)
    card = load_expert(two).card
    assert card.concepts == ("blob",) and card.limits[0].startswith("Performance unknown")
    (two / "b" / "expert.json").unlink()
    with pytest.raises(DataError, match=r"b/expert\.json is missing"):
        load_expert(two)


def test_adopted_views_look_at_the_member_several_times(adopt_from, blob_expert):
    folder = adopt_from("views", {"member": "m", "views": ["as_is", "brighter"]}, {"m": str(blob_expert)})
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 200, (32, 32), dtype=np.uint8))
    member = load_expert(blob_expert)
    p = [member.examine([show(image, view)])[0].presences["blob"].probability for view in ("as_is", "brighter")]
    assert load_expert(folder).examine([image])[0].presences["blob"].probability == pytest.approx(
        np.mean(p), abs=1e-6
    )
    with pytest.raises(DataError, match="laterality_matters is true"):
        adopt_from("views", {"member": "m", "views": ["as_is", "mirrored"]}, {"m": str(blob_expert)}, name="x")
