"""Cards and calls: what counts as one, and what is wrong with the others."""

import pytest

from experts.protocol import ExpertCard, Metric
from experts.script import ExpertScript
from experts.trigger import TriggerCard, describe_cards, read_call, trigger_card

CELLS = TriggerCard(
    name="CELLS", expert="cells@1", modality="light microscopy", task="segmentation",
    arguments=("everything", "red_cell", "platelet"),
)  # fmt: skip
LUNGS = TriggerCard(
    name="LUNGS", expert="lungs@1", modality="x-ray", task="segmentation", arguments=("everything",)
)


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("<CELLS(platelet)>", "CELLS", "platelet"),
        ("I would like to see. <CELLS( Red_Cell )> Thank you.", "CELLS", "red_cell"),
        ("<CELLS>", "CELLS", "everything"),
        ("<LUNGS()>", "LUNGS", "everything"),
    ],
)
def test_one_call_is_read_with_its_argument(text, name, argument):
    call = read_call(text, [CELLS, LUNGS])
    assert (call.state, call.card.name, call.argument) == ("called", name, argument)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("No platelets are seen.", "none"),
        ("a < b and b > c, <b>bold</b>", "none"),
        ("<cells(platelet)>", "none"),
        ("<CELLS(platelet)> <CELLS(platelet)>", "several"),
        ("<CELLS(platelet)> or <LUNGS>", "several"),
        ("<SPLEEN(everything)>", "unknown_expert"),
        ("<CELLS(spleen)>", "wrong_argument"),
        ("<CELLS(platelet", "none"),
    ],
)
def test_anything_else_is_a_state_that_calls_nobody(text, state):
    call = read_call(text, [CELLS, LUNGS])
    assert call.state == state and call.card is None and call.argument is None
    assert bool(call.reason) == (state != "none")


def test_every_call_that_a_card_writes_is_read_back():
    for argument in CELLS.arguments:
        assert read_call(CELLS.call(argument), [CELLS]).argument == argument
    with pytest.raises(ValueError, match="argument is 'spleen': CELLS takes everything, red_cell, platelet"):
        CELLS.call("spleen")


def test_two_experts_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two experts are called CELLS"):
        describe_cards([CELLS, CELLS])


def expert_card(**fields):
    given = {
        "name": "2-cells", "version": "1", "architecture": "segmentation", "modality": "m", "domain": "d",
        "structures": ("red_cell", "platelet"), "concepts": ("red_cell_cover", "platelet_count"),
    }  # fmt: skip
    return ExpertCard(**{**given, **fields})


def test_a_trigger_card_tells_measured_performance_and_says_unknown_otherwise():
    dice = Metric(name="dice", structure="platelet", value=0.912, low=None, high=None, images=4, groups=1)
    assert trigger_card(expert_card()).performance == "unknown"
    card = trigger_card(expert_card(performance=(dice,)))
    assert card.performance == "dice of platelet 0.91" and card.name == "EXPERT_2_CELLS"


def test_a_script_asks_for_one_structure_only_when_all_findings_are_about_it():
    script = ExpertScript(expert_card(name="cells"))
    assert script.call(["platelet_count"]) == "<CELLS(platelet)>"
    assert script.call(["platelet_count", "platelet_cover"]) == "<CELLS(platelet)>"
    assert script.call(["platelet_count", "red_cell_cover"]) == "<CELLS(everything)>"
    assert script.call(["focus"]) == "<CELLS(everything)>"
