// Draws the lanes. `view` says which time is shown; `draw` draws it anew. What is drawn is a matter of pixels, not of
// turns: what is shorter than a few pixels is drawn together with its neighbours.

const LEAST = 3; // pixels: shorter turns are drawn together
const BARS = 6000; // and longer ones as well, if there could be more than that
const ARROWS = 300; // that are drawn at once, unless one asks for those of a task or a turn
const LETTER = 6.7; // pixels
const COLOURS = document.querySelectorAll("#drawing pattern").length - 3;

const [around, plot] = ["around", "plot"].map(byId);
const view = { low: 0, span: WIDEST };
const size = {};
let lit = null; // the task that is highlighted
let bars = []; // what is drawn: lane, first and last turn, x0, x1

const high = () => view.low + view.span;
const xOf = (moment) => ((moment - view.low) / view.span) * size.plot;
const momentAt = (x) => view.low + (x / size.plot) * view.span;
const laneTop = (lane) => size.top + lane * size.pitch + size.pitch - size.lane;
const isSeveral = (bar) => bar.last > bar.first || columns.left[bar.first] === SEVERAL;
const turnsOf = (bar) => {
  let sum = 0;
  for (let i = bar.first; i <= bar.last; i++) sum += columns.count[i];
  return sum;
};

function look_of(task) {
  return task === UNSEEN ? "unseen" : task < COLOURS ? String(task) : "other";
}

function measure() {
  const narrow = stage.clientWidth < 640;
  size.gutter = narrow ? 48 : 64;
  size.top = 26;
  size.pitch = Math.min(Math.max(420 / Math.max(lanes.length, 1), 26), 84);
  size.lane = size.pitch * 0.6;
  size.height = size.top + lanes.length * size.pitch + 12;
  size.plot = Math.max(stage.clientWidth - size.gutter - 8, 50);
  size.least = Math.max(LEAST, (lanes.length * size.plot) / BARS);
  stage.style.height = `${size.height + 2}px`;
  plot.setAttribute("x", size.gutter);
  plot.setAttribute("width", size.plot);
  plot.setAttribute("height", size.height);
}

// Turns from left to right as bars; neighbours that are too short share the one of their place.
function findBars(lane) {
  const { start, end } = columns;
  const stop = high();
  let cell = null;
  for (let i = firstAfter(lane, view.low); i < firsts[lane + 1] && start[i] < stop; i++) {
    const [x0, x1] = [xOf(start[i]), xOf(end[i])];
    if (x1 - x0 >= size.least) {
      cell = null;
      bars.push({ lane, first: i, last: i, x0: Math.max(x0, -4), x1: Math.min(x1, size.plot + 4), small: false });
      continue;
    }
    const place = Math.floor(x0 / size.least);
    if (cell && cell.place === place) {
      cell.last = i;
      cell.x1 = Math.max(cell.x1, x1);
      continue;
    }
    cell = { lane, first: i, last: i, x0, x1, place, small: true };
    bars.push(cell);
  }
}

// For how long the CPU was busy in a bar, with the one that is highlighted, and whose it is if it is all one's.
function sumOf(bar) {
  let [busy, mine, task] = [0, 0, columns.task[bar.first]];
  for (let i = bar.first; i <= bar.last; i++) {
    busy += columns.busy[i];
    if (columns.task[i] === lit) mine += columns.own[i];
    if (columns.task[i] !== task || columns.own[i] < columns.busy[i]) task = null;
  }
  return { busy, mine, task };
}

function box(paths, key, x0, x1, top, bottom) {
  paths.set(key, `${paths.get(key) ?? ""}M${x0.toFixed(2)} ${top.toFixed(2)}H${x1.toFixed(2)}V${bottom.toFixed(2)}H${x0.toFixed(2)}Z`);
}

// Bars of several turns are as high as their share of busy time; a lane has one path for all of a colour.
function paintLane(group, lane, own) {
  const [top, bottom] = [laneTop(lane), laneTop(lane) + size.lane];
  const paths = new Map();
  for (const bar of own) {
    const { busy, mine, task } = sumOf(bar);
    const single = !isSeveral(bar);
    const x1 = Math.max(bar.x1, bar.x0 + (single ? 1.5 : size.least));
    if (single && !bar.small) {
      const look = { fill: `url(#fill-${look_of(task)})`, class: lit === null || task === lit ? "turn" : "turn faded" };
      rectangle(group, bar.x0, top, bar.x1 - bar.x0, bottom, look);
      continue;
    }
    const length = columns.end[bar.last] - columns.start[bar.first];
    const share = single ? 1 : Math.min(1, Math.max(length ? busy / length : 1, 0.08));
    const key = task === null ? "several" : look_of(task);
    const faded = lit !== null && mine < busy;
    box(paths, faded ? `${key} faded` : key, bar.x0, x1, bottom - share * size.lane, bottom);
    if (faded && mine) box(paths, look_of(lit), bar.x0, x1, bottom - Math.max((share * mine) / busy, 0.06) * size.lane, bottom);
  }
  for (const [key, d] of [...paths].sort(([a], [b]) => b.includes("faded") - a.includes("faded"))) {
    const [name, faded = ""] = key.split(" ");
    shape(group, "path", { d, fill: `url(#fill-${name})`, class: faded });
  }
  for (const bar of own) {
    const [x0, x1] = [Math.max(bar.x0, 0), Math.min(bar.x1, size.plot)];
    const room = Math.floor((x1 - x0 - 8) / LETTER);
    if (room < 3 || size.lane < 14) continue;
    const name = isSeveral(bar) ? `${turnsOf(bar).toLocaleString("en")} turns` : nameOf(columns.task[bar.first]);
    const shown = name.length > room ? `${name.slice(0, room - 1)}…` : name;
    shape(group, "text", { class: "comm", x: x0 + 4, y: (top + bottom) / 2 + 4 }, shown);
  }
}

const nameOf = (task) => (task === UNSEEN ? "unknown" : task === NOBODY ? "no task" : tasks[task].comm);

function arrow(group, turn) {
  const { lane, wakerLane, woken, start } = columns;
  const [x0, x1] = [Math.max(xOf(woken[turn]), -40), xOf(start[turn])];
  const [from, to] = [wakerLane[turn], lane[turn]];
  const y1 = to > from || from === to ? laneTop(to) : laneTop(to) + size.lane;
  const y0 = to > from ? laneTop(from) + size.lane : laneTop(from);
  const bend = from === to ? [y0 - size.pitch * 0.3, y1 - size.pitch * 0.3] : [(y0 + y1) / 2, (y0 + y1) / 2];
  const d = `M${x0.toFixed(1)} ${y0.toFixed(1)}C${x0.toFixed(1)} ${bend[0].toFixed(1)} ${x1.toFixed(1)} ${bend[1].toFixed(1)} ${x1.toFixed(1)} ${y1.toFixed(1)}`;
  shape(group, "path", { class: "arrow", d, "marker-end": "url(#head)" });
}

// Returns how many there are and how many were drawn.
function drawArrows(group) {
  const { waker, task, start, wakerLane } = columns;
  const woken = [];
  for (const bar of bars) {
    if (isSeveral(bar)) continue;
    const i = bar.first;
    if (waker[i] !== -1 && wakerLane[i] >= 0 && start[i] >= view.low && start[i] <= high()) woken.push(i);
  }
  const asked = (i) => i === chosen || (hovered && !isSeveral(hovered) && hovered.first === i) || task[i] === lit || waker[i] === lit;
  const drawn = woken.length <= ARROWS && lit === null ? woken : woken.filter(asked).slice(0, ARROWS);
  for (const i of drawn) arrow(group, i);
  return [woken.length, drawn.length];
}

function drawAxis() {
  around.replaceChildren();
  const least = view.span / (size.plot / 110);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = Math.max(1, power * [1, 2, 5, 10].find((factor) => factor * power >= least));
  const [unit, scale] = step >= 1e9 ? ["s", 1e9] : step >= 1e6 ? ["ms", 1e6] : step >= 1e3 ? ["µs", 1e3] : ["ns", 1];
  for (let at = Math.ceil(view.low / step) * step; at <= high(); at += step) {
    const x = size.gutter + xOf(at);
    shape(around, "line", { class: "tick", x1: x, x2: x, y1: size.top - 6, y2: size.height - 6 });
    const last = x > size.gutter + size.plot - 60;
    const place = { x: last ? x - 2 : x + 2, y: size.top - 10, "text-anchor": last ? "end" : "start" };
    if (!last || x - size.gutter > 60) shape(around, "text", place, `${(Math.round(at) / scale).toLocaleString("en")} ${unit}`);
  }
  lanes.forEach((name, lane) => {
    rectangle(around, size.gutter, laneTop(lane), size.plot, laneTop(lane) + size.lane, { class: "track" });
    const place = { class: "lane-name", x: size.gutter - 6, y: laneTop(lane) + size.lane / 2 + 4, "text-anchor": "end" };
    shape(around, "text", place, name);
  });
}

function ring(group, lane, x0, x1, look) {
  if (x1 < 0 || x0 > size.plot) return;
  const [left, right] = [Math.max(x0, -4), Math.min(Math.max(x1, x0 + 2), size.plot + 4)];
  rectangle(group, left - 2, laneTop(lane) - 2, right - left + 4, laneTop(lane) + size.lane + 2, { class: look, rx: 2 });
}

function draw() {
  measure();
  bars = [];
  lanes.forEach((_, lane) => findBars(lane));
  drawAxis();
  plot.replaceChildren();
  let from = 0;
  lanes.forEach((_, lane) => {
    let to = from;
    while (to < bars.length && bars[to].lane === lane) to++;
    paintLane(plot, lane, bars.slice(from, to));
    from = to;
  });
  const [wakeUps, drawn] = drawArrows(plot);
  if (hovered) ring(plot, hovered.lane, xOf(columns.start[hovered.first]), xOf(columns.end[hovered.last]), "glow");
  if (chosen !== null) {
    const { lane, start, end, waited } = columns;
    const y = laneTop(lane[chosen]) + size.lane + 3;
    if (waited[chosen] > 0) {
      const [x1, x2] = [start[chosen] - waited[chosen], start[chosen]].map(xOf);
      shape(plot, "line", { class: "waiting", x1: Math.max(x1, -10), x2: Math.min(x2, size.plot + 10), y1: y, y2: y });
    }
    ring(plot, lane[chosen], xOf(start[chosen]), xOf(end[chosen]), "ring");
  }
  stage.dataset.low = String(view.low);
  stage.dataset.high = String(high());
  const together = bars.filter(isSeveral).length;
  const arrows = drawn < wakeUps ? `${drawn} of ${wakeUps} wake-ups are drawn` : `${wakeUps} wake-ups`;
  byId("scale").textContent =
    `Shown: ${moment(view.low)} to ${moment(high())}, ${duration(view.span)}. One pixel is ${duration(view.span / size.plot)}. ` +
    (together ? `${together} bars are of several turns. ` : "Each turn has its bar. ") + `${arrows}.`;
  listTurns();
}
