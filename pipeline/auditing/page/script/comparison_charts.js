// Two audits side by side: coverage and code health drawn over each other.

function coverageCompared([a, b]) {
  const shared = a.coverage.tables.filter((part) => b.coverage.tables.some((other) => other.by === part.by));
  if (!shared.length) return null;
  const chosen = { by: shared[0].by };
  const below = el("div");
  const figure = chart({
    title: "Share of items that are ok",
    note: "Of the values that each audit lists; rarer ones are in its own page",
    height: () => 70 + 34 * Math.min(coverageRows(a, b, chosen.by).length, SHOWN_BARS),
    controls: el("div", { class: "controls" }, select("By", shared.map((part) => [part.by, spaced(part.by)]), chosen.by,
      (by) => { chosen.by = by; refresh(); })),
    option: (colours, width) => okBars(colours, width, coverageRows(a, b, chosen.by).slice(0, SHOWN_BARS)),
  });
  const fill = () => below.replaceChildren(coveragePairs(coverageRows(a, b, chosen.by), chosen.by));
  function refresh() {
    figure.redraw();
    fill();
  }
  fill();
  return section("coverage", "Coverage", figure, below);
}

/** Values of a property in either, with their counts; null where one lacks it. */
function coverageRows(a, b, by) {
  const of = (report) => new Map(report.coverage.tables.find((part) => part.by === by).rows
    .map((row) => [row.value, row.counts]));
  const [left, right] = [of(a), of(b)];
  return [...new Set([...left.keys(), ...right.keys()])].map((value) =>
    ({ value, a: left.get(value) ?? null, b: right.get(value) ?? null }));
}

function itemsOf(counts) {
  return counts ? counts.ok + counts.partial + counts.failed : null;
}

function okShare(counts) {
  return itemsOf(counts) ? (100 * counts.ok) / itemsOf(counts) : null;
}

function okBars(colours, width, rows) {
  return {
    grid: { left: rowLabelWidth(width), right: 20, top: 30, bottom: 26 },
    legend: legend(colours),
    tooltip: tooltip(colours, (params) => {
      const row = rows[params[0].dataIndex];
      return [valueName(row), ...LABELS.map((label, place) => {
        const counts = place ? row.b : row.a;
        return counts ? `${label}: ${grouped(counts.ok)} of ${grouped(itemsOf(counts))} ok` : `${label}: none`;
      })];
    }, "axis"),
    xAxis: valueAxis(colours, "", { max: 100, axisLabel: { color: colours.quiet, formatter: "{value} %" } }),
    yAxis: rowAxis(colours, rows.map(valueName), width),
    series: LABELS.map((name, place) => ({ name, type: "bar", barMaxWidth: 11,
      itemStyle: overlaid(colours, place), data: rows.map((row) => okShare(place ? row.b : row.a)) })),
  };
}

function coveragePairs(rows, by) {
  const share = (counts) => (counts ? percent(counts.ok, itemsOf(counts)) : NONE);
  return table({ label: `Coverage by ${spaced(by)}`, rows, size: 25, columns: [
    { label: spaced(by), long: true, value: (row) => row.value,
      show: (value, row) => (value ? foreign(value) : untold(valueName(row))) },
    count("items in A", (row) => itemsOf(row.a)), count("items in B", (row) => itemsOf(row.b)),
    { label: "ok in A", number: true, value: (row) => okShare(row.a), show: (_, row) => share(row.a) },
    { label: "ok in B", number: true, value: (row) => okShare(row.b), show: (_, row) => share(row.b) },
    count("clips in A", (row) => row.a?.clips), count("clips in B", (row) => row.b?.clips),
    count("tokens in A", (row) => row.a?.tokens), count("tokens in B", (row) => row.b?.tokens),
  ] });
}

function codesCompared(reports) {
  const of = reports.map((report, place) => [LABELS[place], report.codes]).filter(([, part]) => part?.tokens);
  if (!of.length) return null;
  const [a, b] = reports.map((report) => report.codes);
  const words = wordsOf(of.map(([, part]) => part.kind));
  const row = new Set(reports.map(rowName)).size === 1 ? rowName(reports[0]) : "token row";
  const rows = [
    ["Bits per token", (part) => part.bits_per_token, 0], ["Used codes", (part) => part.used_codes, 0],
    ["Bits a token needs (order 0)", (part) => part.order0_bits_per_token, 2],
    ["The same, as a share", (part) => order0Share(part), 4],
    [`Stuck ${words[1]}`, (part) => part.stuck_bits.length, 0],
    [`Repeated ${row}s (share)`, (part) => (part.pairs_of_frames ? part.repeated_frames / part.pairs_of_frames : null), 4],
    ["Still clips (share)", (part) => (part.clips ? part.still_clips / part.clips : null), 4],
  ].map(([name, value, digits]) => ({ name, a: a && value(a), b: b && value(b), write: (shown) => grouped(shown, digits) }));
  const least = Math.max(0.05, ...of.flatMap(([, part]) => pairsOfBits(part.correlation).slice(0, 1)
    .map((pair) => Math.abs(pair.value))));
  return section("codes", "Code health", pairTable("Code health", rows), el("div", { class: "grid" },
    entropyChart(of), balanceChart(of), of.map(([label, part]) => correlationChart(part, { label, least })),
    groupChart(of[0][1], of), overScales(of.map(([label, part]) => [label, part.by_scale]), words),
    overFrames(of.map(([label, part]) => [label, part.by_frame]), words, row),
    alongDataset(of.map(([label, part]) => [label, part.along]), words)));
}

function order0Share(part) {
  return part.order0_bits_per_token === null ? null : part.order0_bits_per_token / part.bits_per_token;
}
