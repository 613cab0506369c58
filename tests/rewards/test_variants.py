import pytest

from vlmalign.records import DataError, Preference, RecordFolder, read_records, user
from vlmalign.rewards.answer_styles import concise, markdown, sentences
from vlmalign.rewards.variants import (
    ANSWER_ONLY,
    BLANKED,
    CONCISE,
    MARKDOWN,
    SEEN,
    VariantFolder,
    swapped,
)

ANSWER = "The ratio is 3.5 of 5. A leukocyte, i.e. one, is present! No clot"


@pytest.mark.parametrize("text", [ANSWER, "Yes", "# Head\n\n1. one\n2) two.\n* three", "- **A b** c.\n- d"])
def test_a_style_changes_marks_and_no_word(text):
    plain = concise(text)
    assert "\n" not in plain and "**" not in plain
    assert concise(plain) == plain == concise(markdown(text))
    assert markdown(text) == markdown(markdown(text))
    assert all(line.startswith("- **") for line in markdown(text).splitlines())


def test_numbers_are_not_cut_at_their_point():
    assert sentences(ANSWER)[0] == "The ratio is 3.5 of 5."


def test_a_single_word_stays_without_an_end():
    assert (concise("Yes"), markdown("Yes")) == ("Yes", "- **Yes**")


def test_styles_rewrite_both_sides_and_leave_questions_alone(pair_folders):
    turns = [{"role": "assistant", "content": [{"type": "text", "text": "One. Two."}]}, user("- Why?")]
    chosen = (turns[0], turns[1].model_dump(), turns[0])
    folder = pair_folders.pairs("pairs", {"a": {"chosen": chosen, "rejected": "- Three"}})
    (plain,) = VariantFolder(folder, CONCISE)
    (listed,) = VariantFolder(folder, MARKDOWN)
    assert [turn.text for turn in plain.chosen] == ["One. Two.", "- Why?", "One. Two."]
    assert [turn.text for turn in listed.chosen] == ["- **One.**\n- **Two.**", "- Why?", "- **One.**\n- **Two.**"]
    assert (plain.rejected[0].text, listed.rejected[0].text) == ("Three", "- **Three**")


def test_blanked_pictures_are_grey_of_the_same_size_and_carry_another_hash(pair_folders):
    folder = pair_folders.pairs("pairs", {"a": {}})
    ((seen,), (blank,)) = (VariantFolder(folder, variant) for variant in (SEEN, BLANKED))
    picture = VariantFolder(folder, BLANKED).image(blank.images[0])
    assert picture.size == (8, 8) and set(picture.getdata()) == {(128, 128, 128)}
    assert blank.images[0].sha256 != seen.images[0].sha256
    assert blank.model_copy(update={"images": seen.images}) == seen


def test_swapped_pictures_are_of_another_group_and_the_same_for_a_case_and_a_seed(pair_folders):
    fields = {f"p{i}": {"group_id": f"g{i % 3}", "case_id": f"c{i // 2}"} for i in range(12)}
    fields |= {f"q{i}": {"group_id": f"g{i % 3}", "case_id": f"c{i // 2}"} for i in range(12)}
    folder = RecordFolder(pair_folders.pairs("pairs", fields), Preference)
    pairs = list(folder)
    owner = {pair.images[0].sha256: pair.group_id for pair in pairs}
    drawn = [[swapped(pairs, seed=seed).pair(pair) for pair in pairs] for seed in (0, 0, 1)]
    for pair, other in zip(pairs, drawn[0], strict=True):
        assert owner[other.images[0].sha256] != pair.group_id == other.group_id
    assert drawn[0] == drawn[1] != drawn[2]
    of_case = {}
    for other in drawn[0]:
        of_case.setdefault((other.case_id, other.group_id), set()).add(other.images)
    assert {len(images) for images in of_case.values()} == {1}


def test_a_role_swapped_pair_gets_the_picture_of_neither_of_its_groups(pair_folders):
    item = {"provenance": {"groups": ["g0", "g1"]}}
    fields = {"a": {"group_id": "g0", **item}, "b": {"group_id": "g1", **item}, "c": {"group_id": "g2"}}
    pairs = read_records(pair_folders.pairs("pairs", fields), Preference)
    for seed in range(5):
        change = swapped(pairs, seed=seed).pair
        assert change(pairs[0]).images == change(pairs[1]).images == pairs[2].images


def test_one_group_alone_has_no_other_picture_to_show(pair_folders):
    pairs = read_records(pair_folders.pairs("pairs", {"a": {"group_id": "g"}, "b": {"group_id": "g"}}), Preference)
    with pytest.raises(DataError, match="record 'a'.*no other group has other pictures.*1 group here"):
        swapped(pairs)


def test_the_answer_alone_is_left_without_question_and_picture(pair_folders):
    folder = pair_folders.pairs("pairs", {"a": {"prompt": (user("Is it malaria?", images=1),)}})
    (pair,) = VariantFolder(folder, ANSWER_ONLY)
    assert "malaria" not in pair.prompt[0].text and pair.prompt[0].n_images == 1
    assert pair.chosen[0].text == "A leukocyte is present."
    assert set(VariantFolder(folder, ANSWER_ONLY).image(pair.images[0]).getdata()) == {(128, 128, 128)}
