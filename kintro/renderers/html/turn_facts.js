// What is written of turns: the panel, and the table of those in view.

const ROWS = 500; // of the table at once
const MOST = 10; // tasks of a bar that are named
const inView = byId("in-view");

const whoIs = (task) => (task >= 0 ? `${tasks[task].comm} (${tasks[task].tid})` : nameOf(task));
const waitOf = (turn) => (columns.waited[turn] < 0 ? "not known" : both(columns.waited[turn]));

function wakerOf(turn) {
  const { waker, wakerLane, woken } = columns;
  if (waker[turn] === -1) return "";
  const who = waker[turn] === NOBODY ? "an interrupt" : whoIs(waker[turn]);
  return `${who} on ${lanes[wakerLane[turn]] ?? "a CPU"} at ${moment(woken[turn])}`;
}

function swatch(task) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", 22);
  svg.setAttribute("height", 14);
  rectangle(svg, 0, 0, 22, 14, { fill: `url(#fill-${task === null ? "several" : look_of(task)})` });
  return svg;
}

function factsOf(turn) {
  const { task, lane, start, end, left } = columns;
  const facts = [
    ["CPU", lanes[lane[turn]]],
    ["Begin", moment(start[turn])],
    ["Duration", both(end[turn] - start[turn])],
  ];
  if (task[turn] === UNSEEN) return [...facts, ["Task", "unknown: events were lost"]];
  facts.unshift(["tid", tasks[task[turn]].tid], ["pid", tasks[task[turn]].pid]);
  facts.push(["Left", endings[left[turn]]], ["Waited", waitOf(turn)]);
  const waker = wakerOf(turn);
  if (waker) facts.push(["Woken by", waker]);
  return facts;
}

function listed(facts) {
  const list = node("dl", null);
  for (const [name, value] of facts) list.append(node("dt", name), node("dd", null, node("bdi", value)));
  return list;
}

function describe(bar) {
  if (!isSeveral(bar)) {
    const task = columns.task[bar.first];
    panel.replaceChildren(node("h3", null, swatch(task), node("bdi", nameOf(task))), listed(factsOf(bar.first)));
    return;
  }
  const { start, end, task, own, busy, left } = columns;
  const times = new Map();
  let [all, others] = [0, 0];
  for (let i = bar.first; i <= bar.last; i++) {
    all += busy[i];
    others += busy[i] - own[i];
    if (task[i] !== UNSEEN) times.set(task[i], (times.get(task[i]) ?? 0) + own[i]);
  }
  const most = [...times].sort(([, a], [, b]) => b - a);
  const list = node("ol", null);
  for (const [who, ns] of most.slice(0, MOST)) list.append(node("li", null, swatch(who), node("bdi", whoIs(who)), ` ${duration(ns)}`));
  const length = end[bar.last] - start[bar.first];
  const facts = [
    ["CPU", lanes[bar.lane]], ["Begin", moment(start[bar.first])], ["Length", both(length)],
    ["Busy", `${both(all)}, ${((100 * all) / Math.max(length, 1)).toFixed(1)} %`],
  ];
  panel.replaceChildren(node("h3", `${turnsOf(bar).toLocaleString("en")} turns close together`), listed(facts), list);
  if (most.length > MOST) panel.append(node("p", `and ${most.length - MOST} more tasks.`));
  if (others) panel.append(node("p", `At least so long; ${duration(others)} more were of tasks that this file does not name here.`));
  const mergedInFile = bar.first === bar.last || left.subarray(bar.first, bar.last + 1).includes(SEVERAL);
  panel.append(node("p", mergedInFile ? "Put together in this file." : "Zoom in to part them."));
}

function listTurns() {
  if (!inView.open) return;
  const { start, end, task, left, count } = columns;
  const rows = [];
  let all = 0;
  lanes.forEach((name, lane) => {
    for (let i = firstAfter(lane, view.low); i < firsts[lane + 1] && start[i] < high(); i++) {
      all++;
      if (rows.length >= ROWS) continue;
      const who = task[i] >= 0 ? tasks[task[i]] : { comm: "unknown", tid: "", pid: "" };
      const several = left[i] === SEVERAL;
      const cells = several
        ? [`${count[i].toLocaleString("en")} turns, mostly of ${who.comm}`, who.tid, who.pid, "", "", ""]
        : [who.comm, who.tid, who.pid, task[i] < 0 ? "" : endings[left[i]], task[i] < 0 ? "" : waitOf(i), wakerOf(i)];
      const row = node("tr", null, node("th", name));
      row.firstChild.scope = "row";
      for (const cell of [moment(start[i]), exactly(end[i] - start[i]), ...cells]) row.append(node("td", cell));
      rows.push(row);
    }
  });
  byId("turns").tBodies[0].replaceChildren(...rows);
  const shown = all > rows.length ? `the first ${rows.length} of ${all.toLocaleString("en")}: zoom in for others` : `${all}`;
  byId("turns-caption").textContent = `Turns between ${moment(view.low)} and ${moment(high())}, lane by lane: ${shown}`;
}
