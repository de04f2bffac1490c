// What the audit left out, and what it was made with.

function leftOut(report) {
  return report.left_out.length ? section("left-out", "Left out",
    el("ul", {}, report.left_out.map((sentence) => el("li", {}, foreign(sentence))))) : null;
}

function origin(report) {
  return section("origin", "Tokenizer and job",
    folded("Tokenizer", () => settings("Tokenizer", report.tokenizer)), folded("Job", () => settings("Job", report.job)));
}

/** Nested values as one line each, by dotted names. */
function flattened(value, name = "") {
  if (value === null || typeof value !== "object" || !Object.keys(value).length) return [{ name, value }];
  return Object.entries(value).flatMap(([key, part]) => flattened(part, name ? `${name}.${key}` : key));
}

function settings(label, value) {
  return table({
    label,
    rows: flattened(value),
    size: 100,
    columns: [text("setting", (row) => row.name),
      { label: "value", long: true, value: (row) => (row.value === null ? null : JSON.stringify(row.value)),
        show: (shown, row) => (row.value === null ? untold("none")
          : foreign(typeof row.value === "string" ? row.value : shown, "mono")) }],
  });
}
