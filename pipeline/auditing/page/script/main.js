// The page put together.

const data = JSON.parse(document.getElementById("data").textContent);

function auditPage(report, pictures) {
  return [header(report), verdict(report), numbers(report), findings(report), coverage(report),
    frameSizes(report), failures(report), distributions(report), codes(report), sample(report, pictures),
    duplicates(report), leftOut(report), origin(report)];
}

function comparisonPage(reports) {
  return [comparisonHeader(reports), totalsCompared(reports), findingsCompared(reports), coverageCompared(reports),
    reasonsCompared(reports), codesCompared(reports), sampleCompared(reports), duplicatesCompared(reports)];
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const toggle = document.getElementById("theme");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : dark.matches;
}

function themed() {
  toggle.textContent = isDark() ? "Light" : "Dark";
  toggle.setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
  charts.forEach((figure) => figure.redraw());
}

toggle.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  themed();
});
dark.addEventListener("change", themed);

append(document.getElementById("content"), data.page === "audit" ? auditPage(data.report, data.pictures)
  : comparisonPage(data.reports));
append(document.getElementById("sections"), sections.map(([id, title]) =>
  el("li", {}, el("a", { href: `#${id}` }, title))));
themed();
