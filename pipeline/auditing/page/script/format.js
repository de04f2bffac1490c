// Numbers, units, times and dates as text. Nothing here touches the page.

const NONE = "–";
const THIN = "\u202f"; // narrow no-break space: between digits, and before a unit

function grouped(value, digits = 0) {
  if (value === null || value === undefined) return NONE;
  const [whole, part] = Math.abs(value).toFixed(digits).split(".");
  const sign = value < 0 && Number(value.toFixed(digits)) !== 0 ? "−" : "";
  return sign + whole.replace(/\B(?=(\d{3})+$)/g, THIN) + (part ? `.${part}` : "");
}

function withUnit(value, unit, digits = 0) {
  return value === null || value === undefined ? NONE : `${grouped(value, digits)}${THIN}${unit}`;
}

/** Few digits, for axes: from ten thousand up three that count, and a letter for the thousands. */
function short(value) {
  const steps = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const step = Math.abs(value) >= 1e4 && steps.find(([size]) => Math.abs(value) >= size);
  return step ? `${Number((value / step[0]).toPrecision(3))}${THIN}${step[1]}` : String(Number(value.toPrecision(4)));
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let place = 0;
  while (value >= 1024 && place < units.length - 1) {
    value /= 1024;
    place += 1;
  }
  return withUnit(value, units[place], place && value < 100 ? 1 : 0);
}

function duration(seconds) {
  if (seconds >= 3600) return withUnit(seconds / 3600, "h", seconds < 360000 ? 1 : 0);
  return seconds >= 60 ? withUnit(seconds / 60, "min", 1) : withUnit(seconds, "s", 1);
}

/** Share of a whole; never 0 or 100 where it is not quite so. */
function percent(part, whole) {
  if (!whole) return NONE;
  const share = (100 * part) / whole;
  if (part > 0 && share < 0.1) return `<${THIN}0.1${THIN}%`;
  if (part < whole && share > 99.9) return `>${THIN}99.9${THIN}%`;
  return withUnit(share, "%", part === 0 || part === whole ? 0 : 1);
}

/** h:mm:ss.mmm of a time in nanoseconds. */
function timeCode(ns) {
  const ms = Math.round(Math.abs(ns) / 1e6);
  const two = (value) => String(value).padStart(2, "0");
  const text = `${Math.floor(ms / 3600000)}:${two(Math.floor(ms / 60000) % 60)}:${two(Math.floor(ms / 1000) % 60)}`;
  return `${ns < 0 ? "−" : ""}${text}.${String(ms % 1000).padStart(3, "0")}`;
}

function span(clip) {
  return `${timeCode(clip.start_ns)} – ${timeCode(clip.end_ns)}`;
}

function utc(text) {
  const date = new Date(/[zZ]|[+-]\d\d:?\d\d$/.test(text) ? text : `${text}Z`);
  return Number.isNaN(date.getTime()) ? text : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

function several(count, one, many = `${one}s`) {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}
