// The table is the data, and the drawing a window on it: `view` says which addresses are shown, `draw` draws
// them anew. Addresses are BigInt, since a number has 53 bits; differences within the view are numbers.

const SPACE = 1n << 64n;
const CLOSEST = 16384; // bytes: a page of 4 KiB is then a quarter of the height
const WIDEST = Number(SPACE);
const LEAST = 3; // pixels: nothing is drawn lower than that
const TOGETHER = 16; // pixels: the height at which a block of small mappings is full, about that of its label
const LINE = 18; // pixels from label to label
const BOTTOM = 10;

const [labels, table] = ["labels", "bands"].map(byId);
const address = (hex) => BigInt("0x" + hex);
const columns = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
const compared = table.dataset.compared === "yes";
const meanings = new Map(
  [...document.querySelectorAll("#legend li")].map((item) => [
    item.dataset.kind,
    item.querySelector(".meaning")?.textContent ?? "",
  ])
);
const SHARES = ["same", "copied", "only_a", "only_b"];
const FACTS = compared ? 9 : 5; // the first column of the facts

const bands = [...table.tBodies[0].rows].map((row, index) => {
  const text = [...row.cells].map((cell) => cell.textContent);
  return {
    index, row, text, start: address(text[0]), end: address(text[1]), size: text[2], kind: text[3], label: text[4],
    share: compared && text[5] !== "" ? text.slice(5, 9).map(Number) : null,
  };
});
const marks = [...(byId("marks")?.tBodies[0].rows ?? [])].map((row) => ({
  address: address(row.cells[0].textContent), name: row.cells[1].textContent, source: row.cells[2].textContent,
}));
const places = [...document.querySelectorAll(".places button")].map((button) => ({
  button, name: button.querySelector("bdi").textContent, start: address(button.dataset.start), end: address(button.dataset.end),
}));
const userHalf = { start: 0n, end: address(table.dataset.userEnd) };
const kernelHalf = { start: address(table.dataset.kernelStart), end: SPACE };

const view = { low: 0n, span: Number(userHalf.end) }; // span in bytes
const size = {}; // of the drawing and its parts, in pixels
let blocks = []; // what is drawn, from the lowest address to the highest

const high = () => view.low + BigInt(Math.round(view.span));
const yOf = (at) => size.top + size.plot * (1 - Number(at - view.low) / view.span);
const addressAt = (y) => view.low + BigInt(Math.round(((size.top + size.plot - y) / size.plot) * view.span));

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  for (; count >= 999.5 && unit < 6; unit++) count /= 1024;
  return `${Number(count.toFixed(count < 9.995 ? 2 : count < 99.95 ? 1 : 0))} ${units[unit]}`;
}

const fill = (kind) => ({ fill: `url(#fill-${meanings.has(kind) ? kind : "other"})` });

function measure() {
  const narrow = stage.clientWidth < 640;
  size.width = stage.clientWidth;
  size.top = narrow ? 38 : 24; // the captions of narrow strips take two lines
  size.plot = stage.clientHeight - size.top - BOTTOM;
  size.strip = narrow ? 20 : 36;
  size.lens = narrow ? 14 : 34;
  size.first = narrow ? 10 : 18;
  size.second = size.first + size.strip + size.lens;
  size.axis = size.second + size.strip + size.lens;
  size.bar = size.axis + (high() - 1n).toString(16).length * 6.8 + 12;
  size.barWidth = narrow ? 40 : Math.min(300, size.width * 0.22);
  size.label = size.bar + size.barWidth + (narrow ? 20 : 44);
}

// Small mappings that would be drawn over one another become one block.
function findBlocks() {
  blocks = [];
  const top = high();
  let last = null;
  for (const band of bands) {
    if (band.start >= top) break;
    if (band.end <= view.low) continue;
    let y0 = Math.max(yOf(band.end), size.top);
    let y1 = Math.min(yOf(band.start), size.top + size.plot);
    const small = y1 - y0 < LEAST;
    if (small) {
      y0 = Math.min(Math.max((y0 + y1 - LEAST) / 2, size.top), size.top + size.plot - LEAST);
      y1 = y0 + LEAST;
      if (last && last.small && y1 > last.top + 0.5 && last.bottom - Math.min(y0, last.top) <= TOGETHER) {
        last.top = Math.min(y0, last.top);
        last.bands.push(band);
        continue;
      }
    }
    const block = { top: y0, bottom: y1, small, bands: [band] };
    if (small) last = block;
    blocks.push(block);
  }
}

// Bands that are compared are parted by their pages, all others have the look of their kind.
function paintBands(parent, x, top, width, bottom, some) {
  const shares = some.map((band) => band.share).filter(Boolean);
  if (!shares.length) {
    rectangle(parent, x, top, width, bottom, some.length > 1 ? { class: "many" } : fill(some[0].kind));
    return;
  }
  const sums = SHARES.map((_, i) => shares.reduce((sum, share) => sum + share[i], 0));
  const all = sums.reduce((sum, pages) => sum + pages);
  rectangle(parent, x, top, width, bottom, { class: "empty" });
  let from = x;
  sums.forEach((pages, i) => {
    if (!pages) return;
    rectangle(parent, from, top, (width * pages) / all, bottom, fill(SHARES[i]));
    from += (width * pages) / all;
  });
}

function paint(group, block) {
  const { bar: x, barWidth: width } = size;
  const { top, bottom } = block;
  paintBands(group, x, top, width, bottom, block.bands);
  if (block.bands.length > 1) {
    for (const band of block.bands) {
      const [y0, y1] = [Math.max(yOf(band.end), top), Math.min(yOf(band.start), bottom)];
      if (y1 - y0 >= 1) paintBands(group, x, y0, width, y1, [band]);
    }
  }
  if (bottom - top > LEAST) rectangle(group, x, top, width, bottom, { class: "edge" });
}

// A strip shows a stretch to scale, and in a frame what is magnified beside it.
function strip(group, x, captionY, stretch, window, target) {
  const { top, plot, strip: width } = size;
  const whole = Number(stretch.end - stretch.start);
  const y = (at) => top + plot * (1 - Math.min(Math.max(Number(at - stretch.start) / whole, 0), 1));
  rectangle(group, x, top, width, top + plot, { class: "track" });
  let drawn = Infinity;
  for (const band of bands) {
    if (band.end <= stretch.start || band.start >= stretch.end) continue;
    const y1 = Math.max(y(band.start), top + 2);
    const y0 = Math.min(y(band.end), y1 - 2);
    if (y0 > drawn - 1) continue; // what is there already covers it
    const tiny = y1 - y0 <= 2;
    rectangle(group, x, y0, width, y1, tiny ? { class: "many" } : fill(band.kind));
    drawn = tiny ? y0 : Infinity;
  }
  shape(group, "text", { x: x - 4, y: captionY }, bytes(whole));
  const middle = (y(window.low) + y(window.high)) / 2;
  const half = Math.max((y(window.low) - y(window.high)) / 2, 2.5);
  const [y0, y1] = [Math.max(middle - half, top), Math.min(middle + half, top + plot)];
  const right = x + width;
  shape(group, "polygon", { class: "lens", points: `${right},${y0} ${target},${top} ${target},${top + plot} ${right},${y1}` });
  rectangle(group, x - 2, y0, width + 4, y1, { class: "frame" });
}

function drawStrips() {
  const group = byId("strips");
  group.replaceChildren();
  const inKernel = view.low >= kernelHalf.start || (view.low >= userHalf.end && high() > kernelHalf.start);
  const half = inKernel ? kernelHalf : userHalf;
  const captionY = size.top - 8;
  const firstY = size.strip < 30 ? captionY - 14 : captionY;
  strip(group, size.first, firstY, { start: 0n, end: SPACE }, { low: half.start, high: half.end }, size.second);
  strip(group, size.second, captionY, half, { low: view.low, high: high() }, size.axis);
}

function drawAxis(group) {
  const step = BigInt(2 ** Math.max(9, Math.ceil(Math.log2(view.span / (size.plot / 60)))));
  for (let at = ((view.low + step - 1n) / step) * step; at <= high(); at += step) {
    const y = yOf(at);
    shape(group, "line", { class: "tick", x1: size.bar - 5, x2: size.bar + size.barWidth, y1: y, y2: y });
    if (at < SPACE) shape(group, "text", { x: size.bar - 8, y: y + 4, "text-anchor": "end" }, at.toString(16));
  }
}

function drawUnused(group) {
  if (size.barWidth < 90) return;
  let below = 0n;
  for (const { start, end } of [...bands, { start: SPACE, end: SPACE }]) {
    const [y0, y1] = [Math.max(yOf(start), size.top), Math.min(yOf(below), size.top + size.plot)];
    if (start > below && y1 - y0 >= 44) {
      const place = { x: size.bar + size.barWidth / 2, y: (y0 + y1) / 2 + 4, "text-anchor": "middle", class: "unused" };
      shape(group, "text", place, `${bytes(Number(start - below))} ${below < kernelHalf.start ? "unused" : "not listed"}`);
    }
    if (end > below) below = end;
    if (below >= high()) break;
  }
}

function draw() {
  measure();
  findBlocks();
  drawStrips();
  const group = byId("blocks");
  group.replaceChildren();
  rectangle(group, size.bar, size.top, size.barWidth, size.top + size.plot, { class: "track" });
  drawAxis(group);
  drawUnused(group);
  for (const block of blocks) if (!block.small) paint(group, block);
  for (const block of blocks) if (block.small) paint(group, block);
  drawLabels(group);
  for (const mark of marks) {
    if (mark.address < view.low || mark.address > high()) continue;
    const y = yOf(mark.address);
    shape(group, "line", { class: "mark", x1: size.bar - 5, x2: size.bar + size.barWidth + 5, y1: y, y2: y });
  }
  if (hovered) ring(group, hovered.top, hovered.bottom, "glow");
  if (chosen && chosen.end > view.low && chosen.start < high()) {
    const y1 = Math.min(yOf(chosen.start), size.top + size.plot);
    ring(group, Math.min(Math.max(yOf(chosen.end), size.top), y1 - LEAST), y1, "ring");
  }
  stage.dataset.low = view.low.toString(16);
  stage.dataset.high = high().toString(16);
  const pixel = bytes(view.span / size.plot);
  byId("scale").textContent =
    `Shown: ${stage.dataset.low} to ${stage.dataset.high}, ${bytes(view.span)}. One pixel is ${pixel}.`;
}

function ring(group, top, bottom, look) {
  rectangle(group, size.bar - 3, top - 2, size.barWidth + 6, bottom + 2, { class: look, rx: 2 });
}
