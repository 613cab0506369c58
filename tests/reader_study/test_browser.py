"""A reader in a real browser: by keyboard, closes half way, comes back, exports; the export imports."""

import csv
import json
import runpy
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vlmalign.cli.reader_study import app
from vlmalign.reader_study import export_study, import_answers, read_public
from vlmalign.records import Judgement, Preference, read_records

devtools = runpy.run_path(str(Path(__file__).parent / "browser.py"))
CHROMIUM, Browser = devtools["CHROMIUM"], devtools["Browser"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (Debian: apt-get install chromium)")
PREFERRED = "effusion lies"


@pytest.fixture
def reader(tmp_path):
    """Open a page as one and the same person each time; closed at the end."""
    opened, downloads = [], tmp_path / "downloads"
    downloads.mkdir()

    def start(page, profile="profile"):
        opened.append(Browser(tmp_path / profile, downloads))
        opened[-1].open(page)
        return opened[-1]

    yield start, downloads
    for browser in opened:
        browser.close()


def rate(browser):
    """Answer the screen that is shown, by keyboard alone, in favour of one arm."""
    left = browser.js("document.querySelector('.words').textContent").find(PREFERRED) >= 0
    if browser.js("ITEMS[state.at].kind") == "guess":
        browser.press("1" if left else "2")
    else:
        browser.press("1", *("52" if left else "25"), "1" if left else "3")
    browser.press("Enter")


def downloaded(folder, suffix):
    end = time.monotonic() + 20
    while not (found := list(folder.glob(f"*{suffix}"))):
        assert time.monotonic() < end, "nothing was downloaded"
        time.sleep(0.05)
    return found[0]


def test_a_reader_rates_by_keyboard_closes_half_way_comes_back_and_the_export_imports(design, reader, tmp_path):
    start, downloads = reader
    study = design(readers=("anna",), criteria=("correctness",), mark_errors=True, guesses=2)
    export_study(study, tmp_path / "out")
    page = tmp_path / "out/reader-anna/index.html"
    browser = start(page)
    browser.press("Enter")  # start
    browser.wait("[...document.images].length === 1 && document.images[0].naturalWidth === 50")
    browser.press("Enter")  # nothing is answered yet: it stays, and says what is open
    assert browser.js("state.at") == 0 and "Still open" in browser.js("byId('lacks').textContent")
    browser.press("e", " ", " ")  # the first sentence: a major error
    browser.press("c", "o", "k", "Escape")
    for _ in range(3):
        rate(browser)
    assert browser.js("byId('count').textContent") == "4 of 8"
    browser.close()

    browser = start(page)
    assert (
        browser.js("state.at") == 3
        and browser.js("Object.values(state.answers).filter(a => a.answered).length") == 3
    )
    browser.press("b")
    assert browser.js("state.at") == 2 and browser.js("lacking(ITEMS[2]).length") == 0
    browser.press("Enter")
    for _ in range(5):
        rate(browser)
    assert "Everything is answered" in browser.js("byId('main').textContent")
    browser.press("j")
    saved = downloaded(downloads, ".json")
    browser.press("t")
    table = downloaded(downloads, ".csv")
    assert all(url.startswith(("file:", "blob:", "about:")) for url in browser.requested())
    browser.close()

    content = json.loads(saved.read_text())
    assert content["complete"] and all(a["seconds"] >= 0 and a["visits"] >= 1 for a in content["answers"])
    assert len(list(csv.DictReader(table.open(encoding="utf-8-sig", newline="")))) == 8
    found = import_answers(study, [saved, table], tmp_path / "read")
    assert found.counts["equal_copies"] == 8 and not found.problems and not found.missing
    pairs = read_records(tmp_path / "read/preferences", Preference)
    assert len(pairs) == 6 and all(p.provenance["arms"] == ["dpo_quagga", "sft_zebra"] for p in pairs)
    judgements = read_records(tmp_path / "read/judgements", Judgement)
    assert sum(j.components.get("major", 0) for j in judgements) == 1
    assert {j.critique for j in judgements} == {None, "ok"}
    guesses = [j for j in judgements if j.criterion == "guess"]
    assert all(j.candidate_ids[j.verdict == "second"].startswith("dpo_quagga") for j in guesses)
    told = CliRunner().invoke(app, ["analyze", str(study), str(saved), "--out", str(tmp_path / "analysis")])
    assert told.exit_code == 0 and "dpo_quagga was preferred over sft_zebra in 6 of 6 answers" in told.output, told
    results = json.loads((tmp_path / "analysis/results.json").read_text())
    assert results["preference"]["pairs"][0]["win_rate"]["low"] > 0.5 and results["blinding"]["right"] == 2
    assert results["errors"]["arms"]["sft_zebra"]["texts"] == 6 and results["times"]["all"]["n"] == 6


def test_markup_in_a_candidate_is_shown_and_not_run(design, reader, tmp_path):
    start, _ = reader
    study = design(readers=("anna",), title="Calm")
    export_study(study, tmp_path / "out", inline=True)
    readings = read_public(study).form("anna").readings
    place = next(i for i, r in enumerate(readings) if any("<script>" in "".join(t) for t in r.texts))
    browser = start(tmp_path / "out/reader-anna/index.html")
    browser.js(f"goTo({place})")
    shown = browser.js("[...document.querySelectorAll('.words')].map(w => w.textContent).join('')")
    assert "<script>document.title='run'</script>" in shown and 'onerror="' in shown
    assert browser.js("document.querySelectorAll('.words img, .words script').length") == 0
    browser.wait("document.images[0].naturalWidth === 50")  # within the page
    browser.js("document.body.append(Object.assign(document.createElement('script'), {text: 'document.title=1'}))")
    browser.js("(i => { i.setAttribute('onclick', 'document.title=1'); i.click(); })(document.createElement('i'))")
    assert browser.js("document.title") == "Calm"  # the policy stops whatever might get in
    assert "refused" in browser.js("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")


def test_progress_saved_to_a_file_goes_on_in_another_browser(design, reader, tmp_path):
    start, downloads = reader
    study = design(readers=("anna",), guesses=0)
    export_study(study, tmp_path / "out")
    page = tmp_path / "out/reader-anna/index.html"
    browser = start(page)
    browser.press("Enter", "2", "Enter", "3", "Enter")
    browser.js("download('json')")
    saved = downloaded(downloads, ".json").read_text()
    browser.close()
    browser = start(page, "another")
    assert browser.js("state.at") == -1
    browser.js(f"upload(new File([{json.dumps(saved)}], 'a.json'))")
    assert browser.js("state.at") == 2 and browser.js("ITEMS.filter(isDone).length") == 2
    answers = "[null, {reading: ITEMS[0].id}, {...state.answers[ITEMS[1].id], preference: null, answered: null}]"
    browser.js(f"upload(new File([JSON.stringify({{...answersFile(), answers: {answers}}})], 'b.json'))")
    assert (
        browser.js("ITEMS.filter(isDone).length") == 2
    )  # what lacks its parts, or was not finished, replaces nothing


def test_window_and_level_are_a_linear_map_and_zoom_keeps_the_point_under_the_pointer(design, reader, tmp_path):
    start, _ = reader
    export_study(design(readers=("anna",)), tmp_path / "out")
    browser = start(tmp_path / "out/reader-anna/index.html")
    browser.press("Enter")
    browser.js("VIEW.window = 51; VIEW.level = 100; drawView()")
    values = "(f => [+f.getAttribute('slope'), +f.getAttribute('intercept')])(document.querySelector('feFuncG'))"
    slope, intercept = browser.js(values)
    assert slope * 100 / 255 + intercept == pytest.approx(0.5)  # the level is mid-grey
    assert slope * (100 + 25.5) / 255 + intercept == pytest.approx(1)  # half a window above it: white
    browser.press("i")
    slope, intercept = browser.js(values)
    assert slope * (100 + 25.5) / 255 + intercept == pytest.approx(0)
    browser.press("0")
    browser.js("zoomBy(2, 0.25, 0.75)")
    assert browser.js("[VIEW.zoom, VIEW.x, VIEW.y]") == [2, -0.25, -0.75]  # 0.25 = 2 * 0.25 - 0.25


def test_a_crossed_study_pauses_between_its_parts_and_notes_who_goes_on_early(design, reader, tmp_path):
    start, _ = reader
    arms = ("sft_zebra", "dpo_quagga", "human_okapi")
    study = design(readers=("anna",), arms=arms, crossed=True, n_cases=2, guesses=0, compare="with_first")
    export_study(study, tmp_path / "out")
    browser = start(tmp_path / "out/reader-anna/index.html")
    browser.press("Enter", "1", "Enter", "3", "Enter")
    assert "Part 1 is finished" in browser.js("byId('main').textContent")
    assert browser.js("Object.keys(state.answers).length") == 2  # nothing of the next part was shown or timed
    browser.js("[...document.querySelectorAll('.actions button')].at(-1).click()")
    assert browser.js("state.sessions[0].early") and browser.js("!!byId('questions')")
