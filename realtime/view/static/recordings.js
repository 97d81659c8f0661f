// Runs the tab Recordings: open one, follow its progress, look at its findings, export them.

import { Timeline } from "./timeline.js";

const ROOT = new URL("../..", import.meta.url).href;  // of the page, also below a path of a proxy

const POLL_MS = 400, IDLE_POLL_MS = 4000, ASK_AFTER_MS = 250, PLAY_MS = 40;
const EXPORTS = { html: "Report, HTML", pdf: "Report, PDF", video: "Video with overlay, MP4",
  csv: "Findings, CSV", coco: "Masks, COCO RLE", masks: "Masks, PNG", events: "Events, JSON lines",
  snapshots: "Best frames, PNG", dicom: "Best frames and masks, DICOM" };
const WORKING = new Set(["waiting", "reading", "finding"]);

class Recordings {
  constructor(root) {
    this.root = root;
    this.version = 0;
    this.opened = Date.now();  // in addresses, because the browser keeps images of old recordings
    this.place = 0;
    this.found = null;
    this.timeline = new Timeline(this.one("[data-timeline]"), (place) => this.go(place));
    this.listen();
    this.start();
  }

  one(selector) { return this.root.querySelector(selector); }

  async ask(path, content) {
    const options = content === undefined ? {} : { method: "POST", body: JSON.stringify(content),
      headers: { "Content-Type": "application/json" } };
    const answer = await fetch(`${ROOT}recordings/${path}`, options);
    if (answer.status === 401) { location.assign(`${ROOT}login`); }
    const result = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(typeof result.detail === "string" ? result.detail : "the request was refused");
    return result;
  }

  async start() {
    const choices = await this.ask("choices");
    const [least, most] = choices.threshold_bounds;
    Object.assign(this.one("[data-high]"), { min: least, max: most });
    this.one(".rec-limits").textContent =
      `up to ${choices.upload_mib} MiB and ${choices.upload_minutes} minutes; kept until you close it`;
    this.one(".rec-pick").hidden = choices.files.length === 0;
    this.one("[data-pick]").append(...choices.files.map((name) => new Option(name, name)));
    this.one("[data-persons]").checked = choices.person_fields;
    this.one("[data-person-fields]").hidden = !choices.person_fields;
    this.poll();
  }

  async poll() {
    clearTimeout(this.timer);
    if (!this.root.isConnected) return;
    let state = { state: "none" };
    try { state = await this.ask("state"); await this.show(state); } catch (error) { this.setMessage(error.message); }
    const exporting = Object.values(state.exports ?? {}).some((one) => one.state === "working");
    this.timer = setTimeout(() => this.poll(),
      WORKING.has(state.state) || exporting ? POLL_MS : IDLE_POLL_MS);
  }

  async show(state) {
    const working = WORKING.has(state.state);
    this.one("[data-leave]").hidden = state.state === "none" || working;
    this.one(".rec-progress").hidden = !(working && (state.state !== "finding" || !this.found));
    if (state.message) this.setMessage(state.message);
    if (working) this.progress(state);
    if (state.state === "none" || state.state === "failed" || state.state === "waiting") this.forget();
    if (state.state === "ready" && state.version !== this.version) await this.load(state.version);
    if (this.found) this.exports(state.exports);
  }

  progress({ state, name, done, expected, seconds_left: left }) {
    const bar = this.one("[data-progress]");
    if (expected) { bar.max = expected; bar.value = done; } else bar.removeAttribute("value");
    const steps = { waiting: "waiting for other recordings", reading: "the AI looks at the frames",
      finding: "following lesions" };
    const count = expected ? `, ${done} of ${expected}` : done ? `, ${done}` : "";
    const time = left === null ? "" : `, about ${minutes(left)} left`;
    this.one("[data-status]").textContent = `${name}: ${steps[state]}${count}${time}`;
  }

  setMessage(message) {
    const shown = this.one("[data-message]");
    shown.textContent = message;
    shown.hidden = !message;
  }

  forget() {
    this.found = null;
    this.version = 0;
    this.opened = Date.now();
    this.one(".rec-result").hidden = true;
    this.stop();
  }

  async load(version) {
    const found = await this.ask("findings");
    const first = this.found === null;
    this.found = found;
    this.version = version;
    this.one(".rec-result").hidden = false;
    this.one("[data-place]").max = found.scores.length - 1;
    if (document.activeElement !== this.one("[data-high]")) this.one("[data-high]").value = found.high;
    this.one("[data-high-out]").textContent = Number(this.one("[data-high]").value).toFixed(2);
    this.timeline.show(found);
    this.key(found);
    this.tracks(found);
    this.go(first && found.tracks.length ? found.tracks[0].best : Math.min(this.place, found.scores.length - 1));
  }

  key({ conditions, looks }) {
    const seen = Object.keys(looks).filter((name) => conditions.includes(name));
    this.one("[data-key]").replaceChildren(...seen.map((name) => {
      const item = document.createElement("li"), colour = document.createElement("i");
      colour.style.background = looks[name].colour;
      item.append(colour, looks[name].label);
      return item;
    }));
  }

  tracks({ tracks, sequence, brief, version }) {
    const what = sequence ? "lesion" : "finding";
    this.one("[data-count]").textContent =
      `${tracks.length} ${what}${tracks.length === 1 ? "" : "s"}${brief ? `, ${brief} brief ${brief === 1 ? "one" : "ones"} left out` : ""}`;
    this.one("[data-tracks]").replaceChildren(...tracks.map((track) => {
      const item = document.createElement("li"), button = document.createElement("button");
      const image = document.createElement("img"), text = document.createElement("small");
      button.type = "button";
      image.loading = "lazy";
      image.src = `${ROOT}recordings/track/${track.number}?v=${version}&r=${this.opened}`;
      image.alt = `Best frame of ${what} ${track.number}`;
      text.textContent = `${track.number}: ${sequence ? `${track.time}, ` : ""}score ${track.score.toFixed(2)}, ` +
        `${(100 * track.share_of_field).toFixed(1)}% of the field`;
      button.append(image, text);
      button.addEventListener("click", () => { this.stop(); this.go(track.best); });
      item.append(button);
      return item;
    }));
  }

  go(place) {
    this.place = place;
    const found = this.found;
    this.one("[data-place]").value = place;
    const score = found.scores[place];
    this.one("[data-where]").textContent =
      `${found.names[place] ?? `frame ${place} at ${found.times_s[place].toFixed(2)} s`}, ` +
      `${score ? `score ${score.toFixed(2)}` : "nothing found"}, ${found.looks[found.conditions[place]].label}`;
    this.timeline.at(place);
    return this.draw();
  }

  // Draws both sides of the newest wanted frame, and skips others that were wanted during loading.
  async draw() {
    if (this.drawing) { this.again = true; return; }
    this.drawing = true;
    do {
      this.again = false;
      const query = `${this.place}?v=${this.version}&r=${this.opened}`;
      const sides = { before: `${ROOT}recordings/frame/${query}`, after: `${ROOT}recordings/frame/${query}&overlay=true` };
      const there = await Promise.all(Object.values(sides).map(loaded));
      if (there.every(Boolean))
        for (const [side, address] of Object.entries(sides)) this.one(`[data-${side}]`).src = address;
    } while (this.again);
    this.drawing = false;
  }

  split(percent) {
    this.one("[data-compare]").style.setProperty("--split", `${percent}%`);
    this.one("[data-split]").value = percent;
  }

  exports(made) {
    const list = this.one("[data-exports]");
    if (!list.children.length) list.append(...Object.keys(EXPORTS).map((kind) => this.exportItem(kind)));
    for (const [kind] of Object.entries(EXPORTS)) this.exportShown(kind, made[kind]);
  }

  exportItem(kind) {
    const item = document.createElement("li");
    item.dataset.kind = kind;
    item.innerHTML = '<span></span><button type="button">Create</button><a class="rec-file" hidden>Download</a><small hidden></small>';
    item.querySelector("span").textContent = EXPORTS[kind];
    item.querySelector("button").setAttribute("aria-label", `Create ${EXPORTS[kind]}`);
    item.querySelector("a").setAttribute("aria-label", `Download ${EXPORTS[kind]}`);
    item.querySelector("button").addEventListener("click", () => this.export(kind));
    return item;
  }

  exportShown(kind, made) {
    const item = this.one(`[data-kind="${kind}"]`);
    const button = item.querySelector("button"), link = item.querySelector("a"), note = item.querySelector("small");
    const working = made?.state === "working";
    button.hidden = made?.state === "ready";
    button.disabled = working;
    const share = made?.expected ? ` ${Math.round(100 * made.done / made.expected)}%` : "";
    button.textContent = working ? `Creating${share} ...` : "Create";
    link.hidden = made?.state !== "ready";
    link.href = `${ROOT}recordings/file/${kind}`;
    note.hidden = !made?.message;
    note.textContent = made?.message ?? "";
  }

  async export(kind) {
    const persons = this.one("[data-persons]").checked;
    const field = (name) => (persons ? this.one(`[data-${name}]`).value : null);
    await this.attempt(() => this.ask("export", { kind, patient: field("patient"), operator: field("operator") }));
  }

  async attempt(work) {
    this.setMessage("");
    try { await work(); await this.poll(); } catch (error) { this.setMessage(error.message); }
  }

  upload(file) {
    if (!file) return;
    this.forget();
    this.setMessage("");
    const request = new XMLHttpRequest();
    request.open("POST", `${ROOT}recordings/upload?name=${encodeURIComponent(file.name)}`);
    request.upload.onprogress = ({ loaded, total }) => {
      this.one(".rec-progress").hidden = false;
      Object.assign(this.one("[data-progress]"), { max: total, value: loaded });
      this.one("[data-status]").textContent = `${file.name}: uploading, ${Math.round(100 * loaded / total)}%`;
    };
    request.onloadend = () => {
      this.one(".rec-progress").hidden = true;
      if (request.status === 200) { this.poll(); return; }
      this.setMessage(refusal(request));
      this.timer = setTimeout(() => this.poll(), IDLE_POLL_MS);
    };
    clearTimeout(this.timer);
    request.send(file);
    this.one("[data-upload]").value = "";
  }

  playing() { return this.one("[data-play]").getAttribute("aria-pressed") === "true"; }

  stop() { this.one("[data-play]").setAttribute("aria-pressed", "false"); }

  async play() {
    this.one("[data-play]").setAttribute("aria-pressed", "true");
    while (this.playing() && this.found && this.place < this.found.scores.length - 1) {
      const next = new Promise((resolve) => setTimeout(resolve, PLAY_MS));
      await this.go(this.place + 1);
      await next;
    }
    this.stop();
  }

  nextFinding(step) {
    const { scores } = this.found;
    let place = this.place;
    while (scores[place] && place >= 0 && place < scores.length) place += step;
    while (place >= 0 && place < scores.length && !scores[place]) place += step;
    if (place >= 0 && place < scores.length) this.go(place);
  }

  listen() {
    const on = (selector, kind, work) => this.one(selector).addEventListener(kind, work);
    on("[data-upload]", "change", ({ target }) => this.upload(target.files[0]));
    on("[data-pick]", "change", ({ target }) => {
      if (target.value) this.attempt(() => { this.forget(); return this.ask("pick", { name: target.value }); });
    });
    for (const name of ["[data-leave]", "[data-cancel]"]) {
      on(name, "click", () => this.attempt(() => this.ask("leave", {})));
    }
    on("[data-place]", "input", ({ target }) => { this.stop(); this.go(Number(target.value)); });
    on("[data-split]", "input", ({ target }) => this.split(target.value));
    on("[data-compare]", "pointermove", (event) => { if (event.buttons) this.drag(event); });
    on("[data-compare]", "pointerdown", (event) => this.drag(event));
    on("[data-play]", "click", () => (this.playing() ? this.stop() : this.play()));
    on("[data-persons]", "change", ({ target }) => { this.one("[data-person-fields]").hidden = !target.checked; });
    on("[data-high]", "input", ({ target }) => {
      this.one("[data-high-out]").textContent = Number(target.value).toFixed(2);
      clearTimeout(this.asking);
      this.asking = setTimeout(() => this.attempt(() => this.ask("find", { high: Number(target.value) })), ASK_AFTER_MS);
    });
    document.addEventListener("keydown", (event) => this.press(event));
    for (const button of this.root.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => this.step(Number(button.dataset.step)));
    }
    for (const button of this.root.querySelectorAll("[data-finding]")) {
      button.addEventListener("click", () => { this.stop(); this.nextFinding(Number(button.dataset.finding)); });
    }
  }

  step(by) {
    this.stop();
    this.go(Math.min(this.found.scores.length - 1, Math.max(0, this.place + by)));
  }

  // Acts on keys while the tab is visible, unless the key belongs to a field or a button.
  press(event) {
    const taken = event.target.closest?.("input, select, textarea, button, a");
    if (!this.found || taken || this.root.offsetParent === null || event.ctrlKey || event.altKey || event.metaKey) return;
    const work = { " ": () => (this.playing() ? this.stop() : this.play()), ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1), n: () => { this.stop(); this.nextFinding(1); },
      p: () => { this.stop(); this.nextFinding(-1); } }[event.key];
    if (!work) return;
    event.preventDefault();
    work();
  }

  drag(event) {
    const box = this.one("[data-compare]").getBoundingClientRect();
    this.split(Math.min(100, Math.max(0, 100 * (event.clientX - box.left) / box.width)));
  }
}

function minutes(seconds) {
  return seconds < 60 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

function refusal(request) {
  try { return JSON.parse(request.responseText).detail; } catch { /* not from the page itself */ }
  return request.status === 413 ? "the file is too large" : "the upload was interrupted; try again";
}

async function loaded(address) {
  const image = new Image();
  image.src = address;
  try { await image.decode(); return true; } catch { return false; /* closed meanwhile */ }
}

// Gradio makes the tab's content when it is first opened, and may make it again.
let current = null;
function look() {
  const root = document.getElementById("recordings");
  if (root && root !== current) { current = root; new Recordings(root); }
}
new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });
look();
