// A long list shown in parts.

/**
 * `show(rows)` is called with the rows of the page in view. Returns the buttons' box and `list(rows)`, which starts
 * over with other rows. The box is empty where one page holds all.
 */
function pager({ label, size, show }) {
  let rows = [];
  let page = 0;
  const place = el("p", { class: "small quiet", role: "status" });
  const back = el("button", { type: "button", onclick: () => go(page - 1) }, "Previous");
  const on = el("button", { type: "button", onclick: () => go(page + 1) }, "Next");
  const box = el("div", { class: "controls", role: "group", "aria-label": `Pages of ${label}` }, back, on, place);

  function go(target) {
    const last = Math.max(0, Math.ceil(rows.length / size) - 1);
    page = Math.min(Math.max(target, 0), last);
    const start = page * size;
    const shown = rows.slice(start, start + size);
    show(shown);
    back.disabled = page === 0;
    on.disabled = page === last;
    box.hidden = last === 0;
    place.textContent = `${grouped(start + 1)}–${grouped(start + shown.length)} of ${grouped(rows.length)}`;
  }

  return {
    box,
    list(next) {
      rows = next;
      go(0);
    },
  };
}
