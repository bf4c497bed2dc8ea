// What is written beside the drawing: labels that do not overlap, and the panel with the facts.

const shortName = (band) => band.label.split(", ")[0] || band.kind;

// The label of a block: its name, and something fainter behind it or before it.
function words(block) {
  const [band] = block.bands;
  if (block.bands.length === 1) {
    const kind = band.label === band.kind ? "" : `${band.kind}, `;
    return [band.label || band.kind, kind + band.size + shareWords(band.share)];
  }
  const last = block.bands.at(-1);
  const whole = places.slice(2, -1).filter((place) => place.start >= band.start && place.end <= last.end);
  const names = whole.length > 1 ? whole.map((place) => place.name) : block.bands.map(shortName);
  const few = [...new Set(names)].slice(0, 8);
  const around = whole.length === 1 ? whole[0] : band.start >= kernelHalf.start ? places.at(-1) : null;
  const within = around && (around.start < view.low || around.end > high()) ? null : around;
  return [(within ? `${within.name}: ` : "") + few.join(", "), "", `${block.bands.length} together: `];
}

function shareWords(share) {
  if (!share) return "";
  const all = share.reduce((sum, pages) => sum + pages);
  if (!all) return ", no page";
  const most = share.indexOf(Math.max(...share));
  const name = document.querySelector(`#legend [data-kind=${SHARES[most]}] b`).textContent;
  return `, ${Math.floor((100 * share[most]) / all)} % ${name}`;
}

// Every label goes as near to its place as the others let it: those that touch move as one group.
function spread(wanted, lowest, highest) {
  const groups = [];
  for (const y of wanted) {
    groups.push({ sum: y, count: 1 });
    for (;;) {
      const group = groups.at(-1);
      const room = (group.count - 1) * LINE;
      group.first = Math.min(Math.max(group.sum / group.count - room / 2, lowest), highest - room);
      const before = groups.at(-2);
      if (!before || before.first + before.count * LINE <= group.first + 0.01) break;
      before.sum += group.sum;
      before.count += group.count;
      groups.pop();
    }
  }
  return groups.flatMap((group) => Array.from({ length: group.count }, (_, i) => group.first + i * LINE));
}

let written = []; // where the labels are, and of which block

function drawLabels(group) {
  const items = blocks.map((block) => ({
    block, y: (block.top + block.bottom) / 2, weight: block.bottom - block.top + Math.min(block.bands.length, 40),
  }));
  for (const mark of marks) {
    if (mark.address < view.low || mark.address > high()) continue;
    items.push({ mark, y: yOf(mark.address), weight: 1000 });
  }
  const held = items.find((item) => item.block && item.block.bands.includes(chosen));
  if (held) held.weight = Infinity;
  // Where the room is short, those of the largest blocks stay.
  const room = Math.floor(size.plot / LINE);
  const kept = items.sort((a, b) => b.weight - a.weight).slice(0, room).sort((a, b) => a.y - b.y);
  const ys = spread(kept.map((item) => item.y), size.top + LINE / 2 - 6, size.top + size.plot - LINE / 2 + 4);
  written = kept.map((item, i) => ({ y: ys[i], block: item.block ?? null }));
  labels.replaceChildren();
  kept.forEach((item, i) => {
    const [x0, x1] = [size.bar + size.barWidth + 1, size.label - 4];
    const bend = (x1 - x0) * 0.25;
    const points = `${x0},${item.y} ${x0 + bend},${item.y} ${x1 - bend},${ys[i]} ${x1},${ys[i]}`;
    shape(group, "polyline", { class: "leader", points });
    const label = document.createElement("div");
    label.style.left = `${size.label}px`;
    label.style.top = `${ys[i] - 9}px`;
    const holds = item === held;
    const [name, more, first = ""] = item.mark
      ? [item.mark.name, item.mark.address.toString(16)]
      : holds && item.block.bands.length > 1
        ? [chosen.label || chosen.kind, `${chosen.size}, one of ${item.block.bands.length} together`]
        : words(item.block);
    // The end of a name tells code from constants: where the room is short, the rest of the name is cut.
    const comma = name.length - name.lastIndexOf(", ") <= 14 ? name.lastIndexOf(", ") : -1;
    const [head, part] = comma > 0 && !first ? [name.slice(0, comma), name.slice(comma)] : [name, ""];
    label.append(node("span", first), node("bdi", head), node("b", part), node("small", more));
    label.className = item.mark ? "border" : holds ? "chosen" : "";
    labels.append(label);
  });
}

// The panel

function swatch(band) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", 22);
  svg.setAttribute("height", 14);
  paintBands(svg, 0, 0, 22, 14, [band]);
  return svg;
}

function factsOf(band) {
  const meaning = meanings.get(band.kind);
  const facts = [
    ["Addresses", `${band.text[0]} to ${band.text[1]}`],
    ["Size", band.size],
    ["Kind", band.kind + (meaning ? `: ${meaning}` : "")],
  ];
  const from = compared && band.share === null ? FACTS : 5;
  for (let i = from; i < columns.length; i++) if (band.text[i] !== "") facts.push([columns[i], band.text[i]]);
  return facts;
}

function describe(block) {
  if (!block) return;
  if (block.bands.length === 1) {
    const [band] = block.bands;
    const list = node("dl", null);
    for (const [name, value] of factsOf(band)) {
      const shown = node("dd", null, node("bdi", value));
      if (name === "Addresses") shown.className = "number";
      list.append(node("dt", name), shown);
    }
    panel.replaceChildren(node("h3", null, swatch(band), node("bdi", band.label || band.kind)), list);
    return;
  }
  const list = node("ol", null);
  const shown = block.bands.slice(-14).reverse();
  for (const band of shown) {
    list.append(node("li", null, swatch(band), node("bdi", band.label || band.kind), ` ${band.size}`));
  }
  const more = block.bands.length - shown.length;
  panel.replaceChildren(node("h3", `${block.bands.length} mappings close together`), list);
  if (more) panel.append(node("p", `and ${more} more below. Zoom in to part them.`));
}
