/** Makes and keeps elements; text never becomes markup. */

/**
 * An element. An attribute that is null, undefined or false is left out.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes]
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    setAttribute(made, name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** @param {Element} target @param {string} name @param {string | number | boolean | null | undefined} value */
export function setAttribute(target, name, value) {
  if (value === null || value === undefined || value === false) {
    target.removeAttribute(name);
  } else if (target.getAttribute(name) !== String(value === true ? "" : value)) {
    target.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Changes the text only if it differs, so that a screen reader says it once. @param {Element} target @param {string} text */
export function setText(target, text) {
  if (target.textContent !== text) {
    target.textContent = text;
  }
}

/**
 * The element with this id.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`the page has no #${id}`);
  }
  return found;
}

/**
 * Makes the children of `parent` those of `items`, in order. Elements stay with their keys, so focus and hover stay.
 *
 * @template Item
 * @param {Element} parent
 * @param {readonly Item[]} items
 * @param {(item: Item) => string} keyOf
 * @param {(item: Item) => HTMLElement} make
 * @param {(row: HTMLElement, item: Item) => void} update
 */
export function keep(parent, items, keyOf, make, update) {
  const known = new Map(
    [...parent.children].map((child) => [/** @type {HTMLElement} */ (child).dataset.key, child]),
  );
  items.forEach((item, i) => {
    const key = keyOf(item);
    const row = /** @type {HTMLElement} */ (known.get(key) ?? make(item));
    row.dataset.key = key;
    known.delete(key);
    update(row, item);
    if (parent.children[i] !== row) {
      parent.insertBefore(row, parent.children[i] ?? null);
    }
  });
  for (const gone of known.values()) {
    gone.remove();
  }
}

/** Saves text as a file of the person who looks. @param {string} name @param {string} text */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  element("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}
