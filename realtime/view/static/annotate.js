// Runs the tab Annotate: people outline lesions in the open recording, and the tool carries the outlines on.

const ROOT = new URL("../..", import.meta.url).href;  // of the page, also below a path of a proxy
const POLL_MS = 400, IDLE_POLL_MS = 3000, SAVE_MS = 300, AGAIN_MS = 1000, STEPS = 40, FAR_PX = 8, MOST_LESIONS = 20;
const COLOURS = [[0, 230, 230], [255, 180, 84], [200, 150, 255], [130, 230, 100], [255, 130, 160]];
const MARKS = {  // name, colour and height on the timeline
  k: ["outlined", "#00e6e6", 1],
  n: ["of the network", "#82e664", 0.8],
  p: ["propagated", "#4d86a6", 0.55],
  s: ["skipped", "#a06a3c", 0.3],
  ".": ["without an outline", "#2a323a", 0.1],
};
const WORK = { propagate: "outlines move along", data: "frames and outlines are written" };
const KEYS = {
  "← → ↑ ↓": "move the cursor on the frame, with Shift by 1 pixel",
  "Space": "draw, or set a point",
  "Enter": "close the polygon",
  "Escape, Backspace": "drop the polygon, its last point",
  "1 to 9": "number of the lesion",
  "+ -": "size of the brush",
};
const HINTS = {
  none: "Open a video in the tab Recordings first.",
  failed: "The recording in the tab Recordings cannot be read; open another one.",
  ready: "This recording is no video of one size, so it cannot be outlined; open another one.",
};

class Annotate {
  constructor(root) {
    this.root = root;
    this.canvas = this.one("[data-picture]");
    this.pending = new Map();  // newest change of each frame that is not kept yet, by path
    Object.assign(this, { tool: "brush", lesion: 1, visit: 0, changes: 0, retry: 0 });
    this.reset(null, [1, 1]);
    this.one("[data-who]").value = localStorage.getItem("qlumen-annotator") ?? "annotator";
    this.listen();
    this.choose("brush");
    this.poll();
    setInterval(() => this.flush(), SAVE_MS);
  }

  one(selector) { return this.root.querySelector(selector); }

  get who() { return encodeURIComponent(this.one("[data-who]").value.trim()) || "annotator"; }

  // Forgets what belongs to a clip or an annotator.
  reset(clip, size) {
    const cursor = size.map((side) => side >> 1);
    Object.assign(this, { clip, size, cursor, index: 0, mask: null, points: [], drawing: null, others: [],
      marks: [], state: {}, done: [], undone: [], working: false, heard: "" });
    [this.canvas.width, this.canvas.height] = size;
    this.one("[data-clip]").textContent = clip ?? "";
    this.one(".rec-result").hidden = !clip;
  }

  async ask(path, method = "GET", content = undefined) {
    const png = content instanceof Blob;
    const answer = await fetch(`${ROOT}annotate/${path}`, {
      method,
      body: png || content === undefined ? content : JSON.stringify(content),
      headers: content === undefined ? {} : { "Content-Type": png ? "image/png" : "application/json" },
    });
    if (answer.ok) return answer;
    if (answer.status === 401 && !this.pending.size) location.assign(`${ROOT}login`);
    const { detail } = await answer.json().catch(() => ({}));
    const text = typeof detail === "string" ? detail : `refused (${answer.status})`;
    throw Object.assign(new Error(text), { status: answer.status });
  }

  of(path, ...more) { return this.ask(`${this.clip}/${path}`, ...more); }

  message(text) {
    this.one("[data-message]").textContent = text;
    this.one("[data-message]").hidden = !text;
  }

  async attempt(work) {
    this.message("");
    try { await work(); } catch (error) { this.message(error.message); }
  }

  // What the server knows: the open recording, then the outlines in it.

  async poll() {
    clearTimeout(this.timer);
    if (!this.root.isConnected) return;
    try {
      const { folder, state, clip, size } = await (await this.ask("state")).json();
      if (!folder) this.message("Nothing can be kept yet: start the page with --set view.annotations=FOLDER.");
      else if (!clip) this.hint(HINTS[state] ?? "The network looks at the recording; wait.");
      else await this.follow(clip, size);
    } catch (error) { this.message(error.message); }
    this.timer = setTimeout(() => this.poll(), this.working || !this.clip ? POLL_MS : IDLE_POLL_MS);
  }

  hint(text) {
    if (this.clip) this.reset(null, [1, 1]);
    this.message(text);
  }

  async follow(clip, size) {
    const first = clip !== this.clip;
    if (first) { this.reset(clip, size); this.message(""); }
    const { changes } = this, busy = this.pending.size;
    const state = await (await this.of(`state/${this.who}`)).json();
    if (clip !== this.clip) return;
    const keep = busy || this.drawing || changes !== this.changes;  // own changes are newer than the answer
    this.state = state;
    if (!this.marks.length || !keep) this.marks = [...state.marks];
    const ended = this.progress(state.work);
    if (!this.mask) {
      this.one("[data-place]").max = this.marks.length - 1;
      await this.go(first ? state.next ?? 0 : this.index);
    } else if (ended && !keep) await this.go(this.index);
    this.one("[data-file]").hidden = state.work.data?.state !== "ready";
    this.one("[data-file]").href = `${ROOT}annotate/${clip}/data.zip`;
    if (document.activeElement !== this.one("[data-class]")) this.number(this.lesion);
    this.curve();
    this.line();
  }

  // Shows the progress of long work; returns whether it has just ended.
  progress(work) {
    const [kind, now] = Object.entries(work).find(([, one]) => one.state === "working") ?? [];
    const ended = this.working && !now, bar = this.one("[data-progress]");
    this.working = Boolean(now);
    this.one(".rec-progress").hidden = !now;
    if (now?.expected) { bar.max = now.expected; bar.value = now.done; } else bar.removeAttribute("value");
    const share = now?.expected ? `, ${Math.round(100 * now.done / now.expected)}%` : "";
    this.one("[data-status]").textContent = now ? `${WORK[kind]}${share}` : "";
    const failed = Object.values(work).find((one) => one.state === "failed")?.message ?? "";
    if (failed !== this.heard) this.message(failed);
    this.heard = failed;
    return ended;
  }

  async go(index) {
    this.index = Math.max(0, Math.min(this.marks.length - 1, index));
    Object.assign(this, { mask: null, points: [], drawing: null });
    this.one("[data-place]").value = this.index;
    const visit = ++this.visit, path = `${this.clip}/outline/${this.who}/${this.index}`, kept = this.pending.get(path);
    const [image, mask, others] = await Promise.all([
      picture(`${ROOT}annotate/${this.clip}/frame/${this.index}`),
      kept ? kept.mask : this.load(path),
      this.comparing ? this.rest() : [],
    ]);
    if (visit !== this.visit) return;
    Object.assign(this, { image, others, mask: mask ?? this.empty() });
    this.line();
    this.draw();
  }

  empty() { return new Uint8Array(this.size[0] * this.size[1]); }

  async load(path) {
    const answer = await this.ask(path);
    return answer.status === 204 ? null : decode(await answer.blob(), this.size);
  }

  rest() {
    const names = this.state.annotators.filter((name) => name !== decodeURIComponent(this.who));
    return Promise.all(names.map((name) => this.load(`${this.clip}/outline/${name}/${this.index}`)));
  }

  // Changes: `keep` notes one, `flush` sends the newest of each frame, again and again until it is kept.

  keep(mark) {
    this.changes++;
    this.marks[this.index] = mark;
    const { clip, who, index, size } = this;
    this.pending.set(`${clip}/outline/${who}/${index}`, {
      mark, size, mask: "kn".includes(mark) ? this.mask : null, flag: `${clip}/mark/${who}/${index}`,
    });
    this.saying("Saving");
    if (!this.drawing) this.line();
    this.draw();
  }

  saying(text) {
    const shown = this.one("[data-saved]");
    if (shown.textContent !== text) shown.textContent = text;
  }

  async flush() {
    if (this.flushing || !this.pending.size || Date.now() < this.retry) return;
    this.flushing = true;
    const [path, change] = this.pending.entries().next().value;
    try {
      if (change.mask) {
        const mark = change.mark === "n" ? "network" : "key";
        await this.ask(`${path}?mark=${mark}`, "PUT", await encode(change.mask, change.size));
      } else await this.ask(change.flag, "POST", change.mark === "s" ? "skipped" : "");
      if (this.pending.get(path) === change) this.pending.delete(path);
    } catch (error) {
      if ([400, 413, 422].includes(error.status)) { this.pending.delete(path); this.message(error.message); }
      else this.retry = Date.now() + AGAIN_MS;
    }
    this.flushing = false;
    const again = "Not saved yet; trying again. Leave this page open, and the recording too.";
    this.saying(!this.pending.size ? "Saved" : Date.now() < this.retry ? again : "Saving");
  }

  async settled() {
    while (this.pending.size) {
      await this.flush();
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  begin() {
    this.done = [...this.done, this.step()].slice(-STEPS);
    this.undone = [];
  }

  step() { return { index: this.index, mask: this.mask.slice(), mark: this.marks[this.index] }; }

  change(mask, mark) {
    if (!this.mask) return;
    this.begin();
    this.mask = mask;
    this.keep(mark);
  }

  async back(from, to) {
    const step = from.pop();
    if (!step) return;
    if (step.index !== this.index) await this.go(step.index);
    to.push(this.step());
    this.mask = step.mask;
    this.keep(step.mark === "p" ? "." : step.mark);
    this.marks[this.index] = step.mark;
  }

  paint([x0, y0], [x1, y1]) {
    const radius = Number(this.one("[data-size]").value), [width, height] = this.size;
    const value = this.tool === "eraser" ? 0 : this.lesion;
    const count = Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(1, radius / 3)) || 1;
    for (let step = 0; step <= count; step++) {
      const x = x0 + (x1 - x0) * step / count, y = y0 + (y1 - y0) * step / count;
      for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(height - 1, y + radius); row++) {
        const half = Math.sqrt(Math.max(0, radius ** 2 - (row - y) ** 2));
        const left = Math.max(0, Math.round(x - half)), right = Math.min(width - 1, Math.round(x + half));
        if (left <= right) this.mask.fill(value, row * width + left, row * width + right + 1);
      }
    }
    this.keep("k");
  }

  point(at) {
    this.points.push(at.map(Math.round));
    this.told(`point ${this.points.length} at ${this.points.at(-1)}`);
    this.draw();
  }

  close() {
    if (this.points.length < 3 || !this.mask) return this.told("a polygon needs 3 points or more");
    const [width, height] = this.size, context = new OffscreenCanvas(width, height).getContext("2d");
    trace(context, this.points);
    context.fill();
    const { data } = context.getImageData(0, 0, width, height);
    this.points = [];
    this.change(this.mask.map((value, at) => (data[4 * at + 3] > 127 ? this.lesion : value)), "k");
  }

  // Sends the outline and takes the better one that comes back.
  async refine(tool) {
    if (!this.mask?.some(Boolean)) return this.told("outline a lesion first");
    const { index } = this;
    const answer = await this.of(`refine/${tool}/${index}`, "POST", await encode(this.mask, this.size));
    const mask = await decode(await answer.blob(), this.size);
    if (index === this.index) this.change(mask, "k");
  }

  // What the page shows.

  told(text) { this.one("[data-where]").textContent = text; }

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      if (this.mask && this.image) this.drawNow();
    });
  }

  drawNow() {
    const context = this.canvas.getContext("2d"), [width, height] = this.size;
    const over = new OffscreenCanvas(width, height), pixels = new ImageData(width, height);
    shade(pixels.data, this.mask, width, 60);
    this.others.forEach((other, at) => other && shade(pixels.data, other, width, 0, at + 1));
    over.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(this.image, 0, 0, width, height);
    context.drawImage(over, 0, 0);
    Object.assign(context, { strokeStyle: "#ffffff", fillStyle: "#ffffff", lineWidth: Math.max(1, width / 500) });
    if (this.points.length) { trace(context, this.points); context.stroke(); }
    for (const [x, y] of this.points) context.fillRect(x - 2, y - 2, 5, 5);
    if (document.activeElement !== this.canvas) return;
    const [x, y] = this.cursor, arm = width / 40;
    for (const [right, down] of [[arm, 0], [0, arm]]) {
      trace(context, [[x - right, y - down], [x + right, y + down]]);
      context.stroke();
    }
  }

  line() {
    const context = this.one("[data-line]").getContext("2d"), count = this.marks.length;
    const { disagreement = {} } = this.state;
    context.clearRect(0, 0, 1000, 44);
    this.marks.forEach((mark, at) => bar(context, at, count, MARKS[mark][1], 24 * MARKS[mark][2], 44));
    for (const [at, share] of Object.entries(disagreement)) {
      bar(context, Number(at), count, "#ffb454", 18 * Math.min(1, share), 19);
    }
    bar(context, this.index, count, "#ffffff", 44, 44, 2);
    const told = Object.entries(MARKS).map(([mark, [name]]) => [this.marks.filter((one) => one === mark).length, name]);
    const text = told.filter(([many]) => many).map(([many, name]) => `${many} ${name}`).join(", ");
    this.one("[data-counts]").textContent = text;
    this.one("[data-line]").setAttribute("aria-label", `Timeline: ${text}`);
    const mark = this.marks[this.index], doubt = mark === "p" ? disagreement[this.index] : undefined;
    const more = doubt ? `, disagreement ${percent(doubt)}` : "";
    if (mark) this.told(`frame ${this.index} of ${count - 1}, ${MARKS[mark][0]}${more}`);
  }

  curve() {
    const { history, stale, next } = this.state, shown = this.one("[data-curve]"), context = shown.getContext("2d");
    const [many, mean] = history.at(-1) ?? [];
    const known = many ? `Mean disagreement ${percent(mean)} with ${many} keys${stale ? "; keys have changed since" : ""}`
      : "No disagreement is known: outline two frames, then propagate";
    this.one("[data-curve-text]").textContent = `${known}${next === null ? "" : `. Next to outline: frame ${next}`}.`;
    shown.hidden = history.length < 2;
    const all = history.map(([keys, share]) => `${percent(share)} with ${keys} keys`).join(", ");
    shown.setAttribute("aria-label", `Mean disagreement after each propagation: ${all}`);
    const most = Math.max(...history.map(([keys]) => keys)), top = Math.max(...history.map(([, share]) => share)) || 1;
    context.clearRect(0, 0, 280, 70);
    context.strokeStyle = "#ffb454";
    trace(context, history.map(([keys, share]) => [8 + 264 * keys / most, 64 - 56 * share / top]));
    context.stroke();
  }

  async compare(on = !this.comparing) {
    this.comparing = on;
    this.one('[data-do="compare"]').setAttribute("aria-pressed", on);
    this.one("[data-table]").hidden = !on;
    if (on) {
      await this.settled();
      const found = Object.entries(await (await this.of(`agreement/${this.who}`)).json());
      const rows = found.map(([name, one]) => [name, one?.[0] ?? 0, ...(one ?? []).slice(1).map((x) => x.toFixed(3))]);
      this.one("[data-table]").replaceChildren(...[["annotator", "frames", "Dice", "kappa"], ...rows].map(tableRow));
    }
    await this.go(this.index);
  }

  keys() {
    const buttons = [...this.root.querySelectorAll("button[aria-keyshortcuts]")];
    const rows = [...buttons.map((one) => [one.getAttribute("aria-keyshortcuts"), one.textContent]), ...Object.entries(KEYS)];
    this.one("dl").replaceChildren(...rows.flatMap(([key, text]) => [element("dt", key), element("dd", text)]));
    this.one("dialog").showModal();
  }

  // What people do.

  act(name) {
    const work = async () => { await this.settled(); await this.of(`work/${this.who}`, "POST", name); await this.poll(); };
    const next = async () => { await this.settled(); await this.poll(); await this.go(this.state.next ?? this.index); };
    const actions = {
      accept: () => this.accept(), snap: () => this.refine(name), fit: () => this.refine(name),
      undo: () => this.back(this.done, this.undone), redo: () => this.back(this.undone, this.done),
      none: () => this.change(this.empty(), "k"), skip: () => this.change(this.empty(), "s"), remove: () => this.remove(),
      before: () => this.go(this.index - 1), after: () => this.go(this.index + 1),
      keyBefore: () => this.jump(-1), keyAfter: () => this.jump(1), next, propagate: work, data: work,
      compare: () => this.compare(), majority: () => this.vote(), keys: () => this.keys(),
      stop: async () => { await this.of("stop", "POST"); await this.poll(); },
    };
    return actions[name]();
  }

  async accept() {
    const { index } = this, mask = await this.load(`${this.clip}/network/${index}`);
    if (index === this.index) this.change(mask, "n");
  }

  async remove() {
    this.change(this.empty(), ".");
    await this.settled();
    await this.poll();
    await this.go(this.index);
  }

  async vote() {
    await this.settled();
    await this.of("majority", "POST");
    await this.poll();
    await this.compare(true);
  }

  jump(step) {
    for (let at = this.index + step; at >= 0 && at < this.marks.length; at += step) {
      if ("kn".includes(this.marks[at])) return this.go(at);
    }
    this.told("there is no other key");
  }

  choose(tool) {
    this.tool = tool;
    for (const button of this.root.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", button.dataset.tool === tool);
    }
    this.points = [];
    this.draw();
  }

  number(lesion) {
    this.lesion = Math.max(1, Math.min(MOST_LESIONS, Math.round(lesion) || 1));
    this.one("[data-lesion]").value = this.lesion;
    this.one("[data-class]").value = this.state.classes?.[this.lesion] ?? "polyp";
  }

  press(event) {
    const { key, target } = event;
    if (!this.marks.length || this.root.offsetParent === null || this.one("dialog").open) return;
    if (event.altKey || event.metaKey || (event.ctrlKey && key !== "z")) return;
    if (target.closest?.('input[type="text"], input[type="number"], select')) return;
    const by = event.shiftKey ? 1 : FAR_PX;
    const moves = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
    const size = this.one("[data-size]"), buttons = [...this.root.querySelectorAll("button[aria-keyshortcuts]")];
    const button = buttons.find((one) => one.getAttribute("aria-keyshortcuts") === key);
    if (target === this.canvas && (key in moves || [" ", "Enter", "Escape", "Backspace"].includes(key))) {
      this.cursorKey(key, moves[key]);
    } else if (/^[1-9]$/.test(key)) this.number(Number(key));
    else if ("+-".includes(key)) size.value = Number(size.value) + (key === "+" ? 2 : -2);
    else if (button) button.click();
    else return;
    event.preventDefault();
  }

  cursorKey(key, by) {
    if (by) {
      this.cursor = this.cursor.map((value, at) => Math.max(0, Math.min(this.size[at] - 1, value + by[at])));
      this.told(`cursor at ${this.cursor}`);
    } else if (key === " " && this.tool === "polygon") this.point(this.cursor);
    else if (key === " " && this.mask) { this.begin(); this.paint(this.cursor, this.cursor); }
    else if (key === "Enter") this.close();
    else this.points = key === "Escape" ? [] : this.points.slice(0, -1);
    this.draw();
  }

  // Returns the pixel of the frame under the mouse; the frame is fitted into the canvas.
  place(event) {
    const box = this.canvas.getBoundingClientRect(), [width, height] = this.size;
    const scale = Math.min(box.width / width, box.height / height);
    const left = box.left + (box.width - width * scale) / 2, top = box.top + (box.height - height * scale) / 2;
    return [(event.clientX - left) / scale, (event.clientY - top) / scale];
  }

  down(event) {
    if (!this.mask || event.button) return;
    const at = this.place(event);
    this.canvas.focus();
    if (this.tool === "polygon") return this.point(at);
    this.canvas.setPointerCapture(event.pointerId);
    this.begin();
    this.drawing = at;
    this.paint(at, at);
  }

  move(event) {
    if (!this.drawing || !this.mask) return;
    const at = this.place(event);
    this.paint(this.drawing, at);
    this.drawing = at;
  }

  listen() {
    const on = (selector, kind, work) => this.one(selector).addEventListener(kind, work);
    on("[data-who]", "change", ({ target }) => {
      localStorage.setItem("qlumen-annotator", target.value);
      this.reset(null, this.size);
      this.attempt(async () => { await this.settled(); await this.poll(); });
    });
    on("[data-lesion]", "change", ({ target }) => this.number(target.value));
    on("[data-class]", "change", ({ target }) => {
      const classes = { ...this.state.classes, [this.lesion]: target.value };
      this.state.classes = classes;
      this.attempt(() => this.of(`classes/${this.who}`, "PUT", classes));
    });
    on("[data-place]", "input", ({ target }) => this.attempt(() => this.go(Number(target.value))));
    on("[data-line]", "click", ({ offsetX, target }) => (
      this.attempt(() => this.go(Math.floor(this.marks.length * offsetX / target.clientWidth)))));
    on("[data-picture]", "pointerdown", (event) => this.down(event));
    on("[data-picture]", "pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      on("[data-picture]", kind, () => { this.drawing = null; this.line(); });
    }
    on("[data-picture]", "dblclick", () => this.tool === "polygon" && this.close());
    for (const kind of ["focus", "blur"]) on("[data-picture]", kind, () => this.draw());
    for (const button of this.root.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.choose(button.dataset.tool));
    }
    for (const button of this.root.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this.attempt(() => this.act(button.dataset.do)));
    }
    document.addEventListener("keydown", (event) => this.press(event));
    addEventListener("beforeunload", (event) => { if (this.pending.size) event.preventDefault(); });
  }
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

async function picture(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

// Makes a row of the table; an annotator's name has the colour of the borders on the frame.
function tableRow(texts, at) {
  const row = document.createElement("tr");
  row.append(...texts.map((text) => element(at ? "td" : "th", text)));
  if (at) row.firstChild.style.color = `rgb(${COLOURS[at % COLOURS.length]})`;
  return row;
}

function bar(context, at, count, colour, high, bottom, least = 1) {
  context.fillStyle = colour;
  context.fillRect(1000 * at / count, bottom - high, Math.max(least, 1000 / count - 0.5), high);
}

function trace(context, points) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x + 0.5, y + 0.5);
}

// Colours the inside and the border of each lesion, or of all lesions in one colour.
function shade(data, mask, width, alpha, colour) {
  for (let at = 0; at < mask.length; at++) {
    const value = mask[at];
    if (!value) continue;
    const beside = value === mask[at - 1] && value === mask[at + 1];
    const edge = !beside || value !== mask[at - width] || value !== mask[at + width];
    if (!edge && !alpha) continue;
    data.set(COLOURS[(colour ?? value - 1) % COLOURS.length], 4 * at);
    data[4 * at + 3] = edge ? 255 : alpha;
  }
}

function encode(mask, [width, height]) {
  const pixels = new ImageData(width, height), canvas = new OffscreenCanvas(width, height);
  const whole = new Uint32Array(pixels.data.buffer);
  for (let at = 0; at < mask.length; at++) whole[at] = 0xff000000 | mask[at] * 0x10101;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

async function decode(blob, [width, height]) {
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(await createImageBitmap(blob, { colorSpaceConversion: "none" }), 0, 0);
  const { data } = context.getImageData(0, 0, width, height), mask = new Uint8Array(width * height);
  for (let at = 0; at < mask.length; at++) mask[at] = data[4 * at];
  return mask;
}

// Gradio makes the tab's content when it is first opened, and may make it again.
let current = null;
function look() {
  const root = document.getElementById("annotate");
  if (root && root !== current) { current = root; new Annotate(root); }
}
new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });
look();
