// Draws live frames, reports when they are drawn, and sends what the controls ask.

import { drawPlot } from "./plot.js";

const ROOT = new URL("..", import.meta.url).href;  // of the page, also below a path of a proxy

const HEAD_BYTES = 16, FIRST_RETRY_MS = 500, LAST_RETRY_MS = 10000, LOGGED_OUT = 4401, TOO_MANY = 1013;
const SILENT_MS = 5000, CHECK_MS = 1000;  // the server sends its state more often
const PLOT_SECONDS = 60;
const PAUSE_MS = self === top ? 0 : 200;  // in the grid of rooms, which few pictures are made for
const AI = { on: "\u25cf on", late: "\u25d0 late", off: "\u25cb off" };

class Live {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector(".live-picture canvas");
    this.paint = this.canvas.getContext("2d", { alpha: false });
    this.message = root.querySelector(".live-message");
    this.state = {};
    this.delays = new Map();
    this.items = [];
    this.drawn = 0;
    this.newest = 0;
    this.retryMs = FIRST_RETRY_MS;
    this.listen();
    this.connect();
    this.check = setInterval(() => this.checkConnection(), CHECK_MS);
  }

  connect() {
    this.socket = new WebSocket(`${ROOT.replace(/^http/, "ws")}live/stream`);
    this.socket.binaryType = "arraybuffer";
    this.heard = performance.now();
    this.socket.onopen = () => { this.retryMs = FIRST_RETRY_MS; };
    this.socket.onmessage = ({ data }) => {
      this.heard = performance.now();
      if (typeof data === "string") this.show(JSON.parse(data));
      else this.draw(data);
    };
    this.socket.onclose = (event) => this.retry(event);
  }

  retry({ code, reason }) {
    if (!this.root.isConnected) return;
    if (code === LOGGED_OUT) { location.assign(`${ROOT}login`); return; }
    this.setMessage(code === TOO_MANY ? reason : "No connection. Trying again ...");
    setTimeout(() => this.connect(), this.retryMs);
    this.retryMs = Math.min(LAST_RETRY_MS, 2 * this.retryMs);
  }

  // A cable that is pulled or a server that hangs closes nothing: the last picture would stay as if
  // it were live.
  checkConnection() {
    if (performance.now() - this.heard < SILENT_MS) return;
    this.heard = Infinity;  // until the next connection
    this.leave();
    this.retry({});
  }

  leave() { this.socket.onclose = this.socket.onmessage = null; this.socket.close(); }

  close() { clearInterval(this.check); this.leave(); }

  send(what) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(what));
  }

  // Decodes outside the page's thread, draws at the screen's next refresh, and then asks for more.
  // A hidden page has no refresh, so it receives nothing.
  async draw(data) {
    const head = new DataView(data);
    const number = Number(head.getBigUint64(0, true)), frame = Number(head.getBigUint64(8, true));
    const blob = new Blob([new Uint8Array(data, HEAD_BYTES)], { type: "image/jpeg" });
    const image = await createImageBitmap(blob);
    requestAnimationFrame(() => {
      if (number > this.newest) {
        this.newest = number;
        const width = Math.round(image.width * (this.state.pixel_aspect || 1)), height = image.height;
        if (this.canvas.width !== width || this.canvas.height !== height)
          [this.canvas.width, this.canvas.height] = [width, height];
        this.paint.drawImage(image, 0, 0, width, height);
        this.root.dataset.drawn = ++this.drawn;
        this.root.dataset.frame = frame;
      }
      image.close();
      const report = () => this.send({ do: "drawn", number });
      if (PAUSE_MS) setTimeout(report, PAUSE_MS); else report();
    });
  }

  show(state) {
    const before = this.state;
    this.state = state;
    this.setMessage(state.message);
    this.showControls(state);
    this.showFigures(state);
    this.showTracks(state.tracks || []);
    this.showSources(state);
    if (state.running) this.showPlot(state);
    this.announce(before, state);
    this.root.dataset.state = state.running ? "running" : "idle";
  }

  setMessage(message) {
    if (this.message.textContent !== message) this.message.textContent = message;
  }

  showControls(state) {
    const { overlay, fill, recording } = state, pressed = { overlay, fill, recording };
    for (const [name, on] of Object.entries(pressed)) {
      const button = this.find(`[data-toggle="${name}"]`);
      button.setAttribute("aria-pressed", String(Boolean(on)));
      this.enable(button, state.running, name !== "recording" || state.can_record, "recordings");
    }
    for (const button of this.root.querySelectorAll("[data-do]"))
      this.enable(button, state.running, button.dataset.do !== "snapshot" || state.can_snapshot, "snapshots");
    this.showRange("sensitivity", state.sensitivity, String);
    this.find('[data-range="sensitivity"]').title = `1 shows least, 5 most (+ and -). ${state.alarms || ""}`;
    this.showRange("hold", state.hold_s, (value) => `${value.toFixed(2)} s`);
  }

  // folder: the option that a button needs and did not get.
  enable(button, running, possible, folder) {
    button.disabled = !running || !possible;
    button.dataset.title ??= button.title;
    button.title = running && !possible ? `start qlumen with --${folder} FOLDER` : button.dataset.title;
  }

  showRange(name, value, text) {
    const input = this.find(`[data-range="${name}"]`);
    input.disabled = value === undefined;
    if (value === undefined || input.matches(":active")) return;
    input.value = value;
    input.setAttribute("aria-valuetext", text(value));
    this.find(`[data-out="${name}"]`).textContent = text(value);
  }

  showFigures(state) {
    const ms = (value) => (value === null || value === undefined ? "-" : `${Math.round(value)} ms`);
    const { condition, judged, rate } = state, some = judged < 0.9 * rate ? ", not every frame" : "";
    const share = judged === undefined ? "" : `, judges ${judged.toFixed(1)}/s${some}`;
    const drops = Object.entries(state.drops || {});
    this.figure("ai", state.running ? AI[state.ai] + (condition ? `, ${condition}` : "") + share : "-");
    this.figure("rate", state.running ? `${state.rate.toFixed(1)} frames/s` : "-");
    this.figure("age", ms(state.age_ms));
    this.figure("delay", state.running ? ms(state.delay_ms) : "-");
    this.figure("drops", drops.map(([cause, count]) => `${count} ${cause.replace("model", "AI").replaceAll("_", " ")}`).join(", ") || "0");
    this.figure("viewers", String(state.viewers));
  }

  figure(name, text) {
    const place = this.find(`[data-figure="${name}"]`);
    if (place.textContent !== text) place.textContent = text;
  }

  showPlot({ seconds, delay_ms, max_age_ms }) {
    const now = seconds.length ? seconds[seconds.length - 1][0] : 0;
    if (delay_ms !== null) this.delays.set(now, Math.max(delay_ms, this.delays.get(now) || 0));
    for (const second of this.delays.keys()) if (second < now - PLOT_SECONDS) this.delays.delete(second);
    drawPlot(this.find(".live-plot canvas"), seconds, this.delays, max_age_ms);
  }

  showTracks(tracks) {
    const numbers = tracks.map((track) => track.number).join();
    const known = new Map(this.items.map((item) => [Number(item.dataset.number), item]));
    if (numbers !== this.numbers) {
      this.numbers = numbers;
      this.items = tracks.map(({ number }) => known.get(number) || trackItem(number));
      this.find("[data-tracks]").replaceChildren(...(tracks.length ? this.items : [noTrack()]));
    }
    tracks.forEach((track, index) => fillTrack(this.items[index], track));
  }

  showSources({ chooses, sources }) {
    const form = this.find("[data-source]");
    form.hidden = !chooses;
    if (!chooses) return;
    const list = form.querySelector("select");
    if (list.options.length !== sources.length)
      list.replaceChildren(...sources.map((name, index) => new Option(name, index)));
  }

  announce(before, state) {
    const news = [];
    if (before.ai && state.ai && before.ai !== state.ai) news.push(`AI ${state.ai}`);
    if (before.recording !== undefined && Boolean(state.recording) !== before.recording)
      news.push(state.recording ? "recording started" : "recording ended");
    if (news.length) this.find("[data-spoken]").textContent = news.join(", ");
    const inView = (tracks) => (tracks || []).filter((track) => track.now).map((track) => track.number);
    const known = new Set(inView(before.tracks)), now = inView(state.tracks);
    const come = now.filter((number) => !known.has(number)), alarm = this.find("[data-alarm]");
    if (come.length) alarm.textContent = `Lesion ${come.join(" and ")} in view`;
    else if (!now.length) alarm.textContent = "";
  }

  listen() {
    for (const button of this.root.querySelectorAll("[data-toggle]"))
      button.addEventListener("click", () => this.toggle(button.dataset.toggle));
    for (const button of this.root.querySelectorAll("[data-do]"))
      button.addEventListener("click", () => this.send({ do: button.dataset.do }));
    this.find('[data-range="sensitivity"]').addEventListener("change", ({ target }) => this.send({ do: "sensitivity", position: Number(target.value) }));
    this.find('[data-range="hold"]').addEventListener("change", ({ target }) => this.send({ do: "hold", seconds: Number(target.value) }));
    this.find("[data-screen]").addEventListener("click", () => this.screen());
    const form = this.find("[data-source]");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send({ do: "start", source: Number(form.querySelector("select").value) });
    });
    form.querySelector("[data-stop]").addEventListener("click", () => this.send({ do: "stop" }));
    this.onKey = (event) => this.key(event);
    document.addEventListener("keydown", this.onKey);
  }

  key(event) {
    if (!this.root.isConnected) { document.removeEventListener("keydown", this.onKey); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (this.root.offsetParent === null) return;  // another tab is open
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    if (event.key === " " && event.target.closest("button, summary, a")) return;
    const keys = {
      " ": () => this.toggle("overlay"), c: () => this.toggle("fill"), v: () => this.toggle("recording"),
      "+": () => this.send({ do: "step", up: true }), "=": () => this.send({ do: "step", up: true }),
      "-": () => this.send({ do: "step", up: false }),
      s: () => this.send({ do: "snapshot" }), m: () => this.send({ do: "mark" }),
      r: () => this.send({ do: "restart_ai" }), f: () => this.screen(),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }

  toggle(name) {
    const can = name === "recording" ? this.state.can_record : this.state.running;
    if (can) this.send({ do: "toggle", what: name });
  }

  screen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.find(".live-picture").requestFullscreen();
  }

  find(selector) { return this.root.querySelector(selector); }
}

function trackItem(number) {
  const item = document.createElement("li"), image = new Image(), text = document.createElement("div");
  item.dataset.number = number;
  image.alt = `Lesion ${number}`;
  text.append(document.createElement("span"), document.createElement("small"));
  item.append(image, text);
  return item;
}

function fillTrack(item, { number, since_s, last_s, score, picture, now }) {
  const image = item.querySelector("img"), address = `${ROOT}live/track/${number}?${picture}`;
  if (image.getAttribute("src") !== address) image.src = address;
  item.querySelector("span").textContent = `Lesion ${number}${now ? ", in view" : ""}`;
  item.querySelector("small").textContent =
    `${clock(since_s)} to ${clock(last_s)}, score ${score.toFixed(2)}`;
  item.classList.toggle("live-now", now);
}

function noTrack() {
  const item = document.createElement("li");
  item.className = "live-none";
  item.textContent = "No lesions yet.";
  return item;
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// Gradio makes the tab's content after the page has loaded, and may make it again.
let live = null;
function look() {
  const root = document.getElementById("live");
  if (root === (live && live.root)) return;
  if (live) live.close();
  live = root ? new Live(root) : null;
}
new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });
look();
