/**
 * Limits that players set on themselves, and self-exclusion.
 *
 * Invariant: only what the player changed is asked for; what the platform answers is what is shown.
 */

import { get, post, put } from "./api.js";
import { byId, confirmed, el, held, say, setText, show, toast } from "./dom.js";
import { minorToText, parseTypedMinor, showMoney } from "./money.js";
import { inWords, sentenceCase, when } from "./words.js";

const KINDS = { deposit: "Deposit", stake: "Stake", loss: "Loss" };
const PERIODS = { day: "Day", week: "Week", month: "Month" };

export class Protection {
  #account = null;

  constructor() {
    byId("limits").append(...gridOfLimits());
    byId("limits-form").addEventListener("submit", (event) => {
      event.preventDefault();
      held(event.target.querySelector("button"), () => this.#save());
    });
    byId("exclusion-form").addEventListener("submit", (event) => {
      event.preventDefault();
      held(event.target.querySelector("button"), () => this.#exclude());
    });
  }

  /** Read the account anew; where `fill`, the fields that the player has not touched are filled again. */
  async refresh({ fill }) {
    this.#account = await get("/account");
    const { debt, currency, excluded_until: until } = this.#account;
    show(byId("account-debt"), !/^0(\.0+)?$/.test(debt));
    setText(
      byId("account-debt"),
      `You owe ${showMoney(debt, currency)} from a settlement that was taken back. What comes in repays it first.`,
    );
    show(byId("exclusion"), until !== null);
    setText(
      byId("exclusion"),
      until === null
        ? ""
        : `You have excluded yourself from betting until ${when(until)}. You can still withdraw.`,
    );
    if (fill) this.#showLimits(this.#account.limits);
  }

  #showLimits(limits) {
    for (const field of fields()) {
      if (field.value.trim() !== field.dataset.known) continue;
      field.value = limits[field.dataset.kind]?.[field.dataset.period]?.amount ?? "";
      field.dataset.known = field.value;
    }
    const lines = limits.waiting.map((line) => line.replace(/\S+Z$/, when));
    byId("waiting").replaceChildren(...lines.map((line) => el("li", { text: sentenceCase(line) })));
  }

  async #save() {
    const says = byId("limits-says");
    const { currency } = this.#account;
    const wanted = {};
    for (const field of fields()) {
      const { kind, period, known } = field.dataset;
      const typed = field.value.trim();
      if (typed === known) continue;
      const minor = parseTypedMinor(typed, currency);
      if (typed !== "" && minor === null) {
        say(says, `The ${kind} limit of the ${period} is no amount. Write it as 50.00, or leave it empty.`);
        field.focus();
        return;
      }
      wanted[kind] = { ...wanted[kind], [period]: minor === null ? null : minorToText(minor, currency) };
    }
    if (Object.keys(wanted).length === 0) {
      say(says, "Nothing was changed.", "plain");
      return;
    }
    try {
      await put("/account/limits", wanted);
      for (const field of fields()) field.dataset.known = field.value.trim();
      await this.refresh({ fill: true });
    } catch (error) {
      say(says, inWords(error, currency));
      return;
    }
    const waits = this.#account.limits.waiting.length > 0;
    say(
      says,
      waits ? "Saved. What is raised or removed waits, as listed above." : "Saved. Your limits hold from now on.",
      "good",
    );
  }

  async #exclude() {
    const choice = byId("exclusion-months");
    const length = choice.selectedOptions[0].textContent;
    const yes = await confirmed({
      title: `Stop betting for ${length}?`,
      text:
        "From your next bet on, every bet is refused until this time is over. It can't be shortened or taken back, " +
        "by you or by us. Your open bets stay, and you can withdraw.",
      action: `Exclude me for ${length}`,
    });
    if (!yes) return;
    try {
      await post("/account/self-exclusion", { months: Number(choice.value) });
      await this.refresh({ fill: false });
    } catch (error) {
      say(byId("exclusion-says"), inWords(error));
      return;
    }
    say(byId("exclusion-says"), `You are excluded until ${when(this.#account.excluded_until)}.`, "good");
    toast("Self-exclusion is in force.", "good");
  }
}

function gridOfLimits() {
  const head = ["", ...Object.values(PERIODS)].map((text) =>
    el("span", { class: "dim", "aria-hidden": "true", text }),
  );
  const rows = Object.entries(KINDS).flatMap(([kind, name]) => [
    el("span", { text: name, "aria-hidden": "true" }),
    ...Object.entries(PERIODS).map(([period, word]) =>
      el("input", {
        "aria-label": `${name} limit, ${word.toLowerCase()}`,
        inputmode: "decimal",
        autocomplete: "off",
        placeholder: "none",
        maxlength: 16,
        dataset: { kind, period, known: "" },
      }),
    ),
  ]);
  return [...head, ...rows];
}

function fields() {
  return document.querySelectorAll("#limits input");
}
