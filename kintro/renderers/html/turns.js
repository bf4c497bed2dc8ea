// The turns, as columns of numbers, and what is asked of them. Times are nanoseconds since the beginning: numbers, exact
// up to 2^53, which is a hundred days.

const SEVERAL = 0; // in `left`
const UNSEEN = -1; // a task: nothing is known of that time
const NOBODY = -2; // a waker that is no task: an interrupt while the CPU was idle

const source = byId("data");
const WIDEST = Math.max(Number(source.dataset.duration), 1);
const CLOSEST = Math.min(500, WIDEST); // ns
const endings = source.dataset.endings.split("|");
const lanes = [...byId("lanes").tBodies[0].rows].map((row) => row.cells[0].textContent);
const tasks = [...byId("tasks").tBodies[0].rows].map((row) => {
  const [comm, tid, pid] = [...row.cells].map((cell) => cell.textContent);
  return { comm, tid, pid };
});
const firsts = [0]; // of each lane the first turn, and behind the last lane the number of all
for (const length of source.dataset.lengths.split(" ")) firsts.push(firsts.at(-1) + Number(length));
const TURNS = firsts.at(-1);
const columns = {};

// Numbers of seven bits to the byte, the lowest first; the highest bit says that there are more.
function unpack(bytes, lengths) {
  let at = 0;
  return lengths.map((length) => {
    const column = new Float64Array(length);
    for (let i = 0; i < length; i++) {
      let [value, scale, byte] = [0, 1, 0];
      do {
        byte = bytes[at++];
        value += (byte & 127) * scale;
        scale *= 128;
      } while (byte > 127);
      column[i] = value;
    }
    return column;
  });
}

// As timeline.py has packed them.
async function readTurns() {
  const packed = Uint8Array.from(atob(source.textContent), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const [gap, length, task, left, waited, waker, wakerLane, since, count, idle, others] = unpack(bytes, Array(11).fill(TURNS));
  const [start, end] = [new Float64Array(TURNS), new Float64Array(TURNS)];
  const lane = new Int32Array(TURNS);
  for (let number = 0; number < lanes.length; number++) {
    let before = 0;
    for (let i = firsts[number]; i < firsts[number + 1]; i++) {
      lane[i] = number;
      start[i] = before + (gap[i] % 2 ? -(gap[i] + 1) / 2 : gap[i] / 2);
      before = end[i] = start[i] + length[i];
    }
  }
  Object.assign(columns, {
    lane, start, end, left,
    task: task.map((value) => value - 1),
    waited: waited.map((value) => value - 1), // -1: not known
    waker: waker.map((value) => value - 2), // -1: not known, or nobody
    wakerLane: wakerLane.map((value) => value - 1),
    woken: since.map((value, i) => start[i] - value),
    count,
    busy: idle.map((value, i) => length[i] - value),
    own: others.map((value, i) => length[i] - idle[i] - value), // what `task` had of it
  });
}

// Of a lane the first turn that ends after a moment.
function firstAfter(lane, moment) {
  let [low, high] = [firsts[lane], firsts[lane + 1]];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (columns.end[middle] > moment) high = middle;
    else low = middle + 1;
  }
  return low;
}

function duration(ns) {
  if (ns < 999.5) return `${Math.round(ns)} ns`;
  const units = [["µs", 1e3], ["ms", 1e6], ["s", 1e9]];
  const [unit, size] = units.find(([, size]) => ns / size < 999.5) ?? units[2];
  const value = ns / size;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
}

// To the nanosecond.
const exactly = (ns) => `${Math.round(ns).toLocaleString("en")} ns`;
const both = (ns) => (ns < 999.5 ? exactly(ns) : `${duration(ns)} (${exactly(ns)})`);
function moment(ns) {
  const whole = Math.floor(ns / 1e9);
  return `${whole}.${String(Math.round(ns - whole * 1e9)).padStart(9, "0")} s`;
}
