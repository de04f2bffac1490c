// Tables that sort by any column, filter and page.

const collator = new Intl.Collator("en", { numeric: true });

function compared(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b));
}

/** Rows in the order of what `value` tells of them, equal ones as they were; untold ones last either way. */
function sorted(rows, value, descending) {
  const told = (row) => value(row) !== null && value(row) !== undefined;
  const known = rows.filter(told);
  known.sort((a, b) => (descending ? -1 : 1) * compared(value(a), value(b)));
  return [...known, ...rows.filter((row) => !told(row))];
}

function cell(column, row) {
  const value = column.value(row);
  const shown = column.show ? column.show(value, row) : value;
  const kind = column.number ? "number" : column.long ? "long" : null;
  return el("td", { class: kind }, shown === null || shown === undefined ? NONE : shown);
}

/**
 * `columns`: {label, value(row), show(value, row)?, number?, long?}. `search(row)` gives the text that the filter looks
 * at; `facet`: {label, value(row), options}. Neither is shown where it is absent.
 */
function table({ label, columns, rows, size = 50, search = null, facet = null, note = null }) {
  const body = el("tbody");
  const heads = columns.map((column, place) => el("th", { scope: "col", class: column.number ? "number" : null,
    "aria-sort": "none" }, el("button", { type: "button", onclick: () => sort(place) }, column.label)));
  const pages = pager({ label, size, show: (part) =>
    body.replaceChildren(...part.map((row) => el("tr", {}, columns.map((column) => cell(column, row))))) });
  const found = el("p", { class: "small quiet", role: "status" });
  const wanted = { text: "", facet: "" };
  let order = null;

  function sort(place) {
    order = { place, descending: order?.place === place ? !order.descending : false };
    heads.forEach((head, index) => head.setAttribute("aria-sort",
      index !== place ? "none" : order.descending ? "descending" : "ascending"));
    list();
  }

  function list() {
    const words = wanted.text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const kept = rows.filter((row) => (!wanted.facet || facet.value(row) === wanted.facet)
      && words.every((word) => search(row).toLocaleLowerCase().includes(word)));
    found.textContent = kept.length === rows.length ? several(rows.length, "row")
      : `${grouped(kept.length)} of ${several(rows.length, "row")}`;
    pages.list(order ? sorted(kept, columns[order.place].value, order.descending) : kept);
  }

  const filter = search && el("input", { type: "search", autocomplete: "off", spellcheck: "false",
    oninput: (event) => { wanted.text = event.target.value; list(); } });
  const controls = (search || facet) && el("div", { class: "controls" },
    search && el("label", {}, "Filter by text", filter),
    facet && select(facet.label, [["", "all"], ...facet.options], "", (value) => { wanted.facet = value; list(); }),
    found);
  list();
  return el("div", { class: "table" }, controls,
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
      el("table", {}, note && el("caption", {}, note), el("thead", {}, el("tr", {}, heads)), body)),
    pages.box);
}

/** A column of whole numbers. */
function count(label, value, show = grouped) {
  return { label, value, show: (shown) => (shown === null || shown === undefined ? NONE : show(shown)), number: true };
}

/** A column of text from outside; `long` where it may be more than a word. */
function text(label, value, { empty = NONE, long = true } = {}) {
  return { label, value, long, show: (shown) => (shown === null ? untold(empty) : foreign(shown)) };
}
