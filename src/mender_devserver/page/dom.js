// Helpers for the DOM. Data from the server is inserted as text, never as markup.

export const find = (id) => document.getElementById(id);
export const slot = (root, name) => root.querySelector(`[data-slot="${name}"]`);

// Change a text only if it differs, in order not to disturb screen readers and selections.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function badge(node, text, tone) {
  say(node, text);
  node.dataset.tone = tone;
}

export function make(template) {
  return find(template).content.firstElementChild.cloneNode(true);
}

// Show or hide a node; focus that would be lost moves to a visible button beside it, otherwise to the card.
export function show(node, visible) {
  if (node.hidden === !visible) return;
  const hadFocus = node.contains(document.activeElement);
  node.hidden = !visible;
  if (visible || !hadFocus) return;
  const beside = [...node.parentElement.querySelectorAll("button")].find((one) => !one.hidden);
  (beside || node.closest("[tabindex='-1']") || node.closest("section").querySelector("h2")).focus();
}

// Make the children of a list match the objects, by key: an object keeps its node as long as it exists.
export function match(list, things, template, begin, fill) {
  const nodes = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const keys = new Set(things.map(([key]) => key));
  for (const [key, node] of nodes) {
    if (keys.has(key)) continue;
    const hadFocus = node.contains(document.activeElement);
    const next = node.nextElementSibling || node.previousElementSibling;
    node.remove();
    if (hadFocus) (next || (list.closest("section") || list).querySelector("h2") || list).focus();
  }
  let place = list.firstElementChild;
  for (const [key, thing] of things) {
    let node = nodes.get(key);
    if (!node) {
      node = make(template);
      node.dataset.key = key;
      begin(node, key);
    }
    if (node === place) place = place.nextElementSibling;
    else {
      const focused = node.contains(document.activeElement) && document.activeElement;
      list.insertBefore(node, place);
      if (focused) focused.focus();
    }
    fill(node, thing);
  }
}

// Show which part of a long list is displayed, with links to the previous and next parts.
export function fillPager(pager, place, what, go) {
  show(pager, place.parts > 1);
  say(slot(pager, "place"), `${place.first} to ${place.last} of ${place.of}`);
  for (const [name, step, word] of [["back", -1, "Previous"], ["on", 1, "Next"]]) {
    const button = slot(pager, name);
    button.setAttribute("aria-label", `${word} ${what}`);
    button.onclick = () => go(place.part + step);
    show(button, place.part + step >= 1 && place.part + step <= place.parts);
  }
}

// Ask for confirmation of an action that can't be undone.
export function sure(title, text, word) {
  const dialog = find("sure");
  say(slot(dialog, "title"), title);
  say(slot(dialog, "text"), text);
  say(slot(dialog, "yes"), word);
  dialog.returnValue = "";
  slot(dialog, "no").onclick = () => dialog.close("");
  slot(dialog, "yes").onclick = () => dialog.close("yes");
  dialog.showModal();
  return new Promise((done) => { dialog.onclose = () => done(dialog.returnValue === "yes"); });
}

// Open a dialog with read-only content; returns the element for the content.
export function reader(title, closed = () => {}) {
  const dialog = find("show");
  const content = slot(dialog, "content");
  say(slot(dialog, "title"), title);
  content.replaceChildren();
  dialog.onclose = closed;
  slot(dialog, "close").onclick = () => dialog.close();
  dialog.showModal();
  return content;
}

export function complain(text) {
  say(slot(find("problem"), "text"), text);
  find("problem").hidden = false;
}
