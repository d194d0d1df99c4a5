/**
 * Elements, messages and dialogs.
 *
 * Invariant: what comes from the platform reaches the page as text, never as markup.
 */

const TOASTS_MAX = 4;
const TOAST_MS = 9_000;

let dialogs = 0;

export const byId = (id) => document.getElementById(id);

/**
 * Return a new element. `props` may hold `class`, `text`, `dataset`, `on` (listeners), attributes by their name
 * (null or false leaves one out); `children` are elements or strings.
 */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "on")
      for (const [type, heard] of Object.entries(value)) element.addEventListener(type, heard);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return an element only screen readers meet. */
export const spoken = (text) => el("span", { class: "spoken", text });

/** Set an element's text only where it differs, so that nothing is announced or laid out anew for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show only what `shown` says. */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Make `parent`'s children just `wanted`, in order, moving as few as possible. */
export function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}

/** Say an outcome: `tone` is "good", "bad" or "plain". */
export function toast(text, tone = "plain") {
  const region = byId("toasts");
  const note = el("div", { class: "toast", dataset: { tone } }, el("span", { text }));
  const drop = () => note.remove();
  note.append(
    el("button", { type: "button", class: "quiet", "aria-label": "Dismiss", text: "×", on: { click: drop } }),
  );
  while (region.children.length >= TOASTS_MAX) region.firstElementChild.remove();
  region.append(note);
  setTimeout(drop, TOAST_MS);
}

/** Show `text` in a form's own message line; empty clears it. */
export function say(line, text, tone = "bad") {
  line.dataset.tone = tone;
  setText(line, text);
}

/**
 * Ask before something that can't be taken back lightly; resolves true only where the person confirms. Esc and
 * "Cancel" answer no.
 */
export function confirmed({ title, text, action, tone = "bad" }) {
  const id = `dialog-title-${(dialogs += 1)}`;
  const yes = el("button", { type: "submit", value: "yes", class: "button", dataset: { tone }, text: action });
  const no = el("button", { type: "submit", value: "no", class: "button plain", autofocus: true, text: "Cancel" });
  const dialog = el(
    "dialog",
    { class: "dialog", "aria-labelledby": id },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id, text: title }),
      el("p", { text }),
      el("div", { class: "row end" }, no, yes),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

/** Run `work` with `button` held, so that one press is one request. */
export async function held(button, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await work();
  } finally {
    button.removeAttribute("aria-disabled");
  }
}
