// Small tools for the document. Whatever comes from the server goes in as text, never as markup.

export const find = (id) => document.getElementById(id);
export const slot = (root, name) => root.querySelector(`[data-slot="${name}"]`);

// Change a text only when it differs: a screen reader and a selection are left alone.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function badge(node, text, mood) {
  say(node, text);
  node.dataset.mood = mood;
}

export function make(template) {
  return find(template).content.firstElementChild.cloneNode(true);
}

// Show or hide; focus that would be lost goes to the next button beside, else to the card.
export function show(node, visible) {
  if (node.hidden === !visible) return;
  const hadFocus = node.contains(document.activeElement);
  node.hidden = !visible;
  if (visible || !hadFocus) return;
  const beside = [...node.parentElement.querySelectorAll("button")].find((one) => !one.hidden);
  (beside || node.closest("[tabindex='-1']") || node.closest("section").querySelector("h2")).focus();
}

// Make the children of a list match the things, by key: a node stays the same node for as long as its thing lives.
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

// Say which part of a long list is shown, and lead to the parts beside it.
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

// Ask before something that can't be undone.
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

// Show something to read; returns the element that it goes into.
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
