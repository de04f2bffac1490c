// The verdict in words, and the numbers.

const VERDICTS = {
  sound: ["✓", "Sound", "Every planned item has its outcome, and the files agree with each other and with the format."],
  incomplete: ["◐", "Incomplete", "What is there is sound, but planned work is missing or can be done again."],
  damaged: ["✕", "Damaged", "Files contradict each other, themselves or the format."],
};

function header(report) {
  return el("div", {}, el("h1", {}, "Audit of ", foreign(report.dataset)),
    el("p", { class: "small quiet" }, `Made ${utc(report.created)} by bitmill ${report.bitmill_version}, in `,
      `${duration(report.seconds)}. Tokenizer `, el("code", {}, report.tokenizer_fingerprint), "."));
}

function verdictWords(report) {
  const [sign, word, meaning] = VERDICTS[report.verdict];
  return [el("p", { class: "word" }, el("span", { "aria-hidden": "true" }, `${sign} `), word), el("p", {}, meaning)];
}

function verdict(report) {
  const damage = report.findings.filter((kind) => kind.severity === "damaged");
  const wrong = damage.map((kind) => `${kindText(kind.kind)} (${several(kind.count, "place")})`);
  const steps = report.coverage.next_steps;
  const list = (title, sentences) => (sentences.length
    ? [el("p", {}, title), el("ul", {}, sentences.map((sentence) => el("li", {}, foreign(sentence))))] : []);
  return el("div", { class: `verdict ${report.verdict}`, role: "region", "aria-label": "Verdict" }, verdictWords(report),
    list("What is wrong:", wrong), list("What to do next:", steps),
    !wrong.length && !steps.length && el("p", {}, "There is nothing to do."));
}

function kindText(kind) {
  const known = data.kind_text[kind] ?? kind;
  return known.charAt(0).toUpperCase() + known.slice(1);
}

/** Name, value of a report as a number, and how it is written. Sums of the whole dataset. */
const TOTALS = [
  ["Planned sources", (report) => report.coverage.total.sources, grouped],
  ["Pending sources", (report) => report.coverage.total.pending, grouped],
  ["Items ok", (report) => report.coverage.total.ok, grouped],
  ["Items partial", (report) => report.coverage.total.partial, grouped],
  ["Items failed", (report) => report.coverage.total.failed, grouped],
  ["Clips", (report) => report.coverage.total.clips, grouped],
  ["Frames", (report) => report.coverage.total.frames, grouped],
  ["Frames of padding", (report) => report.coverage.padded_frames, grouped],
  ["Frame sizes", (report) => report.coverage.num_sizes, grouped],
  ["Cropped away", (report) => report.coverage.cropped, (share) => percent(share, 1)],
  ["Tokens", (report) => report.coverage.total.tokens, grouped],
  ["Code bytes", (report) => report.coverage.total.code_bytes, bytes],
  ["Source bytes", (report) => report.coverage.total.bytes_in, bytes],
  ["Source frames", (report) => report.coverage.total.source_frames, grouped],
  ["Time in sources", (report) => report.coverage.total.seconds_in, duration],
  ["Time that became tokens", (report) => report.coverage.total.seconds_out, duration],
  ["Shards committed", (report) => report.shards_committed, grouped],
];

function numbers(report) {
  const total = report.coverage.total;
  const items = total.ok + total.partial + total.failed;
  return section("numbers", "Numbers", figures([
    ["Sources", grouped(total.sources), total.pending ? `${grouped(total.pending)} pending` : "none pending"],
    ["Items", grouped(items), `${grouped(total.ok)} ok, ${grouped(total.partial)} partial, ${grouped(total.failed)} failed`],
    ["Clips", grouped(total.clips), report.removals ? `${grouped(report.removals)} taken down on request` : null],
    ["Frames", grouped(total.frames), `of ${grouped(total.source_frames)} source frames`],
    ["Tokens", grouped(total.tokens)],
    ["Codes", bytes(total.code_bytes), `from ${bytes(total.bytes_in)} of sources`],
    ["Time as tokens", duration(total.seconds_out), `of ${duration(total.seconds_in)} in the sources`],
    ["Shards", grouped(report.shards_committed),
      `of ${grouped(report.shards_planned)} planned; ${grouped(report.shards_read)} could be read whole`],
  ]));
}
