// Draws the latency plot of the last minute.

const SECONDS = 60, AGE = "#00e6e6", DELAY = "#ffb454", GREY = "#5b6670", TEXT = "#9aa5b0", PAPER = "#0b0e11";

// ages: [second, ms or null], oldest first. delays: Map second -> ms.
// maxAgeMs: older findings are not shown.
export function drawPlot(canvas, ages, delays, maxAgeMs) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
  if (!width || !height) return;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const paint = canvas.getContext("2d");
  const now = ages.length ? ages[ages.length - 1][0] : 0;
  const values = [...ages.map(([, ms]) => ms), ...delays.values()].filter((ms) => ms !== null);
  const top = 50 * Math.ceil(Math.max(1.25 * maxAgeMs, ...values) / 50);
  const x = (second) => (1 - (now - second) / SECONDS) * width;
  const y = (ms) => (1 - ms / top) * (height - 2 * scale) + scale;
  paint.clearRect(0, 0, width, height);
  limit(paint, width, y(maxAgeMs), scale);
  line(paint, ages, x, y, AGE, 2 * scale, []);
  line(paint, [...delays].sort((a, b) => a[0] - b[0]), x, y, DELAY, 2 * scale, [4 * scale, 3 * scale]);
  label(paint, `${top} ms`, 11 * scale, scale);
  label(paint, `limit ${maxAgeMs} ms`, y(maxAgeMs) + 12 * scale, scale);
  canvas.setAttribute("aria-label", spoken(ages, delays));
}

function limit(paint, width, height, scale) {
  paint.strokeStyle = GREY;
  paint.lineWidth = scale;
  paint.setLineDash([]);
  paint.beginPath();
  paint.moveTo(0, height);
  paint.lineTo(width, height);
  paint.stroke();
}

// Draws over the lines, at the side of the oldest values.
function label(paint, text, bottom, scale) {
  paint.font = `${11 * scale}px system-ui, sans-serif`;
  paint.fillStyle = PAPER;
  paint.fillRect(0, bottom - 10 * scale, paint.measureText(text).width + 4 * scale, 12 * scale);
  paint.fillStyle = TEXT;
  paint.fillText(text, 2 * scale, bottom);
}

function line(paint, points, x, y, colour, width, dash) {
  paint.strokeStyle = colour;
  paint.lineWidth = width;
  paint.setLineDash(dash);
  paint.beginPath();
  let last = null;
  for (const [second, ms] of points) {
    if (ms === null) { last = null; continue; }
    if (last !== null && second - last <= 2) paint.lineTo(x(second), y(ms));
    else paint.moveTo(x(second), y(ms));
    last = second;
  }
  paint.stroke();
}

function spoken(ages, delays) {
  const worst = (values) => Math.round(Math.max(0, ...values.filter((ms) => ms !== null)));
  return `Latency of the last minute: findings at most ${worst(ages.map(([, ms]) => ms))} ms old, ` +
    `frames at most ${worst([...delays.values()])} ms late`;
}
