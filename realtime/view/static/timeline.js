// Draws the timeline of a recording: a row for each lesion, the scores, the frames' condition.

const NS = "http://www.w3.org/2000/svg";
const ROW = 12, SCORES = 34, STRIP = 8, GAP = 4, WIDTH = 1000, MAX_ROWS = 14, MAX_BINS = 500;

function element(name, attributes) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class Timeline {
  constructor(holder, onPick) {
    this.holder = holder;
    this.onPick = onPick;
    this.count = 1;
    holder.addEventListener("click", (event) => {
      const box = holder.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      onPick(Math.min(this.count - 1, Math.max(0, Math.floor(share * this.count))));
    });
  }

  x(place) { return WIDTH * place / this.count; }

  show(found) {
    this.count = found.scores.length;
    const rows = Math.min(MAX_ROWS, found.tracks.length);
    const height = rows * ROW + SCORES + STRIP + 2 * GAP;
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none",
      role: "img", "aria-label": `Timeline with ${found.tracks.length} lesions` });
    svg.style.height = `${height}px`;
    found.tracks.forEach((track, index) => this.track(svg, track, (index % MAX_ROWS) * ROW));
    this.scores(svg, found.scores, rows * ROW + GAP);
    this.conditions(svg, found, rows * ROW + SCORES + 2 * GAP);
    this.cursor = element("line", { y1: 0, y2: height, stroke: "#ffffff", "stroke-width": 2,
      "vector-effect": "non-scaling-stroke" });
    svg.append(this.cursor);
    this.holder.replaceChildren(svg);
  }

  at(place) {
    const x = this.x(place + 0.5);
    this.cursor?.setAttribute("x1", x);
    this.cursor?.setAttribute("x2", x);
  }

  track(svg, { places, best, number }, y) {
    for (const [first, last] of runs(places)) {
      const bar = element("rect", { x: this.x(first), y: y + 2, width: this.x(last - first + 1),
        height: ROW - 4, fill: "#00c4c4" });
      const title = element("title", {});
      title.textContent = `Lesion ${number}`;
      bar.append(title);
      svg.append(bar);
    }
    svg.append(element("rect", { x: this.x(best) - 1, y, width: 3, height: ROW, fill: "#ffffff" }));
  }

  scores(svg, scores, top) {
    const group = Math.ceil(scores.length / MAX_BINS);
    for (let start = 0; start < scores.length; start += group) {
      const score = Math.max(...scores.slice(start, start + group));
      if (score > 0) {
        svg.append(element("rect", { x: this.x(start), y: top + SCORES * (1 - score),
          width: this.x(group), height: SCORES * score, fill: "#2f6f86" }));
      }
    }
  }

  conditions(svg, { conditions, looks }, top) {
    let start = 0;
    for (let place = 1; place <= conditions.length; place++) {
      if (place < conditions.length && conditions[place] === conditions[start]) continue;
      svg.append(element("rect", { x: this.x(start), y: top, width: this.x(place - start),
        height: STRIP, fill: looks[conditions[start]].colour }));
      start = place;
    }
  }
}

function runs(places) {
  const found = [];
  for (const place of places) {
    const last = found.at(-1);
    if (last && place === last[1] + 1) last[1] = place;
    else found.push([place, place]);
  }
  return found;
}
