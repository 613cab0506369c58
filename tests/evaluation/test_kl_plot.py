import xml.etree.ElementTree as ElementTree

from vlmalign.evaluation.kl_plot import reward_over_kl_plot

POINTS = [
    {"round": 0, "kl": 0.0, "reward": 0.1, "reward_se": 0.02, "gold": 0.2, "gold_se": 0.03},
    {"round": 5, "kl": 1.5, "reward": 0.6, "reward_se": 0.02, "gold": 0.5, "gold_se": 0.03},
]


def test_every_run_has_its_panel_with_both_rewards():
    svg = reward_over_kl_plot({"ppo_expert": POINTS, "grpo_expert": POINTS}, {"ppo_expert": 5, "grpo_expert": 0})
    ElementTree.fromstring(svg)
    for text in (b"ppo expert", b"grpo expert", b"gold reward", b"proxy, maximised", b"nats per answer"):
        assert text in svg
    assert svg == reward_over_kl_plot(
        {"ppo_expert": POINTS, "grpo_expert": POINTS}, {"ppo_expert": 5, "grpo_expert": 0}
    )


def test_a_gold_reward_that_is_not_known_is_said_so():
    blind = [{**point, "gold": None, "gold_se": None} for point in POINTS]
    assert b"not known" in reward_over_kl_plot({"ppo": blind}, {})
    assert b"not known" not in reward_over_kl_plot({"ppo": POINTS}, {})


def test_the_kept_model_is_circled():
    assert reward_over_kl_plot({"ppo": POINTS}, {"ppo": 5}) != reward_over_kl_plot({"ppo": POINTS}, {"ppo": 0})
