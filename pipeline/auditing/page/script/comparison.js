// Two audits side by side: words and tables.

const LABELS = ["A", "B"];

function comparisonHeader(reports) {
  return el("div", {}, el("h1", {}, "Two audits compared"), el("div", { class: "grid" }, reports.map((report, place) =>
    el("div", { class: `verdict ${report.verdict}`, role: "region", "aria-label": `Verdict of ${LABELS[place]}` },
      el("p", {}, el("strong", {}, `${LABELS[place]}: `), foreign(report.dataset)), verdictWords(report),
      el("p", { class: "small quiet" }, `Made ${utc(report.created)}. Tokenizer `,
        el("code", {}, report.tokenizer_fingerprint), ".")))),
  reports[0].tokenizer_fingerprint === reports[1].tokenizer_fingerprint ? null
    : el("p", {}, "The tokenizers differ."));
}

/** A table of what both have a number for. `rows`: {name, a, b, write}. */
function pairTable(label, rows, first = "what") {
  const change = (row) => (typeof row.a === "number" && typeof row.b === "number" ? row.b - row.a : null);
  const side = (name, key) => ({ label: name, number: true, value: (row) => row[key],
    show: (value, row) => (value === null || value === undefined ? NONE : row.write(value)) });
  return table({
    label,
    rows,
    size: 60,
    columns: [text(first, (row) => row.name, { empty: "not told" }), side("A", "a"), side("B", "b"),
      { label: "B − A", number: true, value: change, show: (value, row) => (value === null ? NONE
        : value === 0 ? "0" : `${value > 0 ? "+" : "−"}${row.write(Math.abs(value))}`) }],
  });
}

function totalsCompared([a, b]) {
  return section("totals", "Totals", pairTable("Totals", TOTALS.map(([name, of, write]) =>
    ({ name, a: of(a), b: of(b), write }))));
}

function findingsCompared([a, b]) {
  const of = (report) => new Map(report.findings.map((part) => [part.kind, part]));
  const [left, right] = [of(a), of(b)];
  const kinds = [...new Set([...left.keys(), ...right.keys()])];
  if (!kinds.length) return section("findings", "Findings", el("p", {}, "Nothing was found in either."));
  const signs = new Map(SEVERITIES.map(([severity, sign]) => [severity, sign]));
  const ranks = SEVERITIES.map(([severity]) => severity);
  const rows = kinds.map((kind) => ({ kind, severity: (left.get(kind) ?? right.get(kind)).severity,
    a: left.get(kind)?.count ?? 0, b: right.get(kind)?.count ?? 0 }));
  rows.sort((x, y) => ranks.indexOf(x.severity) - ranks.indexOf(y.severity));
  return section("findings", "Findings", table({ label: "Findings", rows, columns: [
    { label: "severity", value: (row) => ranks.indexOf(row.severity),
      show: (_, row) => el("span", { class: `severity ${row.severity}` }, signs.get(row.severity)) },
    { label: "finding", long: true, value: (row) => kindText(row.kind) },
    count("places in A", (row) => row.a), count("places in B", (row) => row.b)] }));
}

function reasonsCompared([a, b]) {
  const sums = (report) => new Map(report.coverage.reasons.map((row) => [row.reason, row.failed + row.partial]));
  const [left, right] = [sums(a), sums(b)];
  const names = [...new Set([...left.keys(), ...right.keys()])];
  return names.length ? section("failures", "Reasons", el("p", { class: "small quiet" }, "Items failed or partial."),
    pairTable("Reasons", names.map((name) =>
      ({ name: spaced(name), a: left.get(name) ?? 0, b: right.get(name) ?? 0, write: grouped })), "reason")) : null;
}

function duplicatesCompared([a, b]) {
  if (!a.duplicates && !b.duplicates) return null;
  const row = (name, key) => ({ name, a: a.duplicates?.[key], b: b.duplicates?.[key], write: grouped });
  return section("duplicates", "Duplicates", pairTable("Duplicates", [row("exact duplicates, clips", "exact_clips"),
    row("groups of them", "exact_groups"), row("near duplicates, clips", "near_clips"), row("groups of them", "near_groups")]));
}

function sampleCompared([a, b]) {
  if (!a.sample && !b.sample) return null;
  const units = unitsOf([a, b].filter((report) => report.sample));
  const rows = [
    ["PSNR (dB)", (part) => part.psnr_db, 2], ["SSIM", (part) => part.ssim, 4], ["LPIPS", (part) => part.lpips, 4],
    ["clips compared", (part) => part.compared, 0],
    [`differing ${units} (share)`, (part) => (part.num_bits ? part.differing_bits / part.num_bits : null), 6],
  ].map(([name, of, digits]) => ({ name, a: a.sample && of(a.sample), b: b.sample && of(b.sample),
    write: (value) => grouped(value, digits) }));
  const parts = [a, b].map((report, place) => [LABELS[place], report.sample]).filter(([, part]) => part);
  return section("sample", "Sample", pairTable("Sample", rows), qualityChart(parts, units));
}
