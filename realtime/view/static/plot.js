// The latency plot of the last minute.

const SECONDS = 60, LIMIT_MS = 120, AGE = "#00e6e6", DELAY = "#ffb454", GREY = "#5b6670";

// canvas: to draw on. ages: [second, ms or null], oldest first. delays: Map second -> ms.
export function drawPlot(canvas, ages, delays) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
  if (!width || !height) return;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const paint = canvas.getContext("2d");
  const now = ages.length ? ages[ages.length - 1][0] : 0;
  const values = [...ages.map(([, ms]) => ms), ...delays.values()].filter((ms) => ms !== null);
  const top = Math.max(150, 50 * Math.ceil(Math.max(0, ...values) / 50));
  const x = (second) => (1 - (now - second) / SECONDS) * width;
  const y = (ms) => (1 - ms / top) * (height - 2 * scale) + scale;
  paint.clearRect(0, 0, width, height);
  limit(paint, width, y, scale);
  line(paint, ages, x, y, AGE, 2 * scale, []);
  line(paint, [...delays].sort((a, b) => a[0] - b[0]), x, y, DELAY, 2 * scale, [4 * scale, 3 * scale]);
  paint.fillStyle = GREY;
  paint.fillText(`${top} ms`, 2 * scale, 11 * scale);
  canvas.setAttribute("aria-label", spoken(ages, delays));
}

function limit(paint, width, y, scale) {
  paint.strokeStyle = paint.fillStyle = GREY;
  paint.lineWidth = scale;
  paint.setLineDash([]);
  paint.beginPath();
  paint.moveTo(0, y(LIMIT_MS));
  paint.lineTo(width, y(LIMIT_MS));
  paint.stroke();
  paint.font = `${11 * scale}px system-ui, sans-serif`;
  paint.fillText(`limit ${LIMIT_MS}`, width - 60 * scale, y(LIMIT_MS) - 3 * scale);
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
    `picture at most ${worst([...delays.values()])} ms late`;
}
