from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from vlmalign.records.suggestions import explain, hint, unknown


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rank: int = 1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    inner: Inner = Inner()


class Chosen(BaseModel):
    kind: Literal["flip", "drop"] = "flip"
    shares: dict[Literal["flip", "drop"], float] = {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "flop"}, "key 'kind' is 'flop': 'flip' or 'drop' is required. Did you mean 'flip'?"),
        ({"kind": "x"}, "key 'kind' is 'x': Input should be 'flip' or 'drop'. Correct it."),
        ({"shares": {"flop": 1}}, "unknown key 'shares.flop'. Did you mean 'flip'?"),
    ],
)
def test_a_misspelt_choice_is_told_the_nearest(given, message):
    with pytest.raises(ValidationError) as error:
        Chosen.model_validate(given)
    assert explain(error.value, "key", lambda place: []) == message


def known_at(place):
    return ["rank"] if place == ("inner",) else ["name", "inner"]


def error_of(given):
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(given)
    return error.value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": 3, "nam": "x"}, "unknown key 'nam'. Did you mean 'name'?"),  # before the wrong value
        ({"name": "x", "inner": {"rnk": 1}}, "unknown key 'inner.rnk'. Did you mean 'rank'?"),
        ({"name": "x", "q": 1}, "unknown key 'q'. Known keys: inner, name."),
        ({}, "the key 'name' is missing. Add it."),
        ({"name": 3}, "key 'name' is 3: Input should be a valid string. Correct it."),
    ],
)
def test_the_first_thing_that_is_wrong_is_one_sentence(given, message):
    assert explain(error_of(given), "key", known_at) == message


def test_a_word_where_a_list_belongs_is_told_how_to_write_it():
    class Listed(BaseModel):
        concepts: tuple[str, ...]

    with pytest.raises(ValidationError) as error:
        Listed.model_validate({"concepts": "focus"})
    said = explain(error.value, "setting", lambda place: ())
    assert said == "setting 'concepts' is 'focus': a list is required. Write concepts=[focus]."


def test_where_the_known_keys_are_not_known_none_are_listed():
    assert explain(error_of({"name": "x", "q": 1}), "key", lambda place: ()) == (
        "unknown key 'q'. Correct or drop it."
    )


def test_where_nothing_is_known_it_is_said():
    assert hint("x", []) == "Known: none."
    assert unknown("key", "x", []) == "unknown key 'x'. Known keys: none."
