// Elements of the page. Text gets in as text nodes only, never as markup.

function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
  }
}

/** Text from outside, which may run from right to left, kept to itself. */
function foreign(text, className = "") {
  return el("bdi", { class: `foreign ${className}`.trim() }, text);
}

function untold(text = "not told") {
  return el("span", { class: "quiet" }, text);
}

/** A list of label and value, and a line below the value where there is more to say. */
function figures(entries) {
  return el("dl", { class: "figures" }, entries.filter(Boolean).map(([label, value, more]) =>
    el("div", {}, el("dt", {}, label), el("dd", {}, value), more && el("dd", { class: "more" }, more))));
}

function select(label, options, value, onchange) {
  const box = el("select", { onchange: () => onchange(box.value) },
    options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
  return el("label", {}, label, box);
}

/** What opens on demand; `make` is called at the first opening. */
function folded(summary, make, className = "inset") {
  const body = el("div", { class: className });
  const box = el("details", { ontoggle: () => {
    if (box.open && !body.firstChild) append(body, [make()]);
  } }, el("summary", {}, summary), body);
  return box;
}

const sections = [];

/** A section with its heading, listed in the navigation. */
function section(id, title, ...children) {
  sections.push([id, title]);
  const heading = `${id}-title`;
  return el("section", { id, "aria-labelledby": heading }, el("h2", { id: heading }, title), ...children);
}
