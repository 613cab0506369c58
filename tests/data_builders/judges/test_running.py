"""A run over a folder of answers: order, states, budget, and what stops it."""

from data_builders.judges.running import run_judges
from vlmalign.records import Judgement, read_manifest, read_records


def test_every_answer_is_judged_in_input_order_and_states_are_counted(serve, configure, say):
    replies = {"0.0": say("7"), "1.0": say("3", "length"), "2.0": say(None, "stop", refusal="I cannot help")}
    server = serve(lambda prompt, attempt: replies.get(prompt.split()[-1], say("", "stop")))
    run = run_judges(configure(server, n=4))
    judged = read_records(run.out, Judgement)
    assert [j.case_id for j in judged] == ["c000", "c001", "c002", "c003"]
    assert [j.score for j in judged] == [7.0, None, None, None]
    assert [j.invalid_reason and j.invalid_reason.split(":")[0] for j in judged] == [
        None,
        "cut",
        "refused",
        "failed",
    ]
    counts = read_manifest(run.out).counts
    assert [counts[f"replies_{s}"] for s in ("answered", "cut", "refused", "failed")] == [1, 1, 1, 1]
    assert counts["invalid"] == 3 and run.asked == 4 and run.spent.tokens == 48
