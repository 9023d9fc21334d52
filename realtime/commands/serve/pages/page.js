// The page: bars with their thresholds, the last ten minutes, entries and exits, level and state.

import { Run, addressOf, asked, clock } from "./live.js";

const SPANS = [60, 120, 300, 600]; // s that the timeline may show: the shortest that holds what there is
const FLOOR_DB = -60;
const HOT_DB = -9;
const CLIP_DB = -0.1;
const FAINT = 12; // percent below which the timeline stays empty

const by = (id) => document.getElementById(id);
const view = { sorted: false, theme: "dark" };
const rows = new Map(); // instrument -> its elements
const cards = new Map(); // source name -> its elements
let drawn = null; // the source, and the version of its head, that the rows were made for
let listed = ""; // the events that are listed
let pending = false;

const run = new Run(drawSoon);
setInterval(drawSoon, 1000); // what is overdue shows without a new record

function drawSoon() {
  if (!pending) {
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      draw();
    });
  }
}

function draw() {
  const many = run.names !== null;
  const source = many ? null : (run.all[0] ?? null);
  by("cards").hidden = !many;
  for (const id of ["now", "table", "events"]) {
    by(id).hidden = many;
  }
  by("all").hidden = run.only === null;
  document.querySelector(".health").hidden = by("order").hidden = many;
  if (many) {
    drawCards();
  } else {
    drawSource(source);
  }
  if (!run.connected) {
    document.title = "no connection – instrec-live";
    if (many || source === null) {
      by("source").textContent = run.refused || "no connection: trying again";
    }
  }
}

// One source

function drawSource(source) {
  const state = source?.state(run.connected) ?? {
    word: run.refused ? "REFUSED" : "CONNECTING",
    why: run.refused,
    look: run.refused ? "bad" : "calm",
  };
  setText(by("state").querySelector("b"), state.word);
  setText(by("state").querySelector("span"), state.why);
  by("state").className = state.look;
  by("state").title = state.why;
  if (!source?.head) {
    drawNow(source, state);
    return;
  }
  if (drawn !== `${source.name} ${source.version}`) {
    drawn = `${source.name} ${source.version}`;
    buildRows(source);
    describe(source);
  }
  by("table").classList.toggle("over", source.standing !== null); // rows of then, not of now
  drawLevel(source.update);
  drawBeside(source);
  drawNow(source, state);
  drawRows(source);
  drawEvents(source);
  const { time } = source;
  const { start, duration } = source.head;
  setText(by("clock"), duration ? `${clock(time)} / ${clock(start + duration)}` : clock(time));
  const names = source.sounding.map((name) => source.label(name)).join(", ");
  document.title = `${names || state.word.toLowerCase()} – instrec-live`;
}

function describe(source) {
  const { head } = source;
  setText(by("source"), source.name ?? head.source);
  by("source").title = `${head.source}, ${head.rate} Hz, ${head.channels} ch`;
  setText(
    by("facts"),
    `${head.program} ${head.version} · ${Object.keys(head.models).join(", ")} on ${head.engine} · every ${head.hop} s`,
  );
}

function buildRows(source) {
  const known = source.instruments.every((name) => rows.has(name)) && rows.size === source.instruments.length;
  if (known) {
    return;
  }
  rows.clear();
  for (const name of source.instruments) {
    const row = make("div", "row");
    row.setAttribute("role", "listitem");
    const parts = {
      sign: make("span", "sign"),
      name: make("span", "name", source.label(name)),
      percent: make("span", "percent"),
      track: make("span", "track"),
      fill: make("span", "fill"),
      mark: make("span", "mark"),
      dots: make("span", "dots"),
      past: document.createElement("canvas"),
    };
    parts.track.setAttribute("role", "meter");
    parts.track.setAttribute("aria-label", source.label(name));
    parts.track.setAttribute("aria-valuemin", "0");
    parts.track.setAttribute("aria-valuemax", "100");
    parts.sign.setAttribute("aria-hidden", "true");
    parts.percent.setAttribute("aria-hidden", "true");
    parts.dots.setAttribute("role", "img");
    parts.past.setAttribute("aria-hidden", "true");
    parts.track.append(parts.fill, parts.mark);
    row.append(parts.sign, parts.name, parts.percent, parts.track, parts.dots, parts.past);
    rows.set(name, { row, ...parts });
  }
  by("rows").replaceChildren(...[...rows.values()].map(({ row }) => row));
}

const SIGNS = { on: "●", held: "○", leaving: "↓", off: "" };
const WORDS = { on: "sounds", held: "held: below the mark that switches it on", leaving: "about to be switched off", off: "silent" };

function drawRows(source) {
  for (const [name, parts] of rows) {
    const { p, mark, state } = source.decision(name);
    const look = `row ${state}`;
    parts.fill.style.transition = parts.row.className === look ? "" : "none"; // a bar never crosses its mark after the fact
    parts.row.className = look;
    setText(parts.sign, SIGNS[state]);
    setText(parts.percent, percentOf(p));
    parts.fill.style.transform = `scaleX(${p.toFixed(3)})`;
    parts.mark.style.left = `${(100 * mark).toFixed(1)}%`;
    parts.track.setAttribute("aria-valuenow", String(Math.round(100 * p)));
    parts.track.setAttribute("aria-valuetext", `${percentOf(p)}, ${WORDS[state]}`);
    drawDots(source, name, parts.dots);
  }
  arrange(source);
  drawPast(source);
}

function drawDots(source, name, element) {
  const says = Object.keys(source.head.models).map((model) => {
    const p = source.update?.by_model[model]?.[name];
    const sure = p !== undefined && p >= source.head.model_thresholds[model][name];
    return { model, p, sign: p === undefined ? "–" : sure ? "●" : "○" };
  });
  setText(element, says.map(({ sign }) => sign).join(""));
  const words = says.map(({ model, p }) => `${model} ${p === undefined ? "no result" : percentOf(p)}`).join(", ");
  if (element.title !== words) {
    element.title = words;
    element.setAttribute("aria-label", words);
  }
}

/** Put the rows into order: as the instruments are listed, or what sounds first. */
function arrange(source) {
  const names = [...source.instruments];
  if (view.sorted) {
    const active = source.active;
    names.sort((a, b) => (active.indexOf(a) + 1 || 99) - (active.indexOf(b) + 1 || 99));
  }
  const order = names.map((name) => rows.get(name).row);
  const there = by("rows").children;
  if (order.some((row, n) => there[n] !== row)) {
    by("rows").replaceChildren(...order);
  }
}

function drawLevel(update) {
  const level = by("level");
  const db = update?.level_db ?? -120;
  const peak = update?.peak_db ?? -120;
  const share = (value) => Math.min(1, Math.max(0, 1 - value / FLOOR_DB));
  level.querySelector(".fill").style.transform = `scaleX(${share(db).toFixed(3)})`;
  level.querySelector(".peak").style.transform = `translateX(${(100 * (share(peak) - 1)).toFixed(1)}%)`;
  level.classList.toggle("hot", db >= HOT_DB);
  level.classList.toggle("clip", peak >= CLIP_DB);
  by("decibel").classList.toggle("clip", peak >= CLIP_DB);
  level.setAttribute("aria-valuenow", String(Math.round(Math.max(FLOOR_DB, db))));
  setText(by("decibel"), !update ? "" : `${Math.max(-99, Math.round(db))} dB${peak >= CLIP_DB ? " CLIP" : ""}`);
}

function drawNow(source, state) {
  const names = source?.head ? source.sounding : [];
  const line = by("now").firstElementChild;
  const states = names.map((name) => source.decision(name).state);
  const calm = { QUIET: "silence", ENDED: "the sound is over", STARTING: "starting …", CONNECTING: "connecting …", PAUSED: "paused" };
  const words = names.length ? "" : (calm[state.word] ?? (state.look === "bad" ? state.why : "no instrument recognised"));
  const key = JSON.stringify([names, states, words]);
  if (line.dataset.key !== key) {
    line.dataset.key = key;
    const spans = names.map((name, n) => make("span", states[n], source.label(name)));
    line.replaceChildren(...(spans.length ? spans : [make("span", "nothing", words)]));
  }
}

/** The kind of sound, and likely instruments that are not among the 20. */
function drawBeside(source) {
  setText(by("kind"), source.standing ? "" : (source.update?.kind ?? ""));
  const others = source.others.map(([name, p]) => `${source.label(name)} ${percentOf(p)}`).join(", ");
  setText(by("also"), others && `also: ${others}`);
}

function drawEvents(source) {
  const events = source.events;
  const last = events.at(-1);
  const key = `${events.length} ${last?.time} ${last?.type} ${last?.name ?? ""} ${events[0]?.time}`;
  if (key === listed) {
    return;
  }
  listed = key;
  const signs = { entry: "+", exit: "−", label: "✎", lost: "!", found: "✓", source: "→" };
  const items = [...events].reverse().map((event) => {
    const item = make("li", event.type);
    const words = {
      lost: "device lost",
      found: "sound again",
      source: event.source,
      label: event.text,
    };
    const text = words[event.type] ?? source.label(event.name);
    item.append(make("time", "", clock(event.time)), make("b", "", signs[event.type] ?? ""), make("span", "", text));
    return item;
  });
  by("events").querySelector("ol").replaceChildren(...items);
}

// The last ten minutes, on a fixed grid of the sound's own time: columns only move, they do not change

function drawPast(source) {
  const style = getComputedStyle(document.documentElement);
  const colours = Object.fromEntries(
    ["accent", "calm", "track", "muted", "line"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
  );
  const end = source.update?.time ?? source.columns.at(-1)?.time ?? 0;
  const first = rows.get(source.instruments[0])?.past;
  const width = first?.clientWidth ?? 0;
  if (!width) {
    return;
  }
  const scale = window.devicePixelRatio || 1;
  const pixels = Math.round(width * scale);
  const heard = end - (source.columns[0]?.time ?? end);
  const span = SPANS.find((each) => each >= heard) ?? SPANS.at(-1);
  const cells = cellsOf(source, pixels, end, span);
  source.instruments.forEach((name, n) => paint(rows.get(name).past, cells, n, pixels, scale, colours));
  paintAxis(by("axis"), first, end, span, scale, colours);
}

/** The highest value of each instrument for each pixel column: {x, percent [20], active}. */
function cellsOf(source, pixels, end, span) {
  const seconds = span / pixels;
  const last = Math.floor(end / seconds + 1e-6);
  const cells = [];
  let before = null;
  for (const column of source.columns) {
    const x = pixels - 1 - last + Math.floor(column.time / seconds + 1e-6);
    const near = column.time - (before ?? column.time - source.head.hop) <= 2.5 * source.head.hop + 1;
    const from = near ? (cells.at(-1)?.x ?? x - Math.floor(source.head.hop / seconds)) + 1 : x;
    before = column.time;
    if (cells.length && cells.at(-1).x === x) {
      const cell = cells.at(-1);
      cell.percent = cell.percent.map((value, n) => Math.max(value, column.percent[n]));
      cell.active = new Set([...cell.active, ...column.active]);
    } else if (x >= 0) {
      cells.push({ x, from: Math.max(0, from), percent: column.percent, active: column.active });
    }
  }
  return cells;
}

function paint(canvas, cells, n, pixels, scale, colours) {
  const height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== pixels || canvas.height !== height) {
    canvas.width = pixels;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, pixels, height);
  context.fillStyle = colours.track;
  context.globalAlpha = 0.45;
  context.fillRect(0, 0, pixels, height);
  let calm = 0; // the value, steadied: neighbouring columns hold one or two updates, and would look like stripes
  for (const { x, from, percent, active } of cells) {
    const value = percent[n];
    const sounds = active.has(n);
    calm = value < FAINT || !calm ? value : calm + 0.2 * (value - calm);
    if (value < FAINT && !sounds) {
      continue;
    }
    context.fillStyle = sounds ? colours.accent : colours.calm;
    context.globalAlpha = Math.min(1, sounds ? 0.4 + calm / 140 : 0.2 + calm / 110);
    context.fillRect(from, 0, x - from + 1, height);
  }
  context.globalAlpha = 1;
}

function paintAxis(canvas, below, end, span, scale, colours) {
  const box = below.getBoundingClientRect();
  const left = box.left - canvas.getBoundingClientRect().left;
  const height = Math.round(canvas.clientHeight * scale);
  const pixels = Math.round(canvas.clientWidth * scale);
  if (canvas.width !== pixels || canvas.height !== height) {
    canvas.width = pixels;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, pixels, height);
  context.fillStyle = colours.muted;
  context.font = `${12 * scale}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  const step = [10, 20, 30, 60, 120, 300].find((each) => (box.width * each) / span >= 44) ?? 300;
  for (let time = Math.ceil((end - span) / step) * step; time <= end; time += step) {
    const x = (left + box.width * (1 - (end - time) / span)) * scale;
    const text = clock(time);
    const wide = context.measureText(text).width;
    if (time >= 0 && x - wide / 2 >= left * scale && x + wide / 2 <= pixels) {
      context.fillRect(Math.round(x), 0, Math.max(1, scale), 4 * scale);
      context.textAlign = "center";
      context.fillText(text, x, height);
    }
  }
}

// Many sources: a card for each, which leads to its own page

function drawCards() {
  const many = `${run.names.length} source${run.names.length === 1 ? "" : "s"}`;
  setText(by("source"), many);
  setText(by("clock"), "");
  for (const name of run.names) {
    if (!cards.has(name)) {
      const card = make("a", "card");
      card.href = addressOf("./", { source: name });
      const parts = {
        label: make("span", "label", name),
        state: make("b", "state"),
        sounds: make("span", "sounds"),
        track: make("span", "track"),
        fill: make("span", "fill"),
      };
      parts.track.append(parts.fill);
      card.append(parts.label, parts.state, parts.sounds, parts.track);
      cards.set(name, parts);
      by("cards").append(card);
    }
    const source = run.source(name);
    const parts = cards.get(name);
    const state = source.state(run.connected);
    const names = source.sounding.map((each) => source.label(each));
    setText(parts.state, state.word);
    parts.state.className = `state ${state.look}`;
    setText(parts.sounds, names.join(" · ") || state.why || "no instrument recognised");
    parts.sounds.classList.toggle("nothing", !names.length);
    const db = source.update?.level_db ?? -120;
    parts.fill.style.transform = `scaleX(${Math.min(1, Math.max(0, 1 - db / FLOOR_DB)).toFixed(3)})`;
  }
  document.title = `${many} – instrec-live`;
}

// What a viewer can choose: only how it looks to them

function setTheme(theme, keep) {
  view.theme = theme;
  document.documentElement.dataset.theme = theme;
  setText(by("theme"), theme === "dark" ? "light" : "dark");
  if (keep) {
    remember("theme", theme);
  }
  drawSoon();
}

function setSorted(sorted, keep) {
  view.sorted = sorted;
  by("order").setAttribute("aria-pressed", String(sorted));
  if (keep) {
    remember("sorted", sorted ? "yes" : "no");
  }
  drawSoon();
}

function remember(name, value) {
  try {
    localStorage.setItem(`instrec-live ${name}`, value);
  } catch {
    // A browser that keeps nothing: it holds until the page is closed.
  }
}

function recall(name) {
  try {
    return localStorage.getItem(`instrec-live ${name}`);
  } catch {
    return null;
  }
}

const bright = matchMedia("(prefers-color-scheme: light)");
const chosen = () => [asked.get("theme"), recall("theme")].find((theme) => theme === "light" || theme === "dark");
setTheme(chosen() ?? (bright.matches ? "light" : "dark"), false);
bright.addEventListener("change", () => setTheme(chosen() ?? (bright.matches ? "light" : "dark"), false));
setSorted(recall("sorted") === "yes", false);

by("order").addEventListener("click", () => setSorted(!view.sorted, true));
by("theme").addEventListener("click", () => setTheme(view.theme === "dark" ? "light" : "dark", true));
by("help").addEventListener("click", () => by("legend").showModal());
document.addEventListener("keydown", (event) => {
  const keys = { s: by("order"), t: by("theme"), "?": by("help") };
  if (!event.ctrlKey && !event.metaKey && !event.altKey && !by("legend").open) {
    keys[event.key]?.click();
  }
});
window.addEventListener("resize", drawSoon);

by("overlay").href = addressOf("overlay", run.only === null ? {} : { source: run.only });
by("lines").href = addressOf("events.jsonl", run.only === null ? {} : { source: run.only });
by("all").href = addressOf("./");

function percentOf(p) {
  return `${Math.min(99, Math.round(100 * p))}%`;
}

function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}
