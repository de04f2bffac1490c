// Charts that follow the theme and the width, each with its values as a table.

const charts = [];

const COLOURS = ["ground", "raised", "line", "edge", "text", "quiet", "ok", "partial", "failed", "pending", "first",
  "second"];

/** The style sheet's colours as the theme resolves them. */
function palette() {
  const probe = el("span", { hidden: true });
  document.body.append(probe);
  const resolved = {};
  for (const name of COLOURS) {
    probe.style.color = `var(--${name})`;
    resolved[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return resolved;
}

/**
 * `option(colours, width)` gives what ECharts draws; `values()` the table of the same, unless one follows anyway.
 * Returns the figure, whose `redraw` draws it again after what `option` reads has changed.
 */
function chart({ title, note = null, height = 240, option, values = null, controls = null }) {
  const canvas = el("div", { class: "chart", role: "img",
    "aria-label": `Chart: ${title}. Its values are in the table that follows.` });
  const figure = el("figure", {}, el("figcaption", {}, title, note && el("span", { class: "quiet" }, note)), controls,
    canvas, values && folded("Values as a table", values, ""));
  let drawn = null;
  figure.redraw = () => {
    const width = canvas.clientWidth;
    if (!width) return;
    const tall = typeof height === "function" ? height() : height;
    canvas.style.height = `${tall}px`;
    drawn ??= echarts.init(canvas, null, { renderer: "svg" });
    drawn.resize({ width, height: tall });
    const colours = palette();
    drawn.setOption({ ...base(colours), ...option(colours, width) }, { notMerge: true });
  };
  charts.push(figure);
  let seen = 0;
  new ResizeObserver(() => {
    if (canvas.clientWidth !== seen) {
      seen = canvas.clientWidth;
      figure.redraw();
    }
  }).observe(canvas);
  return figure;
}

function base(colours) {
  return {
    animation: false,
    color: [colours.first, colours.second],
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 12, color: colours.quiet },
    grid: { left: 52, right: 16, top: 28, bottom: 36 },
  };
}

/** A tooltip of lines of text; `lines(params)` gives label and value of each. */
function tooltip(colours, lines, trigger = "item") {
  return {
    trigger,
    confine: true,
    transitionDuration: 0,
    axisPointer: { type: trigger === "axis" ? "shadow" : "none", shadowStyle: { color: colours.line, opacity: 0.4 } },
    backgroundColor: colours.ground,
    borderColor: colours.edge,
    textStyle: { color: colours.text },
    formatter: (params) => el("div", { class: "tip" }, lines(params).map((line) => el("p", {}, foreign(line)))),
  };
}

function valueAxis(colours, name, more = {}) {
  return {
    type: "value",
    name,
    nameTextStyle: { color: colours.quiet },
    axisLabel: { color: colours.quiet, formatter: short, hideOverlap: true },
    splitLine: { lineStyle: { color: colours.line } },
    ...more,
  };
}

function categoryAxis(colours, data, name = "", more = {}) {
  return {
    type: "category",
    data,
    name,
    nameLocation: "middle",
    nameGap: 24,
    nameTextStyle: { color: colours.quiet },
    axisLabel: { color: colours.quiet, hideOverlap: true },
    axisLine: { lineStyle: { color: colours.edge } },
    axisTick: { show: false },
    ...more,
  };
}

/** Names of rows at the left of lying bars, the first row on top. */
function rowAxis(colours, data, width) {
  return categoryAxis(colours, data, "", { inverse: true,
    axisLabel: { color: colours.text, width: rowLabelWidth(width) - 12, overflow: "truncate", interval: 0 } });
}

function rowLabelWidth(width) {
  return Math.round(Math.min(240, width * 0.36));
}

function legend(colours, more = {}) {
  return { top: 0, left: 0, itemWidth: 16, itemHeight: 10, textStyle: { color: colours.text }, ...more };
}

const PATTERNS = {
  ok: { symbol: "none" },
  partial: { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 4], rotation: -Math.PI / 4 },
  failed: { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 3], rotation: Math.PI / 4 },
  pending: { symbol: "circle", dashArrayX: [[6, 6], [0, 6, 6, 0]], dashArrayY: [6, 0], symbolSize: 0.6 },
};

/** A resolved colour at two thirds. */
function faded(colour) {
  return colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.66)");
}

/** Colour and pattern of an outcome, so that neither carries the meaning alone. */
function outcomeStyle(colours, name) {
  return { color: colours[name], decal: { ...PATTERNS[name], color: faded(colours.ground) } };
}

/** A plain, B striped. */
function overlaid(colours, place) {
  return place ? { color: colours.second, decal: { ...PATTERNS.partial, color: faded(colours.ground) } }
    : { color: colours.first, decal: PATTERNS.ok };
}
