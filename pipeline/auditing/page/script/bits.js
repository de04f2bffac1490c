// Charts of the code's single bits or digits, of their values, and of pairs and groups of bits.

/** `of`: [label, health] of one dataset or two. */
function entropyChart(of) {
  const shown = of.filter(([, health]) => health.kind !== "index");
  const isBits = shown.every(([, health]) => health.kind === "bits");
  return perBit({ title: "Entropy", note: isBits ? "1 is best: as many ones as zeros"
    : "As a share of the most; 1 is best: each value as often", key: "entropies", of: shown, level: 1 });
}

function balanceChart(of) {
  return perBit({ title: "Share of ones", note: "0.5 is balanced", key: "ones", of, level: 0.5 });
}

function perBit({ title: what, note, key, of: all, level }) {
  const of = all.filter(([, health]) => health[key].length);
  if (!of.length) return null;
  const [one] = wordsOf(of.map(([, health]) => health.kind));
  const title = `${what} of each ${one}`;
  const length = Math.max(...of.map(([, health]) => health[key].length));
  const bits = Array.from({ length }, (_, bit) => bit);
  const stuck = (health, bit) => health.stuck_bits.includes(bit);
  const alone = of.length === 1;
  const told = of.filter(([, health]) => health.stuck_bits.length).map(([label, health]) =>
    `${label ? `${label}: ` : ""}${one} ${health.stuck_bits.join(", ")}`);
  return chart({
    title,
    note: told.length ? `${note}. Stuck: ${told.join("; ")}` : note,
    option: (colours) => ({
      legend: alone ? undefined : legend(colours),
      tooltip: tooltip(colours, (params) => [`${one} ${params[0].dataIndex}`, ...of.map(([label, health]) =>
        `${label ? `${label}: ` : ""}${grouped(health[key][params[0].dataIndex], 4)}${
          stuck(health, params[0].dataIndex) ? ", stuck" : ""}`)], "axis"),
      xAxis: categoryAxis(colours, bits, `${one} of the code`),
      yAxis: valueAxis(colours, "", { min: 0, max: 1, interval: level / 2 }),
      series: of.map(([label, health], place) => ({
        name: label,
        type: "bar",
        barCategoryGap: alone ? "15%" : "20%",
        itemStyle: overlaid(colours, place),
        data: health[key].map((value, bit) => (alone && stuck(health, bit)
          ? { value, itemStyle: outcomeStyle(colours, "failed"),
            label: { show: true, position: "top", formatter: "stuck", color: colours.text } } : value)),
      })),
    }),
    values: () => table({
      label: title,
      rows: bits,
      columns: [count(one, (bit) => bit), ...of.map(([label, health]) =>
        count(label || spaced(key), (bit) => health[key][bit], (value) => grouped(value, 4))),
      { label: "stuck", value: (bit) => of.filter(([, health]) => stuck(health, bit)).map(([label]) => label || "yes")
        .join(", ") }],
    }),
  });
}

/** How often each value of a digit, or each code of an index, occurs. */
function valueCharts(health) {
  const several = health.values.length > 1;
  return health.values.map((counts, place) => {
    const title = several ? `Values of digit ${place}` : "Use of each code";
    const rows = counts.map((tokens, value) => ({ value, tokens }));
    return chart({
      title,
      note: `${grouped(counts.filter(Boolean).length)} of ${grouped(counts.length)} occur`,
      option: (colours) => ({
        tooltip: tooltip(colours, (params) => [`${several ? "value" : "code"} ${params[0].dataIndex}`,
          `${grouped(params[0].value)} tokens`], "axis"),
        xAxis: categoryAxis(colours, rows.map((row) => row.value), several ? "value" : "code"),
        yAxis: valueAxis(colours, "tokens", { min: 0 }),
        series: [{ type: "bar", itemStyle: overlaid(colours, 0), data: counts }],
      }),
      values: () => table({ label: title, rows, columns: [count("value", (row) => row.value),
        count("tokens", (row) => row.tokens)] }),
    });
  });
}

const SHOWN_PAIRS = 2016; // of 64 bits all

/** Pairs of different bits, once each, strongest first. */
function pairsOfBits(correlation) {
  const pairs = correlation.flatMap((row, a) => row.slice(0, a).map((value, b) => ({ a: b, b: a, value })));
  return sorted(pairs, (pair) => Math.abs(pair.value), true);
}

/** `least`: what the scale reaches at least, so that two maps can share one. */
function correlationChart(health, { label = "", least = 0.05 } = {}) {
  const pairs = pairsOfBits(health.correlation);
  if (!pairs.length) return null;
  const [strongest] = pairs;
  const bits = health.correlation.map((_, bit) => bit);
  const reach = Math.max(least, Math.abs(strongest.value));
  const title = label ? `Correlation of bits, ${label}` : "Correlation of bits";
  const shown = pairs.slice(0, SHOWN_PAIRS);
  const signed = (value) => (value > 0 ? `+${grouped(value, 3)}` : grouped(value, 3));
  return chart({
    title,
    note: `Pearson's, of pairs of bits over tokens. Strongest: bits ${strongest.a} and ${strongest.b}, ${
      signed(strongest.value)}${shown.length < pairs.length ? `. The strongest ${grouped(shown.length)} pairs` : ""}`,
    height: 380,
    option: (colours, width) => ({
      grid: { left: 40, right: 12, top: 8, bottom: 76 },
      tooltip: tooltip(colours, (params) => [`bits ${params.value[0]} and ${params.value[1]}`, signed(params.value[2])]),
      xAxis: categoryAxis(colours, bits, "bit", { nameGap: 22 }),
      yAxis: categoryAxis(colours, bits, "", { inverse: true }),
      visualMap: { type: "continuous", min: -reach, max: reach, precision: 2, calculable: false, orient: "horizontal",
        left: "center", bottom: 0, itemHeight: Math.min(180, width * 0.4), itemWidth: 12,
        text: [`+${reach.toFixed(2)}`, `−${reach.toFixed(2)}`], textStyle: { color: colours.quiet },
        inRange: { color: [colours.second, colours.raised, colours.first] } },
      series: [{ type: "heatmap", itemStyle: { borderWidth: bits.length > 24 ? 0 : 1, borderColor: colours.ground },
        emphasis: { disabled: true },
        data: shown.flatMap(({ a, b, value }) => [[a, b, value], [b, a, value]]) }],
    }),
    values: () => table({
      label: title,
      rows: pairs,
      columns: [count("bit", (pair) => pair.a), count("and bit", (pair) => pair.b),
        count("correlation", (pair) => pair.value, signed),
        count("strength", (pair) => Math.abs(pair.value), (value) => grouped(value, 3))],
    }),
  });
}

function groupChart(health, of = [["", health]]) {
  const same = of.filter(([, part]) => part.group_bits === health.group_bits && part.group_entropies.length);
  if (same.length < of.length) return null;
  const length = Math.max(...same.map(([, part]) => part.group_entropies.length));
  const places = Array.from({ length }, (_, place) => place);
  return chart({
    title: `Entropy of groups of ${health.group_bits} bits`,
    note: `${health.group_bits} bits is best`,
    height: of.length > 1 ? 240 : 380,
    option: (colours) => ({
      legend: of.length > 1 ? legend(colours) : undefined,
      tooltip: tooltip(colours, (params) => [`group ${params[0].dataIndex}`, ...of.map(([label, part]) =>
        `${label ? `${label}: ` : ""}${grouped(part.group_entropies[params[0].dataIndex], 3)} bits`)], "axis"),
      xAxis: categoryAxis(colours, places, "group of the code"),
      yAxis: valueAxis(colours, "", { min: 0, max: health.group_bits }),
      series: of.map(([label, part], place) => ({ name: label, type: "bar", barMaxWidth: 48,
        itemStyle: overlaid(colours, place), data: part.group_entropies })),
    }),
    values: () => table({
      label: `Entropy of groups of ${health.group_bits} bits`,
      rows: places,
      columns: [count("group", (place) => place), ...of.map(([label, part]) =>
        count(label || "entropy (bits)", (place) => part.group_entropies[place], (value) => grouped(value, 3)))],
    }),
  });
}
