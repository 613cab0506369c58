"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const Q = DATA.questions, ITEMS = DATA.readings, SIDES = Q.texts === 2 ? ["left", "right"] : ["text"];
const STORE = `vlmalign-study:${DATA.study}:${DATA.reader}:${DATA.version}`;
const IDLE = 120000; // a longer pause is not counted as reading
const SCALE = ["strongly disagree", "disagree", "neutral", "agree", "strongly agree"];
const STEPS = { 3: ["Left is better", "No difference", "Right is better"],
  5: ["Left is much better", "Left is better", "No difference", "Right is better", "Right is much better"] };
const byId = id => document.getElementById(id), now = () => new Date().toISOString();

/* ---- elements: text is always text, never markup ---- */
function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
const key = text => el("kbd", { text });

/* ---- state: what was answered, and where the reader is ---- */
const fresh = () => ({ format: "vlmalign-reader-answers@1", study: DATA.study, reader: DATA.reader,
  version: DATA.version, at: -1, answers: {}, sessions: {} });
let state = fresh(), storage = true, question = 0, showLacks = false;

function restore() {
  try {
    const text = localStorage.getItem(STORE);
    if (text) state = { ...fresh(), ...JSON.parse(text) };
    localStorage.setItem(STORE + ":test", "1");
    localStorage.removeItem(STORE + ":test");
  } catch { storage = false; }
}
function keep() {
  try { if (storage) localStorage.setItem(STORE, JSON.stringify(state)); } catch { storage = false; }
  const note = byId("saved");
  note.className = storage ? "" : "bad";
  note.textContent = storage ? "Saved in this browser"
    : "This browser cannot keep your progress: use \u201cSave to file\u201d before you close";
}
function answerOf(item) {
  return state.answers[item.id] ??= { reading: item.id, preference: null, guess: null, comment: "", checked: false,
    ratings: Object.fromEntries(Q.criteria.map(name => [name, SIDES.map(() => null)])),
    errors: item.texts.map(text => text.map(() => 0)), seconds: 0, visits: 0, first_shown: null, answered: null };
}

/* ---- the questions of one reading ---- */
function questionsOf(item) {
  const a = answerOf(item);
  if (item.kind === "guess") {
    const values = Q.texts === 2 ? ["left", "right", "cannot_tell"] : ["yes", "no", "cannot_tell"];
    const labels = Q.texts === 2 ? ["The left one", "The right one", "I cannot tell"] : ["Yes", "No", "I cannot tell"];
    return [{ name: "guess", ask: Q.guess, labels, values, get: () => a.guess, set: v => { a.guess = v; } }];
  }
  const list = [];
  if (Q.mark_errors) list.push({ name: "checked", ask: "Every error that I see is marked", labels: ["Yes"],
    values: [true], get: () => a.checked || null, set: () => { a.checked = !a.checked; } });
  for (const name of Q.criteria) SIDES.forEach((side, s) => list.push({ name: `${name}_${side}`, row: true,
    ask: name.replaceAll("_", " "), side: Q.texts === 2 ? side : "", labels: ["1", "2", "3", "4", "5"],
    values: [1, 2, 3, 4, 5], titles: SCALE, get: () => a.ratings[name][s], set: v => { a.ratings[name][s] = v; } }));
  if (Q.preference) list.push({ name: "preference", ask: "Which text would you rather sign?", labels: STEPS[Q.preference],
    values: STEPS[Q.preference].map((_, i) => i + 1), get: () => a.preference, set: v => { a.preference = v; } });
  return list;
}
const lacking = item => questionsOf(item).filter(q => q.get() === null);
const isDone = item => item.id in state.answers && state.answers[item.id].answered !== null && !lacking(item).length;

/* ---- time: only while the page is seen and used ---- */
let since = null, used = Date.now();
function tick() {
  const item = ITEMS[state.at], t = Date.now();
  if (item && since !== null) {
    const until = Math.min(t, Math.max(used + IDLE, since));
    answerOf(item).seconds = Math.round((answerOf(item).seconds + Math.max(0, until - since) / 1000) * 10) / 10;
  }
  since = document.visibilityState === "visible" && item && !washoutEnd(item) ? t : null;
}
for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"])
  addEventListener(kind, () => { if (Date.now() - used > IDLE) tick(); used = Date.now(); }, { passive: true });
document.addEventListener("visibilitychange", () => { tick(); keep(); });
addEventListener("pagehide", () => { tick(); keep(); });

/* ---- images: window and level are exact (a linear map of the values); zoom and pan ---- */
const VIEW = { zoom: 1, x: 0, y: 0, window: 255, level: 127.5, invert: false, only: -1 };
function resetView(all) {
  Object.assign(VIEW, { zoom: 1, x: 0, y: 0 });
  if (all) Object.assign(VIEW, { window: 255, level: 127.5, invert: false, only: -1 });
}
function drawView() {
  const sign = VIEW.invert ? -1 : 1, slope = 255 / VIEW.window, shift = 0.5 - slope * VIEW.level / 255;
  for (const f of document.querySelectorAll("#wl feFuncR, #wl feFuncG, #wl feFuncB")) {
    f.setAttribute("slope", sign * slope);
    f.setAttribute("intercept", VIEW.invert ? 1 - shift : shift);
  }
  document.querySelectorAll(".view").forEach((view, i) => {
    view.hidden = VIEW.only >= 0 && VIEW.only !== i;
    const w = view.clientWidth, h = view.clientHeight, image = view.querySelector("img");
    if (image) {
      image.style.transform = `translate(${VIEW.x * w}px, ${VIEW.y * h}px) scale(${VIEW.zoom})`;
      image.style.filter = "none"; // some browsers draw a changed filter only when it is set again
      image.style.filter = "url(#wl)";
    }
  });
  const grid = byId("grid");
  if (grid) grid.className = VIEW.only < 0 && grid.children.length > 1 ? "many" : "";
  for (const name of ["window", "level"]) if (byId(name)) byId(name).value = VIEW[name];
}
function zoomBy(factor, px = 0.5, py = 0.5) { // the point (px, py) of the view stays where it is
  const zoom = Math.min(16, Math.max(1, VIEW.zoom * factor)), ratio = zoom / VIEW.zoom;
  VIEW.x = px - (px - VIEW.x) * ratio;
  VIEW.y = py - (py - VIEW.y) * ratio;
  VIEW.zoom = zoom;
  clampView();
}
function clampView() {
  VIEW.x = Math.min(0, Math.max(1 - VIEW.zoom, VIEW.x));
  VIEW.y = Math.min(0, Math.max(1 - VIEW.zoom, VIEW.y));
  drawView();
}
function pan(dx, dy) { VIEW.x += dx; VIEW.y += dy; clampView(); }
function windowBy(dw, dl) {
  VIEW.window = Math.min(510, Math.max(4, VIEW.window + dw));
  VIEW.level = Math.min(255, Math.max(0, VIEW.level + dl));
  drawView();
}
function viewOf(source, number, many) {
  const view = el("div", { className: "view" }), image = el("img", { alt: `image ${number}`, draggable: false });
  image.addEventListener("error", () => image.replaceWith(el("div", { className: "lost",
    text: `Image ${number} is missing. Keep the folder \u201cimages\u201d beside this page.` })));
  image.src = source;
  view.append(image);
  if (many) view.append(el("span", { className: "number", text: String(number) }));
  view.addEventListener("wheel", e => {
    e.preventDefault();
    const box = view.getBoundingClientRect();
    zoomBy(Math.exp(-e.deltaY / 400), (e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height);
  }, { passive: false });
  view.addEventListener("contextmenu", e => e.preventDefault());
  view.addEventListener("dblclick", () => { resetView(false); drawView(); });
  view.addEventListener("pointerdown", e => {
    view.setPointerCapture(e.pointerId);
    const windowing = e.button === 2 || e.shiftKey;
    const move = m => windowing ? windowBy(m.movementX, -m.movementY / 2)
      : pan(m.movementX / view.clientWidth, m.movementY / view.clientHeight);
    view.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"])
      view.addEventListener(end, () => view.removeEventListener("pointermove", move), { once: true });
  });
  return view;
}
function imagesOf(item) {
  const many = item.images.length > 1, grid = el("div", { id: "grid" });
  item.images.forEach((name, i) => grid.append(viewOf(DATA.pictures[name] ?? `images/${name}`, i + 1, many)));
  const slider = (name, low, high) => el("label", {}, name[0].toUpperCase() + name.slice(1), el("input", { id: name,
    type: "range", min: low, max: high, step: 0.5, value: VIEW[name], tabIndex: -1,
    oninput: e => { VIEW[name] = +e.target.value; drawView(); } }));
  const tool = (text, k, run) => el("button", { type: "button", tabIndex: -1, onclick: run }, text, key(k));
  const tools = el("div", { id: "tools" }, slider("window", 4, 510), slider("level", 0, 255),
    tool("Invert", "i", () => act("i")), tool("Zoom +", "z", () => act("z")), tool("\u2212", "y", () => act("y")),
    tool("Reset", "0", () => act("0")));
  if (many) tools.append(tool("One / all", "v", () => act("v")));
  return el("section", { id: "images" }, grid, tools);
}
function act(k) { // keys of the image
  const step = 0.06;
  if (k === "z" || k === "+") zoomBy(1.25); else if (k === "y" || k === "-") zoomBy(0.8);
  else if (k === "ArrowLeft") pan(step, 0); else if (k === "ArrowRight") pan(-step, 0);
  else if (k === "ArrowUp") pan(0, step); else if (k === "ArrowDown") pan(0, -step);
  else if (k === "w") windowBy(12, 0); else if (k === "s") windowBy(-12, 0);
  else if (k === "a") windowBy(0, -6); else if (k === "d") windowBy(0, 6);
  else if (k === "i") { VIEW.invert = !VIEW.invert; drawView(); }
  else if (k === "0") { resetView(true); drawView(); }
  else if (k === "v") {
    VIEW.only = VIEW.only + 1 >= document.querySelectorAll(".view").length ? -1 : VIEW.only + 1;
    resetView(false); drawView();
  } else return false;
  return true;
}

/* ---- one reading on the screen ---- */
function sentencesOf(item, side) {
  const words = el("div", { className: "words", dir: "auto" });
  if (!Q.mark_errors || item.kind === "guess") {
    words.textContent = item.texts[side].join("");
    return words;
  }
  const marks = answerOf(item).errors[side];
  item.texts[side].forEach((text, i) => {
    const node = el("span", { className: "sentence", text, tabIndex: 0, role: "button" });
    const show = () => {
      node.className = "sentence " + ["", "minor", "major"][marks[i]];
      node.setAttribute("aria-label", `${text} ${["", "(minor error)", "(major error)"][marks[i]]}`);
    };
    const cycle = () => { marks[i] = (marks[i] + 1) % 3; touched(item); show(); };
    node.addEventListener("click", cycle);
    node.addEventListener("keydown", e => {
      const near = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[e.key];
      if (e.key === " ") cycle();
      else if (near) { const all = [...document.querySelectorAll(".sentence")]; all[all.indexOf(node) + near]?.focus(); }
      else return;
      e.preventDefault(); e.stopPropagation();
    });
    show();
    words.append(node);
  });
  return words;
}
function touched(item) {
  tick();
  const a = answerOf(item);
  a.answered = lacking(item).length ? null : now();
  keep();
  showProgress();
}
function questionNode(item, q, index) {
  const set = value => { q.set(value); touched(item); question = index; advance(item); showQuestions(item); };
  const options = el("div", { className: "options", role: "radiogroup", "aria-label": `${q.ask} ${q.side ?? ""}` });
  q.labels.forEach((label, i) => {
    const button = el("button", { type: "button", role: "radio", title: q.titles?.[i] ?? "", tabIndex: -1,
      "aria-checked": String(q.get() === q.values[i]), onclick: () => set(q.values[i]) }, label);
    if (!q.row) button.append(key(String(i + 1)));
    options.append(button);
  });
  const ask = el("div", { className: "ask", text: q.ask });
  const lacks = showLacks && q.get() === null ? " lacks" : "";
  return el("div", { className: `question${q.row ? " row" : ""}${index === question ? " now" : ""}${lacks}`,
    id: `q-${q.name}`, onpointerdown: () => { question = index; } }, ask, options);
}
function advance(item) { // to the next question that lacks an answer
  const list = questionsOf(item), open = list.map((q, i) => q.get() === null ? i : -1).filter(i => i >= 0);
  question = open.find(i => i > question) ?? open[0] ?? question;
}
function showQuestions(item) {
  const list = questionsOf(item), nodes = list.map((q, i) => questionNode(item, q, i));
  const firstRow = list.findIndex(q => q.row);
  if (firstRow >= 0) nodes.splice(firstRow, 0, el("div", { className: "scale" },
    el("span", { text: "How far do you agree that the text is correct, complete \u2026" }),
    el("span", { text: "1 strongly disagree \u2013 5 strongly agree" })));
  byId("questions").replaceChildren(...nodes);
  document.querySelector(".question.now")?.scrollIntoView({ block: "nearest" });
  const lacks = lacking(item);
  byId("lacks").textContent = showLacks && lacks.length
    ? `Still open: ${lacks.map(q => q.side ? `${q.ask} (${q.side})` : q.ask).join(", ")}` : "";
}
function showItem() {
  const item = ITEMS[state.at], a = answerOf(item), guess = item.kind === "guess";
  const texts = el("div", { className: SIDES.length === 2 ? "texts" : "texts alone" });
  SIDES.forEach((side, s) => texts.append(el("article", { className: "text" },
    el("h2", { text: side === "text" ? "Text" : side }), sentencesOf(item, s))));
  const scroll = el("div", { id: "scroll" }, el("p", { className: "prompt", text: item.prompt }), texts);
  if (Q.mark_errors && !guess) scroll.append(el("p", { className: "legend" },
    "Click a sentence, or press ", key("e"), " and ", key("Space"), ": minor error, major error (would change what is done), none."));
  scroll.append(el("div", { id: "questions", className: SIDES.length === 2 ? "" : "alone" }));
  if (Q.comment && !guess) scroll.append(el("textarea", { id: "comment", rows: 1, value: a.comment,
    placeholder: "Comment (optional; c)", oninput: e => { a.comment = e.target.value; keep(); } }));
  const back = el("button", { type: "button", disabled: !canGoBack(), onclick: () => goTo(state.at - 1) }, "Back", key("b"));
  const next = el("button", { type: "button", id: "next", className: "primary", onclick: goOn }, "Next", key("Enter"));
  const panel = el("section", { id: "panel" }, scroll, el("footer", {}, back, el("span", { id: "lacks", role: "alert" }), next));
  byId("main").replaceChildren(imagesOf(item), panel);
  question = Math.max(0, questionsOf(item).findIndex(q => q.get() === null));
  showQuestions(item);
  drawView();
}
function canGoBack() {
  const a = ITEMS[state.at], b = ITEMS[state.at - 1];
  return Boolean(b) && a.kind === b.kind && a.session === b.session;
}
function goTo(place) {
  tick();
  state.at = place;
  showLacks = false;
  resetView(true);
  const item = ITEMS[place];
  if (item && !washoutEnd(item)) {
    const a = answerOf(item);
    a.visits += 1;
    a.first_shown ??= now();
  }
  since = null;
  tick();
  keep();
  show();
}
function goOn() {
  const item = ITEMS[state.at];
  if (lacking(item).length) {
    showLacks = true;
    question = questionsOf(item).findIndex(q => q.get() === null);
    showQuestions(item);
    return;
  }
  touched(item);
  const next = ITEMS[state.at + 1];
  if (next && next.session > item.session) state.sessions[item.session] ??= { finished: now(), early: false };
  goTo(state.at + 1);
}

/* ---- start, pause and end ---- */
function page(title, paragraphs, ...actions) {
  const box = el("section", { className: "page" }, el("h2", { text: title }), ...paragraphs,
    el("div", { className: "actions" }, ...actions));
  byId("main").replaceChildren(box);
  box.querySelector(".primary")?.focus();
}
const p = text => el("p", { text });
const primary = (text, run) => el("button", { type: "button", className: "primary", id: "go", onclick: run }, text);
function startPage() {
  const what = Q.texts === 2 ? "two texts, in an order drawn for each screen" : "a text";
  page(DATA.title, [p(DATA.instructions || `Each of ${ITEMS.length} screens shows images and ${what}. Nothing tells who wrote them.`),
    p("Answers are kept on this computer only, after every key. Close the page whenever you like; it opens where you were. At the end, save your answers to a file and send it back."),
    keyTable(), el("p", { className: "legend", text: "Research only; not for clinical decisions." })],
    primary("Start", () => goTo(0)));
}
function pausePage(item, wait) {
  const end = new Date(wait);
  page(`Part ${item.session} is finished`, [p(`The next part shows some of the cases again. Please go on from ${end.toLocaleDateString()} at the earliest, at least ${DATA.washout_days} days later, so that you do not remember them.`)],
    el("button", { type: "button", className: "primary", onclick: () => download("json") }, "Save to file"),
    el("button", { type: "button", onclick: () => { state.sessions[item.session - 1].early = true; goTo(state.at); } },
      "Go on today (this is noted)"));
}
function endPage() {
  const left = ITEMS.filter(item => !isDone(item)).length;
  page(left ? `${left} screens are still open` : "Thank you. Everything is answered.",
    [p("Save your answers and send the file (JSON) to whoever gave you this folder. The CSV is the same as a table.")],
    el("button", { type: "button", className: "primary", id: "json", onclick: () => download("json") }, "Save answers (JSON)", key("j")),
    el("button", { type: "button", id: "csv", onclick: () => download("csv") }, "Save answers (CSV)", key("t")),
    el("button", { type: "button", onclick: () => goTo(left ? ITEMS.findIndex(i => !isDone(i)) : ITEMS.length - 1) },
      left ? "Go to the first open one" : "Back"));
}
function washoutEnd(item) { // when this part may begin; 0: at once
  const before = state.sessions[item.session - 1];
  if (!DATA.washout_days || !before || before.early) return 0;
  const end = Date.parse(before.finished) + DATA.washout_days * 86400000;
  return end > Date.now() ? end : 0;
}
function showProgress() {
  const done = ITEMS.filter(isDone).length;
  byId("bar").style.width = `${100 * done / ITEMS.length}%`;
  byId("track").setAttribute("aria-valuemax", ITEMS.length);
  byId("track").setAttribute("aria-valuenow", done);
  byId("count").textContent = state.at >= 0 && state.at < ITEMS.length
    ? `${state.at + 1} of ${ITEMS.length}` : `${done} of ${ITEMS.length} done`;
}
function show() {
  const item = ITEMS[state.at];
  if (state.at < 0) startPage();
  else if (!item) endPage();
  else if (washoutEnd(item)) pausePage(item, washoutEnd(item));
  else showItem();
  showProgress();
}

/* ---- files ---- */
function answersFile() {
  tick();
  return { format: state.format, study: state.study, reader: state.reader, version: state.version, exported: now(),
    at: state.at, complete: ITEMS.every(isDone), sessions: state.sessions,
    answers: ITEMS.filter(i => i.id in state.answers).map(i => state.answers[i.id]) };
}
function table() {
  const rows = [[...DATA.columns]];
  ITEMS.forEach((item, place) => {
    const a = state.answers[item.id];
    if (!a) return;
    const cell = { study: DATA.study, reader: DATA.reader, version: DATA.version, reading: item.id, position: place + 1,
      session: item.session, kind: item.kind, preference: a.preference, guess: a.guess, comment: a.comment,
      checked: a.checked ? 1 : "", seconds: a.seconds, visits: a.visits, first_shown: a.first_shown, answered: a.answered };
    SIDES.forEach((side, s) => {
      for (const name of Q.criteria) cell[`${name}_${side}`] = a.ratings[name][s];
      for (const [level, name] of [[1, "minor"], [2, "major"]])
        cell[`${name}_${side}`] = a.errors[s].map((v, i) => v === level ? i + 1 : 0).filter(Boolean).join(" ");
    });
    if (/^\s*[=+\-@]/.test(cell.comment)) cell.comment = `'${cell.comment}`; // no formula for a spreadsheet
    rows.push(DATA.columns.map(name => cell[name] ?? ""));
  });
  return rows.map(row => row.map(v => /[",;\r\n]/.test(v) ? `"${String(v).replaceAll('"', '""')}"` : v).join(",")).join("\r\n") + "\r\n";
}
function download(kind) {
  const text = kind === "json" ? JSON.stringify(answersFile(), null, 1) + "\n" : "\ufeff" + table();
  const type = kind === "json" ? "application/json" : "text/csv";
  const link = el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: `${DATA.study}-${DATA.reader}.${kind}` });
  document.body.append(link);
  link.click();
  setTimeout(() => { URL.revokeObjectURL(link.href); link.remove(); }, 2000);
}
function fits(item, a) { // whether a loaded answer has the parts that this page reads
  const rated = Q.criteria.every(name => a.ratings?.[name]?.length === SIDES.length);
  return rated && item.texts.every((text, s) => a.errors?.[s]?.length === text.length);
}
async function upload(file) {
  let found;
  try { found = JSON.parse(await file.text()); } catch { return alert("This is not a file of saved answers."); }
  for (const name of ["format", "study", "reader", "version"])
    if (found?.[name] !== state[name])
      return alert(`This file is not of this page: its ${name} is ${found?.[name]}, expected ${state[name]}.`);
  const known = new Map(ITEMS.map(i => [i.id, i]));
  for (const a of Array.isArray(found.answers) ? found.answers : []) {
    const item = known.get(a?.reading), mine = state.answers[a?.reading];
    if (!item || !fits(item, a)) continue; // not an answer of this page
    // what was answered last is kept, and nothing that is begun here gives way to what was not finished there
    if (!mine || (a.answered && (!mine.answered || a.answered > mine.answered))) state.answers[a.reading] = a;
  }
  state.sessions = { ...found.sessions, ...state.sessions };
  const open = ITEMS.findIndex(i => !isDone(i));
  goTo(open < 0 ? ITEMS.length : open);
}

/* ---- keys ---- */
function keyTable() {
  const rows = [["1 \u2013 5", "answer the question that is framed"], ["\u21e5 \u21e7\u21e5 or n p", "next, previous question"],
    ["Enter", "next screen"], ["b", "back"], ["z y", "zoom in, out (or wheel)"], ["\u2190 \u2192 \u2191 \u2193", "move the image (or drag)"],
    ["w s", "window wider, narrower (or right button and drag)"], ["a d", "level lower, higher"], ["i", "invert"],
    ["0", "reset the image"]];
  if (ITEMS.some(i => i.images.length > 1)) rows.push(["v", "one image, all images"]);
  if (Q.mark_errors) rows.push(["e, Space", "to the sentences; mark an error"]);
  if (Q.comment) rows.push(["c, Esc", "to the comment, and out of it"]);
  return el("table", {}, ...rows.map(([k, text]) => el("tr", {}, el("td", {}, key(k)), el("td", { text }))));
}
function help() {
  const dialog = byId("keys");
  if (dialog.open) return dialog.close();
  dialog.replaceChildren(keyTable());
  dialog.showModal();
}
addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const item = ITEMS[state.at], typing = e.target.tagName === "TEXTAREA", k = e.key;
  if (typing) { if (k === "Escape") { e.target.blur(); e.preventDefault(); } return; }
  if (k === "h" || k === "?") { help(); return e.preventDefault(); }
  if (byId("keys").open) return;
  if (!item || !byId("questions")) {
    if (k === "j" && byId("json")) download("json"); else if (k === "t" && byId("csv")) download("csv");
    return;
  }
  const list = questionsOf(item), digit = /^[1-9]$/.test(k) ? +k : 0;
  const stay = e.target.closest?.("header, footer, #tools");
  if (digit && digit <= list[question].values.length) {
    const q = list[question];
    q.set(q.values[digit - 1]); touched(item); advance(item); showQuestions(item);
  } else if (k === "n" || (k === "Tab" && !e.shiftKey && !stay && question < list.length - 1)) {
    question = Math.min(list.length - 1, question + 1); showQuestions(item);
  } else if (k === "p" || (k === "Tab" && e.shiftKey && !stay && question > 0)) {
    question = Math.max(0, question - 1); showQuestions(item);
  } else if (k === "Enter" && !stay) goOn();
  else if (k === "b") { if (canGoBack()) goTo(state.at - 1); }
  else if (k === "c" && byId("comment")) byId("comment").focus();
  else if (k === "e" && document.querySelector(".sentence")) document.querySelector(".sentence").focus();
  else if (!(e.target.type === "range") && act(k)) { /* done */ }
  else return;
  e.preventDefault();
});
byId("save").addEventListener("click", () => download("json"));
byId("load").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", e => { if (e.target.files[0]) upload(e.target.files[0]); e.target.value = ""; });
byId("help").addEventListener("click", help);
addEventListener("resize", drawView);
byId("title").textContent = DATA.title;
restore();
keep();
if (state.at >= 0) goTo(state.at); else show();
