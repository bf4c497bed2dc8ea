// How the view moves: wheel, pointer, buttons and keys.

function look(low, span) {
  view.span = Math.min(Math.max(span, CLOSEST), WIDEST);
  const most = SPACE - BigInt(Math.round(view.span));
  view.low = low < 0n ? 0n : low > most ? most : low;
  hovered = null;
  redraw();
}

// The view of a stretch, with some room around it unless it is a whole half.
function fit(start, end) {
  const bytesShown = Number(end - start);
  const half = bytesShown >= Number(userHalf.end);
  const span = Math.max(half ? bytesShown : bytesShown * 1.25, CLOSEST);
  remember();
  look(start - BigInt(Math.round((span - bytesShown) / 2)), span);
}

// Zooms so that what is at `y` stays there; a factor below 1 magnifies.
function zoom(factor, y) {
  let fixed = addressAt(y);
  // What is drawn larger than it is would slip away from under the pointer: it holds the view.
  const block = blockAt(y);
  if (factor < 1 && block) {
    const [low, top] = [block.bands[0].start, block.bands.at(-1).end];
    fixed = fixed < low ? low : fixed > top ? top : fixed;
  }
  const span = Math.min(Math.max(view.span * factor, CLOSEST), WIDEST);
  look(fixed - BigInt(Math.round(((size.top + size.plot - y) / size.plot) * span)), span);
}

const middle = () => size.top + size.plot / 2;
const shift = (part) => look(view.low + BigInt(Math.round(view.span * part)), view.span);

// The block at a height, or the nearest within a few pixels; the smallest, where they lie on one another.
function blockAt(y) {
  let found = null;
  let least = 5;
  for (const block of blocks) {
    const away = Math.max(block.top - y, y - block.bottom, 0) + (block.small ? 0 : 0.5);
    if (away < least) [found, least] = [block, away];
  }
  return found;
}

function choose(band) {
  chosen?.row.classList.remove("chosen");
  chosen = band;
  leaving = false;
  if (band) {
    band.row.classList.add("chosen");
    describe({ bands: [band] });
  }
  redraw();
}

// The next mapping downwards (or upwards), brought into view; false at the end.
function step(down) {
  let next = chosen ? bands[chosen.index + (down ? -1 : 1)] : null;
  if (!chosen) {
    const visible = blocks.map((block) => block.bands).flat();
    next = down ? (visible.at(-1) ?? bands.at(-1)) : (visible[0] ?? bands[0]);
  }
  if (!next) return false;
  choose(next);
  const length = Number(next.end - next.start);
  if (length > view.span) fit(next.start, next.end);
  else if (next.start < view.low || next.end > high()) {
    look(next.start - BigInt(Math.round((view.span - length) / 2)), view.span);
  }
  return true;
}

const keys = {
  ArrowUp: () => shift(0.15),
  ArrowDown: () => shift(-0.15),
  ArrowRight: () => shift(0.15),
  ArrowLeft: () => shift(-0.15),
  PageUp: () => shift(0.8),
  PageDown: () => shift(-0.8),
  "+": () => zoomHere(0.5),
  "=": () => zoomHere(0.5),
  "-": () => zoomHere(2),
  Home: () => fit(0n, SPACE),
  Enter: () => chosen && fit(chosen.start, chosen.end),
};

// Keys and buttons zoom around what is chosen, if it is in view.
function zoomHere(factor) {
  const seen = chosen && chosen.end > view.low && chosen.start < high();
  const y = seen ? yOf(chosen.start + (chosen.end - chosen.start) / 2n) : middle();
  zoom(factor, Math.min(Math.max(y, size.top), size.top + size.plot));
}

const yIn = (event) => event.clientY - stage.getBoundingClientRect().top - stage.clientTop;
const xIn = (event) => event.clientX - stage.getBoundingClientRect().left - stage.clientLeft;

// By place, not by element: elements are made anew while the pointer rests on them, and then a browser sees
// two single clicks instead of a double one. So the style gives all events to the stage.
function under(event) {
  const [x, y] = [xIn(event), yIn(event)];
  if (x < size.bar - 8) return null;
  if (x < size.label) return blockAt(y);
  return written.find((label) => Math.abs(label.y - y) <= LINE / 2)?.block ?? null;
}

const along = (event) => event.clientY;
const inPlot = (event) => Math.min(Math.max(yIn(event), size.top), size.top + size.plot);
const drag = (low, moved) => look(low + BigInt(Math.round((moved / size.plot) * view.span)), view.span);
const same = (one, other) => one === other;
const describeChosen = () => chosen && describe({ bands: [chosen] });
const fitBlock = (block) => fit(block.bands[0].start, block.bands.at(-1).end);

function pick(block) {
  if (block.bands.length === 1) choose(block.bands[0]);
  else describe(block);
}

for (const place of places) place.button.addEventListener("click", () => fit(place.start, place.end));
byId("zoom-in").addEventListener("click", () => zoomHere(0.5));
byId("zoom-out").addEventListener("click", () => zoomHere(2));
byId("up").addEventListener("click", () => shift(0.3));
byId("down").addEventListener("click", () => shift(-0.3));
begin();
