// Clips decoded and tokenized again: how good they look, and whether their codes are the same.

const SAMPLE_ORDERS = [
  ["given", "worst first", null, false],
  ["psnr", "lowest PSNR", (row) => row.clip.psnr_db, false],
  ["ssim", "lowest SSIM", (row) => row.clip.ssim, false],
  ["lpips", "highest LPIPS", (row) => row.clip.lpips, true],
  ["differing", "most differing", (row) => row.clip.differing_bits, true],
  ["rate", "fewest bits per pixel", (row) => row.clip.bits_per_pixel, false],
];

const SYMBOLS = [["circle", "triangle"], ["emptyCircle", "emptyTriangle"]]; // of A and B; equal bits, differing ones

function sample(report, pictures) {
  const part = report.sample;
  if (!part) return null;
  const rows = part.clips.map((clip, place) => ({ clip, picture: pictures[place] }));
  const units = unitsOf([report]);
  return section("sample", "Sample",
    el("p", {}, `${several(part.num_clips, "clip")} drawn with seed ${part.seed}, decoded and tokenized again; `,
      `${grouped(part.compared)} could be compared with the source.`),
    part.note && el("p", {}, foreign(part.note)),
    sampleFigures(part, units), rows.length ? [qualityChart([["", part]], units), clipList(rows, units)] : []);
}

/** What a sample counts as differing: bits, digits or indices. Old reports have bits. */
function unitsOf(reports) {
  const [, units] = wordsOf(reports.map((report) => report.geometry?.code.kind ?? "bits"));
  return units;
}

function sampleFigures(part, units) {
  return figures([
    ["PSNR", withUnit(part.psnr_db, "dB", 2), "mean; higher is better"],
    ["SSIM", grouped(part.ssim, 4), "mean; 1 is best"],
    ["LPIPS", grouped(part.lpips, 4), "mean; 0 is best"],
    [`Differing ${units}`, percent(part.differing_bits, part.num_bits),
      `${grouped(part.differing_bits)} of ${grouped(part.num_bits)}`],
  ]);
}

/** PSNR against bits per pixel; where all clips have one rate, against their rank. `parts`: [label, Sample]. */
function qualityChart(parts, units) {
  const points = parts.flatMap(([label, part], place) => sorted(part.clips.filter((clip) => clip.psnr_db !== null),
    (clip) => clip.psnr_db, false).map((clip, rank) => ({ clip, rank: rank + 1, label, place })));
  if (!points.length) return null;
  const rates = new Set(points.map((point) => point.clip.bits_per_pixel.toPrecision(6)));
  const byRate = rates.size > 1;
  const groups = parts.flatMap(([label], place) => [false, true].map((differs) => ({
    name: [label, differs ? `${units} differ` : `${units} equal`].filter(Boolean).join(", "),
    place, differs,
    points: points.filter((point) => point.place === place && Boolean(point.clip.differing_bits) === differs),
  }))).filter((group) => group.points.length);
  const title = byRate ? "Quality against bits per pixel" : "Quality of the sampled clips";
  return chart({
    title,
    note: byRate ? null : `All at ${[...rates].map(Number)[0]} bits per pixel; from the lowest PSNR to the highest`,
    height: 260,
    option: (colours) => ({
      grid: { left: 52, right: 20, top: 48, bottom: 40 },
      legend: legend(colours),
      tooltip: tooltip(colours, (params) => {
        const { clip } = groups[params.seriesIndex].points[params.dataIndex];
        return [clip.clip.source, span(clip.clip), ...qualityOf(clip, units).map(([name, value]) => `${name} ${value}`)];
      }),
      xAxis: valueAxis(colours, byRate ? "bits per pixel" : "clip", { nameLocation: "middle", nameGap: 26, scale: byRate,
        minInterval: byRate ? 0 : 1, splitLine: { show: false } }),
      yAxis: valueAxis(colours, "dB", { scale: true }),
      series: groups.map((group) => ({ name: group.name, type: "scatter",
        symbol: SYMBOLS[group.place][Number(group.differs)], symbolSize: group.differs ? 11 : 8,
        itemStyle: { color: group.place ? colours.second : colours.first, opacity: 0.85 },
        data: group.points.map(({ clip, rank }) => [byRate ? clip.bits_per_pixel : rank, clip.psnr_db]) })),
    }),
    values: () => table({ label: title, rows: points, columns: [
      ...(parts.length > 1 ? [text("audit", (row) => row.label, { long: false })] : []),
      text("source", (row) => row.clip.clip.source), { label: "span", value: (row) => row.clip.clip.start_ns,
        show: (_, row) => span(row.clip.clip) },
      count("bits per pixel", (row) => row.clip.bits_per_pixel, (value) => grouped(value, 4)),
      count("PSNR (dB)", (row) => row.clip.psnr_db, (value) => grouped(value, 2)),
      count("SSIM", (row) => row.clip.ssim, (value) => grouped(value, 4)),
      count("LPIPS", (row) => row.clip.lpips, (value) => grouped(value, 4)),
      count(`differing ${units}`, (row) => row.clip.differing_bits),
    ] }),
  });
}

function qualityOf(clip, units) {
  return [["PSNR", withUnit(clip.psnr_db, "dB", 2)], ["SSIM", grouped(clip.ssim, 4)], ["LPIPS", grouped(clip.lpips, 4)],
    ["bits per pixel", grouped(clip.bits_per_pixel, 3)],
    [`differing ${units}`, clip.differing_bits === null ? NONE
      : `${grouped(clip.differing_bits)} (${percent(clip.differing_bits, clip.num_bits)})`]];
}

function clipList(rows, units) {
  const box = el("ul", { class: "clips" });
  const pages = pager({ label: "sampled clips", size: 12, show: (part) => box.replaceChildren(...part.map((row) => clipCard(row, units))) });
  const order = select("Order", SAMPLE_ORDERS.map(([key, label]) => [key, label]), "given", (chosen) => {
    const [, , value, descending] = SAMPLE_ORDERS.find(([key]) => key === chosen);
    pages.list(value ? sorted(rows, value, descending) : rows);
  });
  pages.list(rows);
  return el("div", {}, el("h3", {}, "Clips"), el("p", { class: "small quiet" }, "Original above, reconstruction below."),
    el("div", { class: "controls" }, order), box, pages.box);
}

function clipCard({ clip, picture }, units) {
  const { source, key } = clip.clip;
  return el("li", {}, clipPicture(clip, picture),
    el("p", { class: "mono" }, foreign(source), key !== null && [" · ", foreign(key)]),
    el("p", { class: "small" }, clip.clip.start_ns === clip.clip.end_ns ? "An image" : `${span(clip.clip)}, ${several(clip.num_frames, "frame")}`),
    el("dl", { class: "values small" }, qualityOf(clip, units).map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    clip.problem !== null && el("p", { class: "small" }, "✕ ", foreign(clip.problem)),
    clip.differs_at.length ? folded(`Where ${units} differ`, () =>
      el("ul", { class: "small" }, clip.differs_at.map((place) => el("li", {}, foreign(place))))) : null,
    el("p", { class: "small quiet" }, "Clip ", foreign(clip.clip.clip_id, "mono")));
}

function clipPicture(clip, picture) {
  if (!picture) return clip.picture === null ? null : el("p", { class: "small quiet" }, "The picture is not at hand.");
  const name = `${clip.clip.source}, ${span(clip.clip)}`;
  return el("button", { type: "button", class: "picture", "aria-label": `Enlarge: ${name}`,
    onclick: () => enlarge(picture, name) },
  el("img", { src: picture, alt: `Original and reconstructed frames of ${name}`, decoding: "async" }));
}

function enlarge(picture, name) {
  const close = el("button", { type: "button", onclick: () => box.close() }, "Close");
  const box = el("dialog", { "aria-label": name, onclose: () => box.remove() },
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Picture" },
      el("img", { src: picture, alt: `Original and reconstructed frames of ${name}` })), close);
  document.body.append(box);
  box.showModal();
}
