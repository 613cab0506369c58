from collections import Counter

from vlmalign.training.order import AnchoredOrder, EpochOrder


def epoch(order, number):
    order.set_epoch(number)
    return list(order)


def test_epochs_differ_and_depend_on_seed_and_number_only():
    order = EpochOrder(20, seed=3)
    first, second = epoch(order, 0), epoch(order, 1)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert epoch(EpochOrder(20, seed=3), 1) == second != epoch(EpochOrder(20, seed=4), 1)


def test_anchors_are_used_evenly_over_epochs_of_any_length():
    order = AnchoredOrder(7, anchors=5, seed=0)
    drawn = [pair for number in range(5) for pair in epoch(order, number)]
    assert set(Counter(anchor for _, anchor in drawn).values()) == {7}
    assert sorted(example for example, _ in drawn[:7]) == list(range(7))


def test_an_epoch_reached_by_resuming_has_the_same_anchors():
    straight = AnchoredOrder(7, anchors=5, seed=0)
    list(straight)
    assert epoch(straight, 3) == epoch(AnchoredOrder(7, anchors=5, seed=0), 3)
