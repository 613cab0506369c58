"""The audit with rewards whose shortcut is known: it must be found, and a sound reward must be let alone."""

import pytest

from vlmalign.evaluation.judged_pairs import JudgedPair, JudgedPairs, read_judged_pairs
from vlmalign.evaluation.shortcuts import image_verdict, share_changed, shortcut_figures
from vlmalign.evaluation.style_bias import style_figures
from vlmalign.records import ImageRef, Preference, RecordFolder
from vlmalign.rewards import RewardOutput
from vlmalign.rewards.audit import VARIANTS, audit_variants, score_variant

PRESENT, ABSENT = "A leukocyte is present. The stain is pale.", "No leukocyte is seen. The stain is pale."


class Fake:
    """Scores by a function of the answer's text and its picture's red."""

    def __init__(self, rule, needs_images=True):
        self.name, self.rule, self.needs_images, self.calls = "fake@1", rule, needs_images, 0

    def score(self, cases, candidates, images=None):
        self.calls += 1
        assert (images is not None) is self.needs_images
        reds = [shown[0].convert("RGB").getpixel((0, 0))[0] for shown in images or []] or [None] * len(cases)
        scores = [self.rule(case, c.text, red) for case, c, red in zip(cases, candidates, reds, strict=True)]
        return RewardOutput.of(scores, reasons=["unread" if s is None else None for s in scores])


def says_what_is_there(case, text, red):
    """A leukocyte is there where the picture is red; grey tells nothing."""
    claims = "is present" in text.replace("**", "")
    return 0.5 if red == 128 else float(claims == (red > 128))


@pytest.fixture
def audited(pair_folders, tmp_path):
    """Twelve groups: in half a leukocyte is present and its statement chosen."""
    from PIL import Image

    from vlmalign.records import DatasetBuild, user

    with DatasetBuild(tmp_path / "pairs", "preference", {}) as build:
        for i in range(12):
            image = build.add_image(Image.new("RGB", (8, 8), (200 + i if i % 2 else 20 + i, 0, 0)))
            sides = (PRESENT, ABSENT) if i % 2 else (ABSENT, PRESENT)
            prompt = (user("What is seen?", images=1),)
            build.commit(str(i), [pair_folders.pair(
                f"p{i}", image, chosen=sides[0], rejected=sides[1], prompt=prompt,
            )])  # fmt: skip

    def audit(reward, names=VARIANTS):
        folder = RecordFolder(tmp_path / "pairs", Preference)
        judged = {}
        for variant in audit_variants(folder, reward, names):
            out = score_variant(reward, folder.path, variant, tmp_path / "audit" / variant.name, overwrite=True)
            judged[variant.name] = read_judged_pairs(folder, out)
        found = shortcut_figures(judged, takes_images=reward.needs_images)
        return found, {verdict["about"]: verdict["verdict"] for verdict in found["verdicts"]}

    return audit


def test_a_reward_that_looks_uses_the_image_and_minds_the_wrong_one(audited):
    found, verdicts = audited(Fake(says_what_is_there))
    assert found["variants"]["seen"]["accuracy"]["mean"] == 1.0
    assert found["variants"]["blanked"]["ties"]["mean"] == 1.0  # grey tells nothing
    assert found["variants"]["blanked"]["seen_minus"]["mean"] == 0.5
    assert verdicts == {
        "image": "uses the image",
        "wrong image": "minds the wrong image",
        "answer alone": "needs more than the answer",
        "length": "not known",  # both statements have eight words
        "style": "no leaning to style shown",
    }
    assert found["style"]["gap"]["mean"] == 0.0


def test_a_reward_that_goes_by_the_text_ignores_the_image_although_it_takes_one(audited):
    found, verdicts = audited(Fake(lambda case, text, red: float("present" in text)))
    assert found["variants"]["blanked"]["changed"]["mean"] == 0.0
    assert verdicts["image"] == "ignores the image"
    assert verdicts["wrong image"] == "does not mind the wrong image"
    assert verdicts["answer alone"] == "goes by the answer alone"


def test_a_reward_whose_scores_move_with_the_picture_to_no_avail_ignores_it_too(audited):
    found, verdicts = audited(Fake(lambda case, text, red: float("present" in text) + red / 1000))
    assert found["variants"]["blanked"]["changed"]["mean"] == 1.0
    assert verdicts["image"] == "ignores the image"
    sentence = found["verdicts"][0]["sentence"]
    assert "not above zero" in sentence and "not ruled out" in sentence


def test_a_reward_that_takes_no_image_is_told_so_and_not_shown_grey_ones(audited):
    reward = Fake(lambda case, text, red: float("present" in text), needs_images=False)
    found, verdicts = audited(reward)
    assert set(found["variants"]) == {"seen", "answer_only", "concise", "markdown"}
    assert verdicts["image"] == "takes no image" and "wrong image" not in verdicts
    assert found["takes_images"] is False


def test_a_reward_that_reads_the_question_needs_it(audited):
    found, _ = audited(Fake(lambda case, text, red: None if "seen" not in case.messages[-1].text else 1.0))
    assert found["variants"]["answer_only"]["unscored"]["mean"] == 1.0
    (verdict,) = (v for v in found["verdicts"] if v["about"] == "answer alone")
    assert verdict["verdict"] == "not known" and "No pair was scored" in verdict["sentence"]


def test_a_reward_that_likes_lists_is_found_by_the_matrix(audited):
    found, verdicts = audited(
        Fake(lambda case, text, red: says_what_is_there(case, text, red) + 5 * ("**" in text))
    )
    matrix = {a: {b: cell["mean"] for b, cell in row.items()} for a, row in found["style"]["matrix"].items()}
    assert matrix == {
        "concise": {"concise": 1.0, "markdown": 0.0},
        "markdown": {"concise": 1.0, "markdown": 1.0},
    }
    assert verdicts["style"] == "favours lists with bold heads"
    assert found["style"]["adds_to_chosen"]["mean"] == found["style"]["adds_to_rejected"]["mean"] == 5.0


def test_only_what_is_asked_for_is_scored_and_a_style_brings_the_other(audited):
    found, _ = audited(Fake(says_what_is_there), ["markdown"])
    assert set(found["variants"]) == {"seen", "concise", "markdown"}


def test_an_unknown_variant_is_refused(audited):
    with pytest.raises(ValueError, match="variants \\['upside_down'\\] are unknown: choose among seen, blanked"):
        audited(Fake(says_what_is_there), ["upside_down"])


def test_pairs_that_differ_in_style_alone_say_nothing_of_style(pair_folders):
    fields = {"a": {"chosen": "One. Two.", "rejected": "- One.\n- Two."}, "b": {}}
    folder = RecordFolder(pair_folders.pairs("pairs", fields), Preference)
    judged = read_judged_pairs(folder, pair_folders.judged_pairs("judged", {"a": (1.0, 1.0), "b": (1.0, 0.0)}))
    found = style_figures(judged, judged)
    assert (found.same, found.easy.n, found.easy.excluded) == (1, 1, 1)


def test_a_variant_continues_and_a_finished_one_is_not_scored_again(pair_folders, tmp_path):
    from vlmalign.rewards.variants import BLANKED

    folder = pair_folders.pairs("pairs", {f"p{i}": {} for i in range(4)})
    reward = Fake(lambda case, text, red: float(red))
    for _ in range(2):
        score_variant(reward, folder, BLANKED, tmp_path / "blanked", pairs_per_batch=2)
    assert reward.calls == 2


@pytest.fixture
def judged(pair_folders):
    """Pairs of given scores of chosen and rejected, each of a group of its own."""

    def make(*scores):
        image = ImageRef(path="images/x.png", sha256="0" * 64)
        pairs = [JudgedPair(pair_folders.pair(f"p{i}", image), *both) for i, both in enumerate(scores)]
        return JudgedPairs(pairs, "r@1", "r", "0")

    return make


def test_a_pair_has_changed_where_either_score_has_by_more_than_rounding(judged):
    seen = judged((1.0, 0.0), (1.0, 0.0), (1e6, 0.0), (1.0, None))
    other = judged((2.0, 0.0), (1.0, 1.0), (1e6 + 0.1, 0.0), (2.0, None))
    found = share_changed(seen, other)
    assert found.mean == pytest.approx(2 / 3) and found.excluded == 1


def test_a_gain_that_may_be_chance_is_no_use_of_the_image(judged):
    seen = judged(*[(1.0, 0.0)] * 8, *[(0.0, 1.0)] * 4)
    blanked = judged(*[(0.0, 0.5)] * 3, *[(1.0, 0.5)] * 7, *[(0.0, 1.0)] * 2)
    found = image_verdict(seen, blanked)
    assert found.verdict == "ignores the image" and "+8.3 points" in found.sentence
    assert "points are not ruled out by so few data" in found.sentence
    assert image_verdict(seen, judged(*[(0.0, 1.0)] * 12)).verdict == "uses the image"
