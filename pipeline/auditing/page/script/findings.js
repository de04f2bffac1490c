// What was found, worst first.

const SEVERITIES = [
  ["damaged", "✕ damaged", "Damaged"],
  ["incomplete", "◐ incomplete", "Incomplete"],
  ["note", "· note", "Notes"],
];

function findings(report) {
  if (!report.findings.length) {
    return section("findings", "Findings", el("p", {}, "Nothing was found."));
  }
  const groups = SEVERITIES.map(([severity, sign, title]) => {
    const kinds = report.findings.filter((kind) => kind.severity === severity);
    return kinds.length ? [el("h3", { class: `severity ${severity}` }, `${sign[0]} ${title}`), kinds.map(findingKind)] : [];
  });
  return section("findings", "Findings", groups.flat(2));
}

function findingKind(kind) {
  const summary = el("span", {}, `${kindText(kind.kind)}: `,
    el("strong", {}, several(kind.count, "place")), " ", el("code", { class: "quiet" }, kind.kind));
  const shown = kind.examples.length;
  return folded(summary, () => table({
    label: `Examples of ${kind.kind}`,
    note: shown < kind.count ? `The first ${grouped(shown)} of ${grouped(kind.count)}` : null,
    rows: kind.examples,
    columns: [text("What", (row) => row.detail), text("File", (row) => row.file),
      text("Where", (row) => row.where)],
  }));
}
