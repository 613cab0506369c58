import pytest

from vlmalign.data import CasePairs, DataSource, ExampleDataset, collate_pairs, pad_token
from vlmalign.data.mismatched import mismatched_answers
from vlmalign.records import DataError, Preference, assistant, user


@pytest.fixture
def data(records, build_folder, processor):
    """Records with an answer of their own, by (case, picture); more than one folder if asked for."""

    def make(*places, times=1, **options):
        def pairs(build):
            for n, (case, picture) in enumerate(places):
                yield records["preference"](
                    build, picture, id=f"p{n}", case_id=f"c{case}", chosen=(assistant(f"A {chr(97 + n)}"),),
                    rejected=(assistant(f"B {chr(97 + n)}"),),
                )  # fmt: skip

        folder = build_folder(f"f{len(places)}", "preference", pairs)
        return ExampleDataset([DataSource(path=folder)] * times, Preference, processor, **options)

    return make


def owners(data, answers):
    """Which record each answer is of."""
    by_answer = {answer: n for n in range(len(data.records)) for answer in data.responses(n)}
    return [by_answer[answer] for answer in answers]


def test_a_mismatched_answer_is_of_another_case_and_another_question(data):
    pairs = data((0, 1), (0, 2), (1, 3), (2, 3), (3, 4))  # cases 1 and 2 ask the same about the same picture
    for seed in range(5):
        of = owners(pairs, mismatched_answers(pairs, seed))
        assert not {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 4)} & set(enumerate(of))


def test_the_draw_depends_on_the_seed_alone_and_uses_nearly_every_record(data):
    pairs = data(*((n, n) for n in range(12)))
    draws = [mismatched_answers(pairs, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert sorted(owners(pairs, draws[0])) == list(range(12))


def test_records_of_one_case_alone_have_no_mismatched_answer(data):
    with pytest.raises(DataError, match="record 'p[01]': no answer to another case's prompt is there, and kto"):
        mismatched_answers(data((0, 1), (0, 2)), 0)


def test_answers_too_long_for_max_length_are_passed_over_and_refused_if_there_are_no_others(
    records, build_folder, processor
):
    def pairs(build):
        long, short = (user("Describe the field. " * n, images=1) for n in (4, 1))
        for n, (prompt, answer) in enumerate([(long, "A"), (short, "A " * 12), (short, "A b")]):
            answers = {"chosen": (assistant(answer),), "rejected": (assistant(f"{answer} c"),)}
            yield records["preference"](build, n, prompt=(prompt,), **answers)

    source = DataSource(path=build_folder("long", "preference", pairs))
    data = ExampleDataset([source], Preference, processor)
    data.max_length = data[0].prompt["input_ids"].shape[1] + max(map(len, data.responses(2)))
    for seed in range(4):
        assert mismatched_answers(data, seed)[0] in data.responses(2)
    data.max_length = data[0].prompt["input_ids"].shape[1] + max(map(len, data.responses(0)))
    with pytest.raises(DataError, match=f"record 'p0': .* that fits max_length {data.max_length}, and kto"):
        for seed in range(4):
            CasePairs(data, mismatched_seed=seed)


def test_a_record_named_twice_has_one_mismatched_answer(data):
    answers = mismatched_answers(data((0, 1), (1, 2), (2, 3), (3, 4), times=2), 0)
    assert answers[:4] == answers[4:]


def test_a_batch_points_to_the_mismatched_answer_of_each_pair(data, processor):
    pairs = data((0, 1), (1, 2), (2, 3))
    items = CasePairs(pairs, mismatched_seed=0)
    batch = collate_pairs([items[n] for n in range(3)], pad_token(processor))
    assert batch["pairs"].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]] and batch["batch"].n_prompts == 3
    for row, answer in zip(batch["pairs"][:, 2], mismatched_answers(pairs, 0), strict=True):
        assert batch["batch"].response_ids[row, : len(answer)].tolist() == list(answer.token_ids)
    with pytest.raises(ValueError, match="mismatched answers of single ones"):
        CasePairs(pairs, grouped=True, mismatched_seed=0)
