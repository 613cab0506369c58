"""Conversations about one field that holds a segmented leukocyte, few platelets and moderate red cells."""

import math

import pytest
from PIL import Image

from vlmalign.clinical import load_logic, question_text
from vlmalign.models import build_tiny_llava, save_vlm
from vlmalign.records import DatasetBuild, Judgement, RecordFolder, assistant, user
from vlmalign.rewards import ProcessReward, RewardOutput, load_reward, score_steps, score_whole
from vlmalign.rewards.rollout_turns import RolloutTurns
from vlmalign.rewards.step_judgements import judge_turns

LOGIC = "peripheral_smear"
TRUTH = {"leukocyte": "present", "leukocyte_kind": "segmented", "crowding": "moderate", "platelets": "few"}
ASK = {name: question_text(load_logic(LOGIC), name, seed=0) for name in (*TRUTH, "stain", "impression")}
RIGHT = {
    "leukocyte": "Yes, one is present.", "leukocyte_kind": "The nucleus is segmented.",
    "platelets": "Few platelets are seen in the field.", "impression": "The impression is a leukocyte field.",
}  # fmt: skip
PICTURE = Image.new("RGB", (32, 32))


@pytest.fixture
def known(make):
    return make.case([make.finding(name, value) for name, value in TRUTH.items()])


@pytest.fixture
def talk(make):
    """A conversation from pairs of a concept that is asked and an answer."""

    def build(*turns, n=0, **fields):
        texts = [turns[0][1]] + [text for concept, answer in turns[1:] for text in (ASK[concept], answer)]
        return make.candidate(*texts, n=n, extra={"first_question": ASK[turns[0][0]]}, **fields)

    return build


def of_logic(**settings):
    return ProcessReward("logic", settings={"logic": LOGIC}, **settings)


def right(*concepts):
    return [(concept, RIGHT[concept]) for concept in concepts]


@pytest.mark.parametrize(
    ("aggregate", "expected"), [("min", 0.0), ("product", 0.0), ("mean", 2 / 3), ("last", 1.0)]
)
def test_a_wrong_turn_in_the_middle_is_found_where_it_is(known, talk, aggregate, expected):
    middle = ("platelets", "No platelets are present in the field.")
    said = talk(*right("leukocyte"), middle, *right("impression"))
    output = of_logic(aggregate=aggregate).score([known], [said])
    assert output.mean == pytest.approx((expected,))
    texts = said.text.split("\n")
    ends = [len(texts[0]), len(texts[0]) + 1 + len(texts[1]), len(said.text)]
    assert output.steps == (((ends[0], 1.0), (ends[1], 0.0), (ends[2], 1.0)),)
    assert output.components["worst_turn"] == (1.0,) and output.components["wrong"] == (1.0,)


def test_a_turn_is_the_share_of_its_checkable_statements_that_are_right(known, talk):
    two = "Yes, one is present. There are no platelets in the field. Unchanged from the previous smear."
    said = [talk(("leukocyte", two)), talk(*right("leukocyte", "platelets"))]
    assert of_logic().score([known] * 2, said).mean == pytest.approx((1 / 3, 1.0))
    half = talk(("leukocyte", "Yes, one is present. No platelets are seen in the field."), *right("impression"))
    scores = {how: of_logic(aggregate=how).score([known], [half]).mean[0] for how in ("min", "product", "mean")}
    assert scores == pytest.approx({"min": 0.5, "product": 0.5, "mean": 0.75})


def test_a_turn_that_cannot_be_checked_is_a_state_and_the_setting_decides(known, talk):
    said = talk(*right("leukocyte"), ("platelets", "Lovely weather."), ("stain", "Pale."))
    strict, lenient = (of_logic(unscored=rule).score([known], [said]) for rule in ("invalid", "skip"))
    assert strict.reasons == ("turn 1: no claim parsed",) and math.isnan(strict.mean[0])
    assert lenient.mean == (1.0,) and lenient.components["unscored_turns"] == (2.0,)
    assert lenient.steps == (((len(RIGHT["leukocyte"]), 1.0),),)
    silent = of_logic(unscored="skip").score([known], [talk(("platelets", "Lovely weather."))])
    assert silent.reasons == ("no turn has a score; turn 0: no claim parsed",)


def test_where_truth_is_not_known_a_turn_that_breaks_the_logic_is_wrong_and_one_that_keeps_it_has_no_score(
    make, talk
):
    said = talk(("leukocyte", "No, none is present."), ("leukocyte_kind", RIGHT["leukocyte_kind"]))
    case = make.case([make.finding("platelets", "few")])
    found = of_logic(unscored="skip").score([case], [said])
    assert found.mean == (0.0,) and found.components["breaks"] == (1.0,)
    assert found.components["unscored_turns"] == (1.0,)


def test_a_true_turn_is_not_blamed_for_a_wrong_one_before_it(known, talk):
    said = talk(("leukocyte", "No, none is present."), ("leukocyte_kind", RIGHT["leukocyte_kind"]))
    assert [score for _, score in of_logic().score([known], [said]).steps[0]] == [0.0, 1.0]


class Lengths:
    """Scores the number of assistant turns less two; a conversation that ends on `?` is invalid."""

    name, needs_images = "lengths@1", False

    def score(self, cases, candidates, images=None):
        scores = [None if c.text.endswith("?") else c.text.count("\n") - 1.0 for c in candidates]
        return RewardOutput.of(scores, reasons=["a question" if s is None else None for s in scores], flops=2.0)


def of_prefix(aggregate, sigmoid=False):
    from vlmalign.rewards.prefix_turns import PrefixTurns

    return ProcessReward(PrefixTurns(Lengths(), sigmoid=sigmoid), aggregate=aggregate)


def test_any_reward_scores_the_conversation_so_far(known, talk):
    said = talk(*right("leukocyte", "platelets", "impression"))
    output = of_prefix("min").score([known] * 2, [said, talk(("stain", "Pale?"), ("stain", "Pale."), n=1)])
    assert [score for _, score in output.steps[0]] == [-1.0, 0.0, 1.0] and output.mean[0] == -1.0
    assert output.reasons == (None, "turn 0: a question") and output.flops == 2.0
    squashed = of_prefix("product", sigmoid=True).score([known], [said])
    assert squashed.mean[0] == pytest.approx(0.5 / (1 + math.e) / (1 + math.exp(-1)))


def test_a_product_of_scores_that_are_no_probabilities_is_refused(known, talk):
    with pytest.raises(ValueError, match=r"a turn has the score -1\.0, expected a number from 0 to 1"):
        of_prefix("product").score([known], [talk(*right("leukocyte", "platelets"))])


def test_a_scalar_reward_model_judges_prefixes_as_it_judges_conversations(reward_run, make, talk):
    said = talk(*right("leukocyte", "platelets"))
    plain = load_reward("scalar", run=reward_run)
    process = load_reward(
        "process", turns="reward", settings={"reward": "scalar", "settings": {"run": reward_run}}, aggregate="last"
    )
    first, case = talk(*right("leukocyte")), make.case()
    alone = plain.score([case] * 2, [first, said], [[PICTURE]] * 2).mean
    output = process.score([case], [said], [[PICTURE]])
    assert [score for _, score in output.steps[0]] == pytest.approx(alone, abs=1e-5)
    with pytest.raises(ValueError, match="looks at the images"):
        process.score([case], [said])


class Endings:
    """Finishes every conversation with the given last answers, in turn; None: cut."""

    name = "endings@1"

    def __init__(self, *last):
        self.last, self.asked = last, []

    def complete(self, unfinished):
        self.asked += unfinished
        return [[self._end(u, last) for last in self.last] for u in unfinished], 7.0

    def _end(self, unfinished, last):
        if last is None:
            return None
        count = len(unfinished.follow_ups)
        rest = [(user(q), assistant(last)) for q in unfinished.follow_ups]
        return (assistant("Well." if count else last), *(m for pair in rest for m in pair))


THICK = "The impression is a thick area."


def test_a_turn_is_worth_the_share_of_read_endings_that_conclude_rightly(known, talk):
    policy = Endings(RIGHT["impression"], THICK, RIGHT["impression"], None, "Who knows.")
    scorer = RolloutTurns(policy, LOGIC, n=5)
    said = talk(*right("leukocyte", "platelets", "impression"))
    output = ProcessReward(scorer, aggregate="product").score([known], [said], [[PICTURE]])
    assert [score for _, score in output.steps[0]] == pytest.approx([2 / 3, 2 / 3, 1.0])
    assert output.mean == pytest.approx((4 / 9,)) and output.flops == 7.0
    assert output.components["rollouts"] == (10.0,) and output.components["unread_rollouts"] == (4.0,)
    first, second = policy.asked
    assert first.messages[-1].text == ASK["platelets"] and first.follow_ups == (ASK["impression"],)
    assert second.messages[-1].text == ASK["impression"] and second.follow_ups == ()
    assert first.messages[0].n_images == 1 and len({*first.seeds, *second.seeds}) == 10


def test_endings_that_cannot_be_judged_leave_the_turn_without_a_score(make, known, talk):
    said = talk(*right("leukocyte", "impression"))
    unread = ProcessReward(RolloutTurns(Endings(None), LOGIC, n=1)).score([known], [said], [[PICTURE]])
    assert unread.reasons == ("turn 0: no ending says the final concepts",)
    policy = Endings(RIGHT["impression"])
    unknown = ProcessReward(RolloutTurns(policy, LOGIC, n=1)).score([make.case()], [said], [[PICTURE]])
    assert unknown.reasons == ("turn 0: nothing final is known of the case (impression)",) and not policy.asked


def test_a_policy_folder_finishes_conversations_the_same_way_each_time(tmp_path, known, talk):
    vlm = build_tiny_llava([*ASK.values(), *RIGHT.values()], image_size=32, patch_size=16, hidden=32, layers=1,
                           vision_hidden=32, vision_layers=1, heads=2, vocab_size=300)  # fmt: skip
    save_vlm(vlm, tmp_path / "model")
    settings = {"policy": str(tmp_path), "logic": LOGIC, "n": 2, "sampling": {"max_new_tokens": 6}}
    reward = load_reward("process", turns="rollouts", settings=settings, unscored="skip")
    said = talk(*right("leukocyte", "platelets", "impression"))
    output = reward.score([known], [said], [[PICTURE]])
    assert output.mean == (1.0,) and output.components["unread_rollouts"] == (4.0,)  # babble says nothing
    assert output.flops > 0
    asked = reward.scorer._unfinished(known, said, [PICTURE])
    assert reward.scorer.completion.complete(asked)[0] == reward.scorer.completion.complete(asked)[0]


def test_every_turn_becomes_a_judgement_with_its_number(tmp_path, known, talk):
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        image = build.add_image(PICTURE)
        build.commit("0", [known.model_copy(update={"images": (image,)})])
    with DatasetBuild(tmp_path / "candidates", "candidate", {}) as build:
        wrong = ("platelets", "No platelets are present in the field.")
        build.commit("0", [talk(*right("leukocyte"), wrong, ("stain", "Hm.")), talk(wrong, n=1, finished=False)])
    out = score_steps(of_logic(), tmp_path / "cases", tmp_path / "candidates", tmp_path / "steps")
    folder = RecordFolder(out, Judgement)
    rows = [(j.id, j.step, j.score, j.invalid_reason) for j in folder]
    assert rows == [
        ("c0/0/process/0", 0, 1.0, None), ("c0/0/process/1", 1, 0.0, None),
        ("c0/0/process/2", 2, None, "no claim parsed"),
        ("c0/1/process/0", 0, None, "unfinished: cut by the token limit"),
    ]  # fmt: skip
    assert folder.manifest.counts["invalid"] == 2
    assert score_whole(of_logic(), [known], [talk(wrong, finished=False)], None).valid == (False,)
    assert judge_turns(of_logic(), "x", [], [], None) == ([], 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"turns": "logik"}, "Did you mean 'logic'"),
        ({"turns": "logic"}, r"turns 'logic': missing a required argument: 'logic'"),
        ({"turns": "logic", "settings": {"logic": LOGIC, "weights": {}}}, "Its settings are: logic, findings"),
        ({"turns": "logic", "settings": {"logic": LOGIC}, "aggregate": "max"}, "unknown aggregate 'max'"),
        (
            {"turns": "logic", "settings": {"logic": LOGIC}, "unscored": "zero"},
            "Known unscored rules: invalid, skip",
        ),
        ({"turns": "rollouts", "settings": {"policy": "x", "logic": LOGIC, "n": 0}}, "n is 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        load_reward("process", **settings)


def test_another_setting_is_another_judge():
    names = {of_logic().name, of_logic(aggregate="mean").name, of_logic(unscored="skip").name}
    names.add(ProcessReward("logic", settings={"logic": LOGIC, "concepts": ["stain"]}).name)
    assert len(names) == 4
