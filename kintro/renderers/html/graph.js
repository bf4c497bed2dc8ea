"use strict";

const stage = document.getElementById("stage");
const drawing = document.getElementById("drawing");
const panel = document.getElementById("panel");
const nodes = [...document.querySelectorAll(".node")];
const lines = [...document.querySelectorAll("#lines .line")];
const rows = document.querySelectorAll("#channels tbody tr");
const whole = { width: drawing.viewBox.baseVal.width, height: drawing.viewBox.baseVal.height };
const hint = panel.innerHTML;
let scale = 1;

function resize(wanted) {
  scale = Math.min(4, Math.max(0.05, wanted));
  drawing.setAttribute("width", whole.width * scale);
  drawing.setAttribute("height", whole.height * scale);
}

function fit() {
  resize(Math.min(1, (stage.clientWidth - 4) / whole.width, (stage.clientHeight - 4) / whole.height));
}

// Shows one node with what it shares, and fades the rest.
function choose(node) {
  for (const element of [...nodes, ...lines]) element.classList.remove("chosen", "near");
  drawing.classList.toggle("choosing", node !== null);
  if (node === null) {
    panel.innerHTML = hint;
    return;
  }
  node.classList.add("chosen");
  for (const line of lines) {
    const { a, b } = line.dataset;
    if (a !== node.id && b !== node.id) continue;
    line.classList.add("near");
    document.getElementById(a === node.id ? b : a).classList.add("near");
  }
  const title = document.createElement("h3");
  title.textContent = node.querySelector("title").textContent;
  const list = document.createElement("ul");
  for (const number of node.dataset.rows.split(" ")) {
    const [kind, id, name, bytes, messages, who] = [...rows[number].cells].map((cell) => cell.textContent);
    const item = document.createElement("li");
    const amounts = [bytes && `${bytes} bytes`, messages && `${messages} messages`].filter(Boolean).join(", ");
    item.textContent = [`${kind} ${id}`, name, amounts, who].filter(Boolean).join(" · ");
    list.append(item);
  }
  panel.replaceChildren(title, list);
}

// The nearest node that lies in a direction, more ahead than aside.
function next(from, [right, down]) {
  const at = (node) => [Number(node.dataset.x), Number(node.dataset.y)];
  const [x, y] = at(from);
  let best = null;
  let least = Infinity;
  for (const node of nodes) {
    const [dx, dy] = [at(node)[0] - x, at(node)[1] - y];
    const ahead = dx * right + dy * down;
    const aside = Math.abs(dx * down) + Math.abs(dy * right);
    if (node === from || ahead <= 0) continue;
    const far = ahead + 2.5 * aside;
    if (far < least) [best, least] = [node, far];
  }
  return best;
}

function move(from, to) {
  if (to === null) return;
  from.setAttribute("tabindex", "-1");
  to.setAttribute("tabindex", "0");
  to.focus({ preventScroll: true });
  to.scrollIntoView({ block: "nearest", inline: "nearest" });
}

const DIRECTIONS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
for (const node of nodes) {
  node.addEventListener("focus", () => choose(node));
  node.addEventListener("mouseenter", () => choose(node));
  node.addEventListener("click", () => move(document.querySelector(".node[tabindex='0']"), node));
}
drawing.addEventListener("mouseleave", () => choose(document.activeElement.closest?.(".node") ?? null));
stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const node = event.target.closest(".node");
  if (event.key === "Escape") choose(null);
  else if (event.key === "+" || event.key === "=") resize(scale * 1.25);
  else if (event.key === "-") resize(scale / 1.25);
  else if (event.key === "0") fit();
  else if (node && event.key in DIRECTIONS) move(node, next(node, DIRECTIONS[event.key]));
  else if (node && (event.key === "Enter" || event.key === " ")) choose(node);
  else return;
  event.preventDefault();
});
document.getElementById("larger").addEventListener("click", () => resize(scale * 1.25));
document.getElementById("smaller").addEventListener("click", () => resize(scale / 1.25));
document.getElementById("whole").addEventListener("click", fit);
document.getElementById("find").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  const title = (node) => node.querySelector("title").textContent.toLowerCase();
  const found = nodes.filter((node) => wanted && title(node).includes(wanted));
  for (const node of nodes) node.classList.toggle("found", found.includes(node));
  document.getElementById("hits").textContent = wanted ? `${found.length} found` : "";
  found[0]?.scrollIntoView({ block: "nearest", inline: "nearest" });
});
