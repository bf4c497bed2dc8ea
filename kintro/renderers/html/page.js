"use strict";
// What the pages with a drawing share: how shapes are made, and how keys, wheel and pointer act. What they act on is
// each page's own: `view` with low and span, from CLOSEST to WIDEST; draw and look, which shows another view; zoom; keys,
// step and choose; what is `under` the pointer, and pick, describe and fitBlock for that.

const byId = (id) => document.getElementById(id);
const [stage, drawing, panel] = ["stage", "drawing", "panel"].map(byId);
let chosen = null; // what keyboard or click chose
let hovered = null; // what is under the pointer

function shape(parent, name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function rectangle(parent, x, top, width, bottom, look) {
  return shape(parent, "rect", { x, y: top, width, height: Math.max(bottom - top, 0.5), ...look });
}

function node(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

const before = []; // views to go back to
let leaving = false; // Escape was pressed with nothing to go back to: Tab leaves the drawing
let waiting = false;

// However many events arrive, the screen is drawn once.
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

function remember() {
  before.push({ ...view });
  leaving = false;
}

function back() {
  const last = before.pop();
  if (last) look(last.low, last.span);
  return last !== undefined;
}

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Tab") {
    if (!leaving && step(!event.shiftKey)) event.preventDefault();
  } else if (event.key === "Escape") {
    if (!back()) {
      choose(null);
      leaving = true;
    }
    event.preventDefault();
  } else if (keys[event.key]) {
    keys[event.key]();
    event.preventDefault();
  }
});
stage.addEventListener("focus", () => (leaving = false));

stage.addEventListener(
  "wheel",
  (event) => {
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    const doublings = Math.min(Math.max((event.deltaY * lines) / 80, -3), 3);
    const stuck = doublings > 0 ? view.span >= WIDEST : view.span <= CLOSEST;
    if (stuck || event.ctrlKey || !doublings) return; // then the wheel is the page's
    event.preventDefault();
    zoom(2 ** doublings, inPlot(event));
  },
  { passive: false }
);

let dragged = null;
stage.addEventListener("pointerdown", (event) => {
  if (event.button === 0) dragged = { at: along(event), low: view.low, moved: false, touch: event.pointerType === "touch" };
});
stage.addEventListener("pointermove", (event) => {
  if (dragged && !dragged.touch) {
    const moved = along(event) - dragged.at;
    if (!dragged.moved && Math.abs(moved) < 4) return;
    if (!dragged.moved) {
      dragged.moved = true;
      stage.setPointerCapture(event.pointerId);
      stage.classList.add("dragging");
    }
    drag(dragged.low, moved);
    return;
  }
  const block = under(event);
  if (!same(block, hovered)) {
    hovered = block;
    if (block) describe(block);
    else describeChosen();
    redraw();
  }
});
for (const end of ["pointerup", "pointercancel"]) {
  stage.addEventListener(end, (event) => {
    const clicked = end === "pointerup" && dragged && !dragged.moved;
    dragged = null;
    stage.classList.remove("dragging");
    const block = clicked && under(event);
    if (block) pick(block);
  });
}
stage.addEventListener("pointerleave", () => {
  if (hovered) redraw();
  hovered = null;
  describeChosen();
});
stage.addEventListener("dblclick", (event) => {
  const block = under(event);
  if (block) fitBlock(block);
});

// To be called when all of a page's script is there.
function begin() {
  byId("back").addEventListener("click", back);
  new ResizeObserver(redraw).observe(stage);
  matchMedia("print").addEventListener("change", draw);
  draw();
}
