// Clips that are alike.

function duplicates(report) {
  const part = report.duplicates;
  if (!part) return null;
  return section("duplicates", "Duplicates", figures([
    ["Exact", several(part.exact_clips, "clip"), `beyond the first, in ${several(part.exact_groups, "group")}`],
    ["Near", several(part.near_clips, "clip"),
      `beyond the first, in ${several(part.near_groups, "group")}; up to ${percent(part.radius, 1)} of the bits differ`],
  ]), el("p", { class: "small" }, foreign(part.method)),
  part.others.length ? el("div", { class: "small" }, el("p", {}, "Compared with:"),
    el("ul", {}, part.others.map((name) => el("li", {}, foreign(name, "mono"))))) : null,
  part.list_file !== null && el("p", { class: "small" }, "All clips beyond the first of each group are listed in ",
    foreign(part.list_file, "mono"), ", beside audit.json."),
  part.groups.length ? groupList(part) : el("p", {}, "No clips are alike."));
}

function groupList(part) {
  const box = el("div");
  const pages = pager({ label: "groups", size: 20, show: (groups) => box.replaceChildren(...groups.map(group)) });
  pages.list(part.groups);
  const all = part.exact_groups + part.near_groups;
  return el("div", {}, el("h3", {}, "Groups"), el("p", { class: "small quiet" }, part.groups.length < all
    ? `The ${grouped(part.groups.length)} largest of ${grouped(all)}` : `All ${grouped(all)}, largest first`),
  box, pages.box);
}

function group(part) {
  const likeness = part.distance === 0 ? "the same codes" : `up to ${percent(part.distance, 1)} of the bits differ`;
  const first = part.clips[0];
  const summary = el("span", {}, el("strong", {}, several(part.num_clips, "clip")), `, ${likeness}`,
    first ? [": ", foreign(first.source, "mono")] : []);
  return folded(summary, () => table({
    label: "Clips of the group",
    note: part.clips.length < part.num_clips ? `The first ${part.clips.length} of ${grouped(part.num_clips)}` : null,
    rows: part.clips,
    columns: [text("source", (clip) => clip.source), text("key", (clip) => clip.key),
      { label: "span", value: (clip) => clip.start_ns, show: (_, clip) => span(clip) },
      text("clip", (clip) => clip.clip_id), text("dataset", (clip) => clip.dataset, { empty: "this one" })],
  }));
}
