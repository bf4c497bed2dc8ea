// How the view moves along the lanes, and what is chosen.

function look(low, span) {
  view.span = Math.min(Math.max(span, CLOSEST), WIDEST);
  view.low = Math.min(Math.max(low, 0), WIDEST - view.span);
  hovered = null;
  redraw();
}

// The view of a stretch, with some room around it.
function fit(start, end) {
  const span = Math.min(Math.max((end - start) * 1.25, CLOSEST), WIDEST);
  remember();
  look((start + end - span) / 2, span);
}

// Zooms so that what is at `x` stays there; a factor below 1 magnifies.
function zoom(factor, x) {
  const fixed = momentAt(x);
  const span = Math.min(Math.max(view.span * factor, CLOSEST), WIDEST);
  look(fixed - (x / size.plot) * span, span);
}

const shift = (part) => look(view.low + view.span * part, view.span);

// Keys and buttons zoom around what is chosen, if it is in view.
function zoomHere(factor) {
  const seen = chosen !== null && columns.end[chosen] > view.low && columns.start[chosen] < high();
  const x = seen ? xOf((columns.start[chosen] + columns.end[chosen]) / 2) : size.plot / 2;
  zoom(factor, Math.min(Math.max(x, 0), size.plot));
}

function choose(turn) {
  chosen = turn;
  leaving = false;
  if (turn !== null) describe({ lane: columns.lane[turn], first: turn, last: turn });
  redraw();
}

// Chooses a turn and brings it into view.
function show(turn) {
  choose(turn);
  const { start, end } = columns;
  if (end[turn] - start[turn] > view.span) fit(start[turn], end[turn]);
  else if (start[turn] < view.low || end[turn] > high()) look((start[turn] + end[turn] - view.span) / 2, view.span);
}

// The next turn of the lane (or the one before), then those of the next lane; false at the end.
function step(forward) {
  let next = chosen === null ? null : chosen + (forward ? 1 : -1);
  if (next === null) next = (forward ? bars[0]?.first : bars.at(-1)?.last) ?? null;
  if (next === null || next < 0 || next >= TURNS) return false;
  show(next);
  return true;
}

// To the turn of another lane at the same time, or else the nearest there.
function across(by) {
  if (chosen === null) return step(true);
  const { lane, start, end } = columns;
  const middle = (Math.max(start[chosen], view.low) + Math.min(end[chosen], high())) / 2;
  for (let to = lane[chosen] + by; to >= 0 && to < lanes.length; to += by) {
    if (firsts[to] === firsts[to + 1]) continue;
    const next = Math.min(firstAfter(to, middle), firsts[to + 1] - 1);
    const before = Math.max(next - 1, firsts[to]);
    return show(start[next] > middle && middle - end[before] < start[next] - middle ? before : next);
  }
}

const keys = {
  ArrowLeft: () => shift(-0.15),
  ArrowRight: () => shift(0.15),
  PageUp: () => shift(-0.8),
  PageDown: () => shift(0.8),
  ArrowUp: () => across(-1),
  ArrowDown: () => across(1),
  "+": () => zoomHere(0.5),
  "=": () => zoomHere(0.5),
  "-": () => zoomHere(2),
  Home: () => showAll(),
  Enter: () => chosen !== null && fit(columns.start[chosen], columns.end[chosen]),
};

function showAll() {
  remember();
  look(0, WIDEST);
}

function highlight(task) {
  lit = lit === task ? null : task;
  for (const button of byId("legend").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.task) === lit));
  }
  redraw();
}

// The pointer

const along = (event) => event.clientX;
const xIn = (event) => event.clientX - stage.getBoundingClientRect().left - stage.clientLeft - size.gutter;
const yIn = (event) => event.clientY - stage.getBoundingClientRect().top - stage.clientTop;
const inPlot = (event) => Math.min(Math.max(xIn(event), 0), size.plot);
const drag = (low, moved) => look(low - (moved / size.plot) * view.span, view.span);
const same = (one, other) => one === other || (one && other && one.first === other.first && one.last === other.last);
const fitBlock = (bar) => fit(columns.start[bar.first], columns.end[bar.last]);

// By place, since elements are made anew: the bar there, or the nearest within a few pixels.
function under(event) {
  const [x, y] = [xIn(event), yIn(event)];
  const lane = Math.floor((y - size.top) / size.pitch);
  if (x < 0 || x > size.plot || lane < 0 || lane >= lanes.length || y < laneTop(lane) - 3) return null;
  let [found, least] = [null, 4];
  for (const bar of bars) {
    const away = bar.lane === lane ? Math.max(bar.x0 - x, x - bar.x1, 0) : Infinity;
    if (away < least) [found, least] = [bar, away];
  }
  return found;
}

function pick(bar) {
  if (bar.first === bar.last) choose(bar.first);
  else describe(bar);
}

function describeChosen() {
  if (chosen !== null) describe({ lane: columns.lane[chosen], first: chosen, last: chosen });
}

stage.addEventListener(
  "wheel",
  (event) => {
    if (!event.deltaX || event.ctrlKey || view.span >= WIDEST) return;
    event.preventDefault();
    shift(Math.min(Math.max(event.deltaX / 800, -0.5), 0.5));
  },
  { passive: false }
);
for (const button of byId("legend").children) {
  button.addEventListener("click", () => highlight(Number(button.dataset.task)));
}
inView.addEventListener("toggle", listTurns);
byId("zoom-in").addEventListener("click", () => zoomHere(0.5));
byId("zoom-out").addEventListener("click", () => zoomHere(2));
byId("earlier").addEventListener("click", () => shift(-0.3));
byId("later").addEventListener("click", () => shift(0.3));
byId("whole").addEventListener("click", showAll);

readTurns().then(begin, () => {
  byId("scale").textContent = "This browser cannot unpack the turns. The tables below have the sums.";
});
