// What sounds now, over another picture. Options in the address:
//   size=32    height of the letters, 8…200 px       names      only names, no bars and numbers
//   rows=8     at most so many, 1…20                  light      dark letters on a light plate
//   align=left|center|right   at=bottom|top           source=…   only this source, of many

import { Run, asked } from "./live.js";

const GONE = 600; // ms that a row takes to fade
const STALE = 5; // s without an update after which nothing is known

const main = document.getElementById("sounding");
const reduced = matchMedia("(prefers-reduced-motion: reduce)");

function number(name, otherwise, low, high) {
  const value = Number(asked.get(name) || NaN);
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
}

const maxRows = Math.round(number("rows", 8, 1, 20));
document.documentElement.style.setProperty("--size", `${number("size", 32, 8, 200)}px`);
document.documentElement.classList.toggle("light", asked.has("light"));
for (const name of ["names"]) {
  document.body.classList.toggle(name, asked.has(name));
}
for (const [name, values] of Object.entries({ align: ["center", "right"], at: ["top"] })) {
  if (values.includes(asked.get(name))) {
    document.body.classList.add(asked.get(name));
  }
}

const groups = new Map(); // source -> its element and rows
const run = new Run(draw);
setInterval(draw, 1000);

function draw() {
  for (const source of run.all) {
    drawGroup(source);
  }
}

function drawGroup(source) {
  if (!groups.has(source)) {
    const made = { title: element("h2"), rows: new Map(), more: element("p", "more") };
    made.title.textContent = source.name ?? "";
    made.title.hidden = made.more.hidden = true;
    made.more.style.margin = "0";
    main.append(made.title, made.more);
    groups.set(source, made);
  }
  const group = groups.get(source);
  const { word } = source.state(run.connected);
  const stale = (performance.now() - source.arrived) / 1000 > STALE + (source.head?.hop ?? 0);
  const silent = stale || ["ENDED", "FAILED", "STARTING", "DEVICE LOST"].includes(word);
  const active = silent ? [] : source.sounding;
  const shown = active.slice(0, maxRows);
  for (const [name, row] of group.rows) {
    if (!shown.includes(name)) {
      leave(group, name, row);
    }
  }
  for (const name of shown) {
    const row = group.rows.get(name) ?? enter(group, source, name);
    const { p, state } = source.decision(name);
    row.querySelector("i").textContent = `${Math.min(99, Math.round(100 * p))}%`;
    const fill = row.querySelector(".fill");
    fill.style.transition = row.dataset.state === state ? "" : "none"; // a bar never crosses its mark after the fact
    fill.style.transform = `scaleX(${p})`;
    row.dataset.state = state;
    row.classList.toggle("held", state === "held");
    row.classList.toggle("leaving", state === "leaving");
  }
  group.title.hidden = source.name === null || !shown.length;
  const others = silent ? [] : source.others.map(([each]) => source.label(each));
  const more = [
    active.length > maxRows ? `and ${active.length - maxRows} more` : "",
    others.length ? `also ${others.join(", ")}` : "",
  ].filter(Boolean);
  group.more.hidden = !more.length;
  group.more.textContent = more.join("; ");
}

function enter(group, source, name) {
  const row = element("div", "row");
  const track = element("span", "track");
  const label = element("b");
  label.textContent = source.label(name);
  track.append(element("span", "fill"));
  row.append(label, element("i"), track);
  group.more.before(row);
  group.rows.set(name, row);
  return row;
}

function leave(group, name, row) {
  group.rows.delete(name);
  if (reduced.matches) {
    row.remove();
    return;
  }
  row.classList.add("gone");
  setTimeout(() => row.remove(), GONE);
}

function element(tag, name = "") {
  const made = document.createElement(tag);
  made.className = name;
  return made;
}
