// Whether the code is alive: what it uses, and how that changes over frames, sources and the dataset.

/** What a dimension of a code is called, one and several. */
const DIMENSIONS = { bits: ["bit", "bits"], digits: ["digit", "digits"], index: ["index", "indices"] };

/** The words for what all these kinds of codes have. */
function wordsOf(kinds) {
  const [kind, ...others] = new Set(kinds);
  return others.length ? ["dimension", "dimensions"] : DIMENSIONS[kind];
}

/** What a row of tokens along time is: a frame, unless a token covers several. */
function rowName(report) {
  return report.geometry && report.geometry.frames_per_token > 1 ? "token row" : "frame";
}

function codes(report) {
  const health = report.codes;
  if (!health || !health.tokens) return null;
  const words = wordsOf([health.kind]);
  const row = rowName(report);
  return section("codes", "Code health", figures([
    ["Tokens", grouped(health.tokens), `of ${health.bits_per_token} bits${health.kind === "bits" ? "" : `, ${codeName(report)}`}`],
    ["Used codes", (health.used_codes_error ? `≈${THIN}` : "") + grouped(health.used_codes), usedShare(health)],
    ["Bits a token needs", grouped(health.order0_bits_per_token, 2), order0(health)],
    health.kind !== "index" && [`Stuck ${words[1]}`, grouped(health.stuck_bits.length), health.stuck_bits.length
      ? `${words[0]} ${health.stuck_bits.join(", ")}` : `of ${dimensionsOf(report)}`],
    [`Repeated ${row}s`, percent(health.repeated_frames, health.pairs_of_frames),
      `${grouped(health.repeated_frames)} of ${grouped(health.pairs_of_frames)} pairs of consecutive ${row}s`],
    ["Still clips", percent(health.still_clips, health.clips),
      `${grouped(health.still_clips)} of ${grouped(health.clips)} clips`],
  ]), el("div", { class: "grid" }, entropyChart([["", health]]), balanceChart([["", health]]), correlationChart(health),
    groupChart(health), valueCharts(health), overScales([["", health.by_scale]], words),
    overFrames([["", health.by_frame]], words, row),
    alongDataset([["", health.along]], words), overSources(health.by_source, words)));
}

function codeName({ geometry, codes: { kind, possible_codes: possible } }) {
  return kind === "digits" ? `digits of ${geometry.code.levels.join(" × ")} values` : `an index of ${grouped(possible)} codes`;
}

function dimensionsOf({ geometry, codes: health }) {
  return health.kind === "digits" ? geometry.code.levels.length : health.bits_per_token;
}

function order0(health) {
  if (health.order0_bits_per_token === null) return "not counted: too many codes";
  const model = { bits: `groups of ${health.group_bits} bits`, digits: "each digit", index: "the index" }[health.kind];
  return `of ${health.bits_per_token}, by an order-0 model of ${model}`;
}

function usedShare(health) {
  return [
    health.used_codes_error ? `±${THIN}${withUnit(100 * health.used_codes_error, "%", 1)} standard error` : "exact",
    health.possible_codes
      && `${percent(health.used_codes, health.possible_codes)} of ${grouped(health.possible_codes)} possible`,
  ].filter(Boolean).join("; ");
}

function statistics([one, several]) {
  return [["mean_entropy", `mean of the ${several}`], ["weakest_entropy", `weakest ${one}`]];
}

/** `lines`: [label, rows of BitsOf] of one dataset or more, drawn over each other. */
function bitsLines({ title, note, unit, axis, lines, words }) {
  const kept = lines.filter(([, rows]) => rows?.length);
  if (!kept.length) return null;
  const names = [...new Set(kept.flatMap(([, rows]) => rows.map((row) => row.value)))];
  if (kept.length > 1) names.sort(collator.compare); // one may lack what the other has
  const series = kept.flatMap(([label, rows], place) => statistics(words).map(([key, meaning], kind) =>
    ({ label: label ? `${label}, ${meaning}` : meaning, key, place, kind, of: new Map(rows.map((row) => [row.value, row])) })));
  return chart({
    title,
    note,
    option: (colours) => ({
      grid: { left: 52, right: 16, top: kept.length > 1 ? 68 : 44, bottom: 40 },
      legend: legend(colours, { itemWidth: 28 }),
      tooltip: tooltip(colours, (params) => [`${unit} ${names[params[0].dataIndex]}`, ...series.map((line) => {
        const row = line.of.get(names[params[0].dataIndex]);
        return row && `${line.label}: ${grouped(row[line.key], 4)}${line.kind ? ` (${words[0]} ${row.weakest_bit})` : ""}`;
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
    values: () => bitsTable(title, unit, kept, words),
  });
}

/** Where an axis of entropies begins: at 0, unless all that is worth seeing lies far above. */
function lowest(values) {
  const least = Math.min(...values);
  return least > 0.9 ? 0.9 : least > 0.5 ? 0.5 : 0;
}

function bitsTable(title, unit, lines, [one]) {
  const rows = lines.flatMap(([label, part]) => part.map((row) => ({ label, ...row })));
  return table({
    label: title,
    rows,
    columns: [...(lines.length > 1 ? [text("audit", (row) => row.label, { long: false })] : []),
      text(unit, (row) => row.value), count("tokens", (row) => row.tokens),
      count("mean entropy", (row) => row.mean_entropy, (value) => grouped(value, 4)),
      count("weakest entropy", (row) => row.weakest_entropy, (value) => grouped(value, 4)),
      count(`weakest ${one}`, (row) => row.weakest_bit)],
  });
}

function overFrames(lines, words, row) {
  return bitsLines({ title: `${entropyOf(words)} over a clip's ${row}s`, unit: row, axis: `${row} of the clip`, lines, words });
}

function overScales(lines, words) {
  return bitsLines({ title: `${entropyOf(words)} over a pyramid's scales`, note: "From coarse to fine",
    unit: "scale", axis: "scale of the pyramid", lines, words });
}

function alongDataset(lines, words) {
  return bitsLines({ title: `${entropyOf(words)} along the dataset`, note: "Equal stretches in the plan's order",
    unit: "stretch", axis: "stretch", lines, words });
}

function entropyOf([one]) {
  return `${one.charAt(0).toUpperCase()}${one.slice(1)} entropy`;
}

function overSources(rows, words) {
  if (!rows.length) return null;
  const shown = rows.slice(0, SHOWN_BARS);
  const [[, mean], [, weakest]] = statistics(words);
  const title = `${entropyOf(words)} by source`;
  return chart({
    title,
    height: 84 + 24 * shown.length,
    option: (colours, width) => ({
      grid: { left: rowLabelWidth(width), right: 20, top: 30, bottom: 26 },
      legend: legend(colours),
      tooltip: tooltip(colours, (params) => {
        const row = shown[params[0].dataIndex];
        return [row.value, `mean ${grouped(row.mean_entropy, 4)}`,
          `weakest ${grouped(row.weakest_entropy, 4)} (${words[0]} ${row.weakest_bit})`, `${grouped(row.tokens)} tokens`];
      }, "axis"),
      xAxis: valueAxis(colours, "", { max: 1 }),
      yAxis: rowAxis(colours, shown.map((row) => row.value), width),
      series: [
        { name: mean, type: "bar", barMaxWidth: 12, data: shown.map((row) => row.mean_entropy) },
        { name: weakest, type: "scatter", symbol: "diamond", symbolSize: 10,
          itemStyle: { color: colours.second, borderColor: colours.ground },
          data: shown.map((row, place) => [row.weakest_entropy, place]) },
      ],
    }),
    values: () => bitsTable(title, "source", [["", rows]], words),
  });
}
