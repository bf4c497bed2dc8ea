"use strict";

const drawing = document.getElementById("lines");
const panel = document.getElementById("panel");
const series = [...document.querySelectorAll(".series")].map((line) => [...line.querySelectorAll(".dot")]);
const buttons = [...document.querySelectorAll(".choose button")];
const lengths = [...document.querySelectorAll(".length")];

// One element of several can be reached by Tab; the arrow keys go on from there.
function reach(elements, wanted) {
  for (const element of elements) element.setAttribute("tabindex", element === wanted ? "0" : "-1");
}

function tell(dot) {
  for (const other of series.flat()) other.classList.toggle("told", other === dot);
  panel.textContent = dot.getAttribute("aria-label");
}

// Shows one line alone; null shows all.
function choose(number) {
  drawing.classList.toggle("choosing", number !== null);
  for (const element of drawing.querySelectorAll(".series")) {
    element.classList.toggle("chosen", Number(element.dataset.line) === number);
  }
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.line) === number));
  }
}

// The point of another line that is nearest to the right size, up or down in the list of lines.
function aside(line, dot, step) {
  const other = series[line + step];
  if (!other?.length) return null;
  return other.find((each) => each.dataset.x === dot.dataset.x) ?? other[other.length - 1];
}

function next(line, dot, key) {
  const place = series[line].indexOf(dot);
  if (key === "ArrowRight") return series[line][place + 1];
  if (key === "ArrowLeft") return series[line][place - 1];
  if (key === "ArrowUp") return aside(line, dot, -1);
  if (key === "ArrowDown") return aside(line, dot, 1);
  return null;
}

series.forEach((dots, line) => {
  for (const dot of dots) {
    dot.addEventListener("mouseenter", () => tell(dot));
    dot.addEventListener("click", () => dot.focus());
    dot.addEventListener("focus", () => {
      reach(series.flat(), dot);
      tell(dot);
    });
    dot.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const to = next(line, dot, event.key);
      if (event.key === "Escape") choose(null);
      else if (to) to.focus();
      else if (!event.key.startsWith("Arrow")) return;
      event.preventDefault();
    });
  }
});
if (series[0]?.length) reach(series.flat(), series[0][0]);

lengths.forEach((length, place) => {
  length.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const to = lengths[place + step];
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (!to) return;
    reach(lengths, to);
    to.focus();
  });
});

for (const button of buttons) {
  button.addEventListener("click", () => {
    choose(button.getAttribute("aria-pressed") === "true" ? null : Number(button.dataset.line));
  });
}
