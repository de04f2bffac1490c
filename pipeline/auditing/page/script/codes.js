// Whether the code is alive: what it uses, and how that changes over frames, sources and the dataset.

function codes(report) {
  const health = report.codes;
  if (!health || !health.tokens) return null;
  return section("codes", "Code health", figures([
    ["Tokens", grouped(health.tokens), `of ${health.bits_per_token} bits`],
    ["Used codes", (health.used_codes_error ? `≈${THIN}` : "") + grouped(health.used_codes), usedShare(health)],
    ["Bits a token needs", grouped(health.order0_bits_per_token, 2),
      `of ${health.bits_per_token}, by an order-0 model of groups of ${health.group_bits} bits`],
    ["Stuck bits", grouped(health.stuck_bits.length),
      health.stuck_bits.length ? `bit ${health.stuck_bits.join(", ")}` : `of ${health.bits_per_token}`],
    ["Repeated frames", percent(health.repeated_frames, health.pairs_of_frames),
      `${grouped(health.repeated_frames)} of ${grouped(health.pairs_of_frames)} pairs of consecutive frames`],
    ["Still clips", percent(health.still_clips, health.clips),
      `${grouped(health.still_clips)} of ${grouped(health.clips)} clips`],
  ]), el("div", { class: "grid" }, entropyChart(health), balanceChart(health), correlationChart(health),
    groupChart(health), overFrames([["", health.by_frame]]), alongDataset([["", health.along]]),
    overSources(health.by_source)));
}

function usedShare(health) {
  return [
    health.used_codes_error ? `±${THIN}${withUnit(100 * health.used_codes_error, "%", 1)} standard error` : "exact",
    health.possible_codes
      && `${percent(health.used_codes, health.possible_codes)} of ${grouped(health.possible_codes)} possible`,
  ].filter(Boolean).join("; ");
}

const STATISTICS = [
  ["mean_entropy", "mean of the bits"],
  ["weakest_entropy", "weakest bit"],
];

/** `lines`: [label, rows of BitsOf] of one dataset or more, drawn over each other. */
function bitsLines({ title, note, unit, axis, lines }) {
  const kept = lines.filter(([, rows]) => rows?.length);
  if (!kept.length) return null;
  const names = [...new Set(kept.flatMap(([, rows]) => rows.map((row) => row.value)))];
  if (kept.length > 1) names.sort(collator.compare); // one may lack what the other has
  const series = kept.flatMap(([label, rows], place) => STATISTICS.map(([key, meaning], kind) =>
    ({ label: label ? `${label}, ${meaning}` : meaning, key, place, kind, of: new Map(rows.map((row) => [row.value, row])) })));
  return chart({
    title,
    note,
    option: (colours) => ({
      grid: { left: 52, right: 16, top: kept.length > 1 ? 68 : 44, bottom: 40 },
      legend: legend(colours, { itemWidth: 28 }),
      tooltip: tooltip(colours, (params) => [`${unit} ${names[params[0].dataIndex]}`, ...series.map((line) => {
        const row = line.of.get(names[params[0].dataIndex]);
        return row && `${line.label}: ${grouped(row[line.key], 4)}${line.kind ? ` (bit ${row.weakest_bit})` : ""}`;
      }).filter(Boolean)], "axis"),
      xAxis: categoryAxis(colours, names, axis),
      yAxis: valueAxis(colours, "", { max: 1, min: lowest(series.flatMap((line) =>
        [...line.of.values()].map((row) => row[line.key]))) }),
      series: series.map((line) => ({
        name: line.label, type: "line", symbol: line.place ? "triangle" : "circle", symbolSize: names.length > 40 ? 0 : 6,
        showSymbol: names.length <= 40,
        itemStyle: { color: line.place ? colours.second : colours.first },
        lineStyle: { color: line.place ? colours.second : colours.first, width: 2, type: line.kind ? "dashed" : "solid" },
        data: names.map((name) => line.of.get(name)?.[line.key] ?? null),
      })),
    }),
    values: () => bitsTable(title, unit, kept),
  });
}

/** Where an axis of entropies begins: at 0, unless all that is worth seeing lies far above. */
function lowest(values) {
  const least = Math.min(...values);
  return least > 0.9 ? 0.9 : least > 0.5 ? 0.5 : 0;
}

function bitsTable(title, unit, lines) {
  const rows = lines.flatMap(([label, part]) => part.map((row) => ({ label, ...row })));
  return table({
    label: title,
    rows,
    columns: [...(lines.length > 1 ? [text("audit", (row) => row.label, { long: false })] : []),
      text(unit, (row) => row.value), count("tokens", (row) => row.tokens),
      count("mean entropy", (row) => row.mean_entropy, (value) => grouped(value, 4)),
      count("weakest entropy", (row) => row.weakest_entropy, (value) => grouped(value, 4)),
      count("weakest bit", (row) => row.weakest_bit)],
  });
}

function overFrames(lines) {
  return bitsLines({ title: "Bit entropy over a clip's frames", unit: "frame", axis: "frame of the clip", lines });
}

function alongDataset(lines) {
  return bitsLines({ title: "Bit entropy along the dataset", note: "Equal stretches in the plan's order",
    unit: "stretch", axis: "stretch", lines });
}

function overSources(rows) {
  if (!rows.length) return null;
  const shown = rows.slice(0, SHOWN_BARS);
  return chart({
    title: "Bit entropy by source",
    height: 84 + 24 * shown.length,
    option: (colours, width) => ({
      grid: { left: rowLabelWidth(width), right: 20, top: 30, bottom: 26 },
      legend: legend(colours),
      tooltip: tooltip(colours, (params) => {
        const row = shown[params[0].dataIndex];
        return [row.value, `mean ${grouped(row.mean_entropy, 4)}`,
          `weakest ${grouped(row.weakest_entropy, 4)} (bit ${row.weakest_bit})`, `${grouped(row.tokens)} tokens`];
      }, "axis"),
      xAxis: valueAxis(colours, "", { max: 1 }),
      yAxis: rowAxis(colours, shown.map((row) => row.value), width),
      series: [
        { name: "mean of the bits", type: "bar", barMaxWidth: 12, data: shown.map((row) => row.mean_entropy) },
        { name: "weakest bit", type: "scatter", symbol: "diamond", symbolSize: 10,
          itemStyle: { color: colours.second, borderColor: colours.ground },
          data: shown.map((row, place) => [row.weakest_entropy, place]) },
      ],
    }),
    values: () => bitsTable("Bit entropy by source", "source", [["", rows]]),
  });
}
