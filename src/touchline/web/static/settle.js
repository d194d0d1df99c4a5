/**
 * The form that settles a market: a result for each selection, read once more before it counts.
 *
 * Invariant: a request names every selection, and is sent only after the trader has seen all results together.
 */

import { el, say, setText, show } from "./dom.js";

const RESULTS = ["won", "lost", "void"];

/** Ask for the results of `market`; resolves to the request's body, or null where the trader leaves. */
export function settleDialog(market, event) {
  const form = new SettleForm(market, event);
  document.body.append(form.dialog);
  form.dialog.showModal();
  return new Promise((resolve) => {
    form.dialog.addEventListener("close", () => {
      form.dialog.remove();
      resolve(form.dialog.returnValue === "settle" ? { results: form.results() } : null);
    });
  });
}

class SettleForm {
  #market;
  #reviewed = false;

  constructor(market, event) {
    this.#market = market;
    this.says = el("p", { class: "says", role: "alert" });
    this.choices = el(
      "div",
      { class: "choices" },
      ...market.selections.map((selection) => this.#choice(selection)),
    );
    this.review = el("p", { class: "note", role: "status", hidden: true });
    this.back = el("button", {
      type: "button",
      class: "button plain",
      text: "Cancel",
      on: { click: () => this.#goBack() },
    });
    this.forward = el("button", { class: "button", text: "Review" });
    this.dialog = el(
      "dialog",
      { class: "dialog", "aria-labelledby": "settle-title" },
      el(
        "form",
        {
          novalidate: true,
          on: { submit: (submitted) => this.#submit(submitted), change: () => this.#changed() },
        },
        el("h2", { id: "settle-title", text: `Settle ${market.name}` }),
        el("p", { class: "dim", text: [event.name, event.score].filter(Boolean).join(" · ") }),
        this.choices,
        this.review,
        this.says,
        el("div", { class: "row end" }, this.back, this.forward),
      ),
    );
  }

  /** Return the result of each selection. */
  results() {
    return Object.fromEntries(this.#chosen());
  }

  #choice(selection) {
    const id = selection.selection_id;
    const withdrawn = selection.status === "removed" ? "void" : "";
    const radios = RESULTS.map((result) =>
      el(
        "label",
        {},
        el("input", { type: "radio", name: id, value: result, checked: withdrawn === result }),
        ` ${result.charAt(0).toUpperCase()}${result.slice(1)}`,
      ),
    );
    return el("fieldset", { dataset: { selection: id } }, el("legend", { text: selection.name }), ...radios);
  }

  #chosen() {
    return this.#market.selections.map(({ selection_id: id }) => {
      const set = this.choices.querySelector(`[data-selection="${CSS.escape(id)}"]`);
      return [id, set.querySelector("input:checked")?.value ?? null];
    });
  }

  /** Once there is a winner, what is not decided is lost. */
  #changed() {
    say(this.says, "");
    const chosen = this.#chosen();
    if (!chosen.some(([, result]) => result === "won")) return;
    for (const [id, result] of chosen) {
      if (result !== null) continue;
      const set = this.choices.querySelector(`[data-selection="${CSS.escape(id)}"]`);
      set.querySelector("input[value=lost]").checked = true;
    }
  }

  #submit(submitted) {
    submitted.preventDefault();
    if (this.#reviewed) {
      this.dialog.close("settle");
      return;
    }
    const missing = this.#chosen().filter(([, result]) => result === null).length;
    if (missing > 0) {
      say(
        this.says,
        `${missing} ${missing === 1 ? "selection has" : "selections have"} no result. ` +
          "Pick the winner, or a result for each.",
      );
      return;
    }
    this.#turn(true);
  }

  #goBack() {
    if (this.#reviewed) this.#turn(false);
    else this.dialog.close();
  }

  #turn(reviewed) {
    this.#reviewed = reviewed;
    for (const radio of this.choices.querySelectorAll("input")) radio.disabled = reviewed;
    show(this.review, reviewed);
    setText(this.review, reviewed ? `${this.#summary()} All open bets are paid by this at once.` : "");
    setText(this.back, reviewed ? "Change" : "Cancel");
    setText(this.forward, reviewed ? "Settle market" : "Review");
    this.forward.classList.toggle("danger", reviewed);
  }

  #summary() {
    const names = new Map(this.#market.selections.map((selection) => [selection.selection_id, selection.name]));
    const of = (wanted) =>
      this.#chosen()
        .filter(([, result]) => result === wanted)
        .map(([id]) => names.get(id));
    const [won, lost, voided] = RESULTS.map(of);
    const parts = [
      won.length > 0 ? `Won: ${won.join(", ")}.` : "No winner.",
      lost.length > 0 ? `Lost: ${lost.length > 3 ? `the ${lost.length} others` : lost.join(", ")}.` : "",
      voided.length > 0 ? `Void: ${voided.join(", ")}.` : "",
    ];
    return parts.filter(Boolean).join(" ");
  }
}
