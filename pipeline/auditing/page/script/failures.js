// Why items failed, and which.

function failures(report) {
  const { reasons, failures: rows, total } = report.coverage;
  if (!reasons.length && !rows.length) return null;
  return section("failures", "Failures", reasons.length ? reasonFigure(reasons) : null,
    rows.length ? [el("h3", {}, "Items that are not ok"), failureTable(rows, total.failed + total.partial)] : []);
}

function reasonFigure(reasons) {
  return el("div", {}, chart({
    title: "Items by reason",
    height: 66 + 26 * reasons.length,
    option: (colours, width) => ({
      grid: { left: rowLabelWidth(width), right: 20, top: 30, bottom: 26 },
      legend: legend(colours),
      tooltip: tooltip(colours, (params) => {
        const row = reasons[params[0].dataIndex];
        return [`${row.reason}: ${row.meaning}`, `${grouped(row.failed)} failed, ${grouped(row.partial)} partial`];
      }, "axis"),
      xAxis: valueAxis(colours, "", { minInterval: 1 }),
      yAxis: rowAxis(colours, reasons.map((row) => spaced(row.reason)), width),
      series: ["failed", "partial"].map((name) => ({ name, type: "bar", stack: "items", barMaxWidth: 16,
        itemStyle: outcomeStyle(colours, name), data: reasons.map((row) => row[name]) })),
    }),
    values: () => table({
      label: "Reasons",
      rows: reasons,
      columns: [
        { label: "reason", value: (row) => row.reason, show: (value) => el("code", {}, value) },
        count("failed", (row) => row.failed), count("partial", (row) => row.partial),
        text("meaning", (row) => row.meaning),
        { label: "examples", long: true, value: (row) => row.examples.join("\n"),
          show: (_, row) => row.examples.map((name) => el("div", {}, foreign(name, "mono"))) },
      ],
    }),
  }));
}

function failureTable(rows, total) {
  const reasons = [...new Set(rows.map((row) => row.reason))].sort();
  return table({
    label: "Items that are not ok",
    note: rows.length < total ? `The first ${grouped(rows.length)} of ${grouped(total)}, in the plan's order` : null,
    rows,
    size: 25,
    search: (row) => [row.source, row.key, row.detail, row.reason, row.codec, row.media].join(" "),
    facet: { label: "Reason", value: (row) => row.reason, options: reasons.map((name) => [name, spaced(name)]) },
    columns: [
      { label: "outcome", value: (row) => row.outcome,
        show: (value) => el("span", {}, value === "failed" ? "✕ " : "◐ ", value) },
      { label: "reason", value: (row) => row.reason, show: (value) => el("code", {}, value) },
      { label: "source", long: true, value: (row) => row.source, show: (value) => foreign(value, "mono") },
      text("key", (row) => row.key), text("detail", (row) => row.detail),
      count("size", (row) => row.size_bytes, bytes), text("media", (row) => row.media, { long: false }),
      text("codec", (row) => row.codec, { long: false }),
      count("clips", (row) => row.clips),
    ],
  });
}
