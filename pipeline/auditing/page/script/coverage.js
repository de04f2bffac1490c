// Planned against done, by a property of the items; and distributions.

const OUTCOMES = ["ok", "partial", "failed", "pending"];
const OUTCOME_NAMES = { ok: "ok", partial: "partial", failed: "failed", pending: "pending (sources)" };
const SHOWN_BARS = 24;

function valueName(row) {
  return row.value === null ? "not told" : row.value === "" ? "empty" : row.value;
}

/** "source height" of `source_height`; metadata columns keep their names. */
function spaced(name) {
  return name.replaceAll("_", " ");
}

function coverage(report) {
  const tables = report.coverage.tables.filter((part) => part.rows.length);
  const parts = [];
  if (tables.length) parts.push(coverageBy(tables));
  if (report.sources) parts.push(...sourceCheck(report.sources));
  return parts.length ? section("coverage", "Coverage", ...parts) : null;
}

function coverageBy(tables) {
  const chosen = { table: tables[0], shares: false };
  const rows = () => [...chosen.table.rows, ...(chosen.table.others ? [chosen.table.others] : [])];
  const bars = () => rows().slice(0, SHOWN_BARS);
  const below = el("div");
  const figure = chart({
    title: "Items by outcome",
    note: "Items with an outcome, and sources whose shard is not committed",
    height: () => 70 + 26 * bars().length,
    controls: el("div", { class: "controls" },
      select("By", tables.map((part, place) => [String(place), spaced(part.by)]), "0", (place) => {
        chosen.table = tables[Number(place)];
        refresh();
      }),
      select("As", [["counts", "counts"], ["shares", "shares of each"]], "counts", (form) => {
        chosen.shares = form === "shares";
        refresh();
      })),
    option: (colours, width) => outcomeBars(colours, width, bars(), chosen.shares),
  });

  function refresh() {
    figure.redraw();
    below.replaceChildren(coverageTable(chosen.table.by, rows()));
  }
  below.append(coverageTable(chosen.table.by, rows()));
  return el("div", {}, figure, below);
}

function outcomeBars(colours, width, rows, shares) {
  const whole = (row) => OUTCOMES.reduce((sum, name) => sum + row.counts[name], 0);
  const shown = OUTCOMES.filter((name) => rows.some((row) => row.counts[name]));
  return {
    grid: { left: rowLabelWidth(width), right: 20, top: 30, bottom: 26 },
    legend: legend(colours),
    tooltip: tooltip(colours, (params) => {
      const row = rows[params[0].dataIndex];
      return [valueName(row), ...OUTCOMES.filter((name) => row.counts[name]).map((name) =>
        `${OUTCOME_NAMES[name]}: ${grouped(row.counts[name])} (${percent(row.counts[name], whole(row))})`)];
    }, "axis"),
    xAxis: valueAxis(colours, "", shares ? { max: 100, axisLabel: { color: colours.quiet, formatter: "{value} %" } }
      : { minInterval: 1 }),
    yAxis: rowAxis(colours, rows.map(valueName), width),
    series: shown.map((name) => ({
      name: OUTCOME_NAMES[name],
      type: "bar",
      stack: "items",
      barMaxWidth: 16,
      itemStyle: outcomeStyle(colours, name),
      data: rows.map((row) => (shares && whole(row) ? (100 * row.counts[name]) / whole(row) : row.counts[name])),
    })),
  };
}

function coverageTable(by, rows) {
  const of = (name) => (row) => row.counts[name];
  return table({
    label: `Coverage by ${spaced(by)}`,
    rows,
    size: 25,
    columns: [
      { label: spaced(by), long: true, value: (row) => row.value,
        show: (value, row) => (value ? foreign(value) : untold(valueName(row))) },
      count("sources", of("sources")), count("ok", of("ok")), count("partial", of("partial")),
      count("failed", of("failed")), count("pending", of("pending")), count("clips", of("clips")),
      count("frames", of("frames")), count("tokens", of("tokens")), count("time in", of("seconds_in"), duration),
      count("time out", of("seconds_out"), duration), count("bytes in", of("bytes_in"), bytes),
      count("code bytes", of("code_bytes"), bytes),
    ],
  });
}

function frameSizes({ coverage: part }) {
  const shown = part.sizes.length;
  return shown ? section("sizes", "Frame sizes", figures([
    ["Sizes", grouped(part.num_sizes), shown < part.num_sizes ? `the ${grouped(shown)} of most clips are listed` : null],
    ["Cropped away", part.cropped === null ? NONE : percent(part.cropped, 1), "of the scaled pictures"],
    ["Frames of padding", grouped(part.padded_frames)],
  ]), table({
    label: "Frame sizes",
    rows: part.sizes,
    size: 25,
    columns: [
      { label: "height × width", value: (row) => row.height_px * row.width_px,
        show: (value, row) => `${row.height_px}×${row.width_px}` },
      count("clips", (row) => row.clips), count("frames", (row) => row.frames),
      count("of padding", (row) => row.padded_frames), count("tokens", (row) => row.tokens),
      count("code bytes", (row) => row.code_bytes, bytes),
      count("cropped away", (row) => row.cropped, (share) => percent(share, 1)),
    ],
  })) : null;
}

function sourceCheck(check) {
  const examples = check.unplanned_examples;
  return [el("h3", {}, "At the sources now"), figures([
    ["Looked at", grouped(check.checked)], ["Gone", grouped(check.gone)], ["Changed", grouped(check.changed)],
    ["Not in the plan", grouped(check.unplanned)],
  ]), examples.length ? folded("Examples of sources that the plan lacks",
    () => el("ul", {}, examples.map((uri) => el("li", {}, foreign(uri, "mono"))))) : null];
}

function distributions(report) {
  const shown = report.coverage.histograms.filter((part) => part.counts.length);
  return shown.length ? section("distributions", "Distributions",
    el("div", { class: "grid" }, shown.map(histogram))) : null;
}

function histogram(part) {
  const bin = (place) => `${short(part.edges[place])} to ${short(part.edges[place + 1])}`;
  const whole = part.counts.reduce((sum, value) => sum + value, 0);
  return chart({
    title: part.name.charAt(0).toUpperCase() + part.name.slice(1),
    note: `${grouped(whole)} ${part.of}; bins begin at the value below them`,
    height: 210,
    option: (colours) => ({
      tooltip: tooltip(colours, (params) => [`${bin(params.dataIndex)} ${part.unit}`,
        `${grouped(part.counts[params.dataIndex])} ${part.of} (${percent(part.counts[params.dataIndex], whole)})`]),
      xAxis: categoryAxis(colours, part.edges.slice(0, -1).map(short), part.unit),
      yAxis: valueAxis(colours, part.of, { minInterval: 1 }),
      series: [{ type: "bar", barCategoryGap: "8%", data: part.counts }],
    }),
    values: () => table({
      label: `Distribution: ${part.name}`,
      rows: part.counts.map((value, place) => ({ value, place })),
      columns: [count(`from (${part.unit})`, (row) => part.edges[row.place], short),
        count(`to (${part.unit})`, (row) => part.edges[row.place + 1], short), count(part.of, (row) => row.value)],
    }),
  });
}
