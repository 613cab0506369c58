import pytest

from vlmalign.evaluation.benchmarks.logs import number, read_log
from vlmalign.evaluation.benchmarks.refusals import state_of_reply
from vlmalign.records import DataError


def test_nul_bytes_are_an_error_that_names_their_range(tmp_path):
    file = tmp_path / "log.json"
    file.write_bytes(b'[{"a": 1}, ' + bytes(7) + b'{"a": 2}]')
    with pytest.raises(DataError, match=r"bytes 11 to 17 \(7 bytes\) are NUL.*damaged=skip"):
        read_log(file)


def test_skipping_damage_keeps_whole_records_before_and_after_it_and_says_so(tmp_path):
    file = tmp_path / "log.json"
    file.write_bytes(b'[{"a": 1}, {"a": ' + bytes(9) + b'2}, {"a": 3}, {"a": {"b": "x}"}}]')
    log = read_log(file, damaged="skip")
    assert log.rows == [{"a": 1}, {"a": 3}, {"a": {"b": "x}"}}]
    assert "3 records survive" in log.damage and "(9 bytes)" in log.damage


@pytest.mark.parametrize(
    "torn",
    [b'"b": {"c": 1}}, {"a": 4}]', b'{"c": 1}, "d": 2}, {"a": 4}]', b'tail"}\n{"a": 4}\n{"a": {"c": 1}, "b": '],
)
def test_a_part_of_a_torn_record_is_no_record(tmp_path, torn):
    (tmp_path / "log").write_bytes(bytes(4) + torn + bytes(2))
    assert read_log(tmp_path / "log", damaged="skip").rows == [{"a": 4}]


def test_an_escaped_nul_inside_a_text_is_no_damage(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text('{"a": "x\\u0000y"}\n')
    assert read_log(file).rows == [{"a": "x\0y"}]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b'[{"a": 1}, {"a"', "not JSON"),
        (b'{"a": 1}\n{"a": \n', ":2: it is not JSON"),
        (b'{"a": 1}\n[2]\n', ":2: it is '\\[2\\]', expected an object"),
        (b'{"a": "\xff"}', "byte 7 is no UTF-8"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, data, told):
    file = tmp_path / "log.jsonl"
    file.write_bytes(data)
    with pytest.raises(DataError, match=told):
        read_log(file)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("I'm sorry, but I can't help with that.", "refused"),
        ("As an AI system, I apologize but I cannot rate people.", "refused"),
        ("It would not be appropriate for me to provide a rating.", "refused"),
        ("I'm afraid I cannot provide a rating.", "refused"),
        ("Error code: 500 - overloaded", "failed"),
        ("Error code: 400 - {'code': 'content_filter'}", "filtered"),
        ("Image 1 is sharper. I cannot find a fault in it.", None),
        ("It would be better to crop it.", None),
    ],
)
def test_a_refusal_is_told_from_an_answer_by_how_it_begins(text, state):
    assert state_of_reply(text) == state


def test_a_number_too_large_for_a_float_is_none():
    assert number(10**400) is None and number("1e999") is None


def test_only_a_line_feed_ends_a_line_of_json(tmp_path):
    """Texts of models hold U+2028 and U+0085, which JSON lets stand as they are."""
    texts = ["one\u2028two", "a\x85b\u2029"]
    path = tmp_path / "log.jsonl"
    path.write_text("\r\n".join(f'{{"a": "{text}"}}' for text in texts), encoding="utf-8", newline="")
    assert [row["a"] for row in read_log(path).rows] == texts
    path.write_text("{}\n\n{" + texts[0], encoding="utf-8")
    with pytest.raises(DataError, match=":3: it is not JSON"):
        read_log(path)
