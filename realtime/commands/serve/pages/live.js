// The run as it is told by the server: one connection, and what is known of each source. Used by both pages.

export const asked = new URLSearchParams(location.search);

const SPAN = 600; // s that are remembered
const MAX_EVENTS = 300;
const PATIENCE = 2; // s beyond the hop after which a missing update is reported
const RETRY = 3000; // ms, after a refusal

/** The address of `path` on this server, with the token that this page came with. */
export function addressOf(path, query = {}) {
  const address = new URL(path, location.href);
  for (const [name, value] of Object.entries(query)) {
    address.searchParams.set(name, value);
  }
  if (asked.has("token")) {
    address.searchParams.set("token", asked.get("token"));
  }
  return address.href;
}

/** 12.5 -> "0:12", 3723 -> "1:02:03". */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 1e-6));
  const two = (number) => String(number).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** One source of sound: its header, its newest update, its last ten minutes. */
export class Source {
  constructor(name) {
    this.name = name; // null where there is only one
    this.head = null;
    this.update = null;
    this.arrived = 0; // when that came, ms of this page's clock
    this.columns = []; // {time, percent: [20], active: Set of indices}, oldest first
    this.events = []; // {type, time, name or text}, oldest first
    this.standing = null; // the record that says why no more updates come
    this.paused = null; // the record that says so of a file
    this.version = 0; // counts changes of the head
  }

  /** The second at which the source is. */
  get time() {
    return this.update?.time ?? this.paused?.time ?? 0;
  }

  get instruments() {
    return this.head?.instruments ?? [];
  }

  /** The likely instruments that are not among the 20, with their probabilities. */
  get others() {
    return this.standing ? [] : Object.entries(this.update?.also ?? {}).sort((a, b) => b[1] - a[1]);
  }

  label(instrument) {
    return this.head?.names?.[instrument] ?? instrument;
  }

  /** The names that sound now, in the order in which they came in: none once the sound is over or lost. */
  get sounding() {
    return this.standing ? [] : this.active;
  }

  /** The names that sounded at the newest update, in the order in which they came in. */
  get active() {
    if (!this.update) {
      return [];
    }
    const since = new Map();
    for (const event of this.events) {
      if (event.type === "entry") {
        since.set(event.name, event.time);
      }
    }
    return [...this.update.active].sort((a, b) => (since.get(a) ?? 0) - (since.get(b) ?? 0));
  }

  /** What a row says of an instrument: one probability, the mark that counts for it now, and "on", "held", "leaving" or
   * "off". Everything that is drawn of the row follows from it. */
  decision(name) {
    const p = this.update?.probabilities[name] ?? 0;
    const state = this.update?.states[name] ?? "off";
    const mark = (["held", "leaving"].includes(state) ? this.head.off_thresholds : this.head.thresholds)[name];
    return { p, state, mark };
  }

  take(record) {
    switch (record.type) {
      case "header": // the present is told from here on; after a break in the connection, once more
        this.head = record;
        this.update = this.standing = this.paused = null;
        this.version += 1;
        break;
      case "history":
        this.columns = record.times.map((time, n) => ({
          time,
          percent: record.percent[n],
          active: new Set(record.active[n]),
        }));
        this.events = record.events;
        break;
      case "update":
        this.takeUpdate(record);
        break;
      case "thresholds":
        this.head = { ...this.head, thresholds: record.thresholds, off_thresholds: record.off_thresholds };
        this.version += 1;
        break;
      case "source":
      case "found":
        this.head = { ...this.head, source: record.source, rate: record.rate, channels: record.channels };
        this.version += 1;
        this.note(record);
        break;
      case "lost":
        this.standing = record;
        this.note(record);
        break;
      case "label":
        this.note(record);
        break;
      case "paused":
        this.paused = record.paused ? record : null;
        this.arrived = performance.now();
        if (record.jumped) {
          this.update = this.standing = null; // what was heard elsewhere says nothing of here
        }
        break;
      case "ended":
      case "summary":
      case "error":
        this.standing = record;
        break;
    }
  }

  takeUpdate(update) {
    const { time } = update;
    const last = this.update?.time ?? this.columns.at(-1)?.time ?? time;
    const left = update.jumped && last < time ? last : time; // when a jump forward ended all
    let before = this.update?.active ?? this.lastColumnActive();
    if (time < last) {
      this.columns = this.columns.filter((column) => column.time <= time);
      this.events = this.events.filter((event) => event.time <= time);
      before = this.lastColumnActive(); // an instrument that was active only later gets no exit
    }
    const known = this.columns.at(-1)?.time === time; // the newest update is told again after the history
    if (!known) {
      for (const name of before.filter((name) => !update.active.includes(name))) {
        this.note({ type: "exit", time: left, name });
      }
      for (const name of update.active.filter((name) => !before.includes(name))) {
        this.note({ type: "entry", time, name });
      }
    }
    if (!known && update.state !== "DEVICE LOST") {
      const percent = this.instruments.map((name) => Math.round(100 * update.probabilities[name]));
      const active = new Set(update.active.map((name) => this.instruments.indexOf(name)));
      this.columns.push({ time, percent, active });
    }
    const oldest = time - SPAN;
    this.columns.splice(0, this.columns.findIndex((column) => column.time > oldest));
    while (this.events.length && this.events[0].time <= oldest) {
      this.events.shift();
    }
    this.update = update;
    this.arrived = performance.now();
    this.standing = null;
  }

  lastColumnActive() {
    const latest = new Map(this.events.map((event) => [event.name, event.type]));
    const active = [...(this.columns.at(-1)?.active ?? [])].map((n) => this.instruments[n]);
    return active.filter((name) => latest.get(name) !== "exit");
  }

  note(event) {
    this.events.push(event);
    this.events.splice(0, this.events.length - MAX_EVENTS);
  }

  /** The state in a word, why it is so, and how it is to look: "ok", "calm", "warn", "bad" or "ended". */
  state(connected) {
    if (!connected) {
      return { word: "NO CONNECTION", why: "trying again", look: "bad" };
    }
    const standing = this.standing?.type;
    if (standing === "error" || (standing === "summary" && this.standing.ended === "failed")) {
      return { word: "FAILED", why: this.standing.error ?? "the source failed", look: "bad" };
    }
    if (standing === "ended" || standing === "summary") {
      const why = this.standing.ended === "stopped" ? "stopped by its user" : "the sound is over";
      return { word: "ENDED", why, look: "ended" };
    }
    const { update } = this;
    if (this.paused) {
      return { word: "PAUSED", why: `the file was paused at ${clock(this.paused.time)}`, look: "calm" };
    }
    if (!update) {
      return { word: "STARTING", why: "no update yet", look: "calm" };
    }
    const waited = (performance.now() - this.arrived) / 1000 - this.head.hop;
    if (waited > PATIENCE) {
      return { word: "NO UPDATE", why: `for ${Math.floor(waited)} s: is the machine very busy?`, look: "warn" };
    }
    const looks = { OK: "ok", WARMING: "calm", QUIET: "calm", "CATCHING UP": "warn", "DEVICE LOST": "bad" };
    return { word: update.state, why: update.reason ?? "", look: looks[update.state] ?? "calm" };
  }
}

/** All that is known of a run. `onChange` is called after every record. */
export class Run {
  constructor(onChange) {
    this.onChange = onChange;
    this.only = asked.get("source");
    this.sources = new Map(); // name (null: the only one) -> Source
    this.names = null; // of all sources, where there are many
    this.connected = false;
    this.refused = "";
    this.listen();
  }

  listen() {
    const stream = new EventSource(addressOf("events", this.only === null ? {} : { source: this.only }));
    stream.onopen = () => {
      this.connected = true;
      this.refused = "";
      this.onChange();
    };
    stream.onmessage = (message) => {
      this.connected = true;
      this.take(JSON.parse(message.data));
      this.onChange();
    };
    stream.onerror = () => {
      this.connected = false;
      if (stream.readyState === EventSource.CLOSED) {
        // Refused: the browser would not try again.
        stream.close();
        setTimeout(() => this.listen(), RETRY);
        this.explain();
      }
      this.onChange();
    };
  }

  async explain() {
    try {
      const answer = await fetch(addressOf("events", this.only === null ? {} : { source: this.only }), {
        headers: { Accept: "application/x-ndjson" },
      });
      this.refused = answer.ok ? "" : (await answer.text()).trim();
      await answer.body?.cancel().catch(() => undefined);
    } catch {
      this.refused = "";
    }
    this.onChange();
  }

  take(record) {
    if (record.type === "sources") {
      this.names = record.sources;
      for (const name of record.sources) {
        this.source(name);
      }
    } else if (record.type !== "missed" && record.type !== "idle") {
      this.source(record.channel ?? null).take(record);
    }
  }

  source(name) {
    if (!this.sources.has(name)) {
      this.sources.set(name, new Source(name));
    }
    return this.sources.get(name);
  }

  get all() {
    return [...this.sources.values()];
  }
}
