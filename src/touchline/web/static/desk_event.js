/**
 * One event on the desk: its markets, each with its prices and the steps that its status allows.
 *
 * Invariant: only steps of the market's lifecycle are offered; those that move money are asked about first.
 */

import { Away, post } from "./api.js";
import { platformNowMs } from "./clock.js";
import { arrange, confirmed, el, held, setText, show, spoken, toast } from "./dom.js";
import { settleDialog } from "./settle.js";
import { ago, inWords, sentenceCase } from "./words.js";

const STEPS = {
  active: ["suspend", "settle", "void"],
  suspended: ["resume", "settle", "void"],
  closed: ["resume", "settle", "void"],
  settled: ["rollback", "void"],
  void: ["rollback"],
};
const DONE = {
  suspend: "Suspended",
  resume: "Resumed",
  settle: "Settlement started",
  void: "Void started",
  rollback: "Rollback started",
};
const LABELS = {
  suspend: "Suspend",
  resume: "Resume",
  settle: "Settle…",
  void: "Void…",
  rollback: "Roll back…",
};
const AT_ONCE_MAX = 50; // markets of one event stepped by one press

export class DeskEvent {
  #settlements;
  #onStep;
  #rows = new Map();
  #event;

  constructor({ settlements, onStep }) {
    this.#settlements = settlements;
    this.#onStep = onStep;
    this.name = el("h2");
    this.about = el("span", { class: "dim" });
    this.score = el("strong", { class: "event-score" });
    this.all = el("button", {
      type: "button",
      class: "button plain small",
      on: { click: () => held(this.all, () => this.#stepAll()) },
    });
    this.rows = el("div", { class: "rows" });
    this.element = el(
      "section",
      { class: "card event" },
      el("div", { class: "event-head" }, el("div", {}, this.name, this.about), this.score, this.all),
      this.rows,
    );
  }

  update(event, markets) {
    this.#event = event;
    this.element.dataset.event = event.event_id;
    setText(this.name, event.name);
    setText(
      this.about,
      [event.competition, event.status === "live" ? event.clock : event.status].filter(Boolean).join(" · "),
    );
    setText(this.score, event.score ?? "");
    const step = this.#stepOfAll();
    show(this.all, step !== null);
    setText(this.all, step === "suspend" ? "Suspend all" : "Resume all");
    this.all.setAttribute("aria-label", `${this.all.textContent} markets of ${event.name}`);
    arrange(
      this.rows,
      markets.map((market) => this.#row(market).element),
    );
  }

  #row(market) {
    let row = this.#rows.get(market.market_id);
    if (row === undefined) {
      row = new DeskMarket((step) => this.#step(market.market_id, step));
      this.#rows.set(market.market_id, row);
    }
    row.update(market, this.#settlements.of(market.market_id));
    return row;
  }

  #stepOfAll() {
    if (this.#event.markets.some((market) => market.status === "active")) return "suspend";
    return this.#event.markets.some((market) => market.status === "suspended") ? "resume" : null;
  }

  async #stepAll() {
    const step = this.#stepOfAll();
    const from = step === "suspend" ? "active" : "suspended";
    const markets = this.#event.markets.filter((market) => market.status === from).slice(0, AT_ONCE_MAX);
    const done = await Promise.all(markets.map((market) => take(market, step)));
    const count = done.filter(Boolean).length;
    if (count > 0) toast(`${DONE[step]}: ${count} of ${markets.length} markets of ${this.#event.name}.`, "good");
    this.#onStep();
  }

  async #step(marketId, step) {
    const market = this.#event.markets.find((candidate) => candidate.market_id === marketId);
    const body = await agreed(market, this.#event, step);
    if (body === null) return;
    if (await take(market, step, body)) {
      toast(`${DONE[step]}: ${market.name}, ${this.#event.name}.`, "good");
      if (step !== "suspend" && step !== "resume") this.#settlements.watch(market.market_id);
    }
    this.#onStep();
  }
}

class DeskMarket {
  #onStep;
  #buttons = new Map();

  constructor(onStep) {
    this.#onStep = onStep;
    this.name = el("h3");
    this.status = el("span", { class: "badge" });
    this.age = el("small", { class: "dim" });
    this.prices = el("ul", { class: "quotes" });
    this.steps = el("div", { class: "steps" });
    this.progress = el("div", { class: "progress" });
    this.element = el(
      "div",
      { class: "desk-market", role: "group" },
      el("div", { class: "what" }, this.name, this.status, this.age),
      this.prices,
      this.steps,
      this.progress,
    );
  }

  update(market, settlement) {
    this.element.dataset.market = market.market_id;
    this.element.dataset.status = market.status;
    this.element.setAttribute("aria-label", market.name);
    setText(this.name, market.name);
    setText(this.status, market.status);
    setText(this.age, `v${market.odds_version} · ${ago(platformNowMs() - Date.parse(market.updated_at))}`);
    this.#showPrices(market, settlement);
    arrange(
      this.steps,
      STEPS[market.status].map((step) => this.#button(step, market.name)),
    );
    this.#showProgress(settlement);
  }

  #showPrices(market, settlement) {
    const results = market.status === "settled" && settlement?.kind === "settle" ? settlement.results : {};
    const items = market.selections.map((selection) => {
      const result = results[selection.selection_id]?.result ?? "";
      return [
        selection.name,
        selection.odds ?? "–",
        result || (selection.status === "active" ? "" : selection.status),
        result,
      ];
    });
    const shown = JSON.stringify(items);
    if (this.prices.dataset.shown === shown) return;
    this.prices.dataset.shown = shown;
    this.prices.replaceChildren(
      ...items.map(([name, odds, word, result]) =>
        el(
          "li",
          { dataset: { result } },
          el("span", { class: "dim", text: name }),
          el("strong", { text: odds }),
          word ? el("em", { text: word }) : null,
        ),
      ),
    );
  }

  #showProgress(settlement) {
    const unfinished = settlement !== null && settlement.finished_at === null;
    show(this.progress, settlement !== null);
    if (settlement === null) return;
    if (this.progress.children.length === 0) {
      this.bar = el("progress", { "aria-label": "Settlement progress" });
      this.words = el("span");
      this.progress.append(this.bar, this.words);
    }
    show(this.bar, unfinished);
    this.bar.max = Math.max(1, settlement.bets_total);
    this.bar.value = settlement.bets_done;
    setText(this.words, progressWords(settlement));
  }

  #button(step, marketName) {
    let button = this.#buttons.get(step);
    if (button === undefined) {
      const press = () => held(button, () => this.#onStep(step));
      const kind = step === "void" || step === "rollback" ? "button plain small risky" : "button plain small";
      button = el(
        "button",
        { type: "button", class: kind, dataset: { step }, on: { click: press } },
        LABELS[step],
        spoken(` ${marketName}`),
      );
      this.#buttons.set(step, button);
    }
    return button;
  }
}

function progressWords({ kind, bets_done: done, bets_total: total, finished_at: finishedAt }) {
  const words = { settle: "Settled", void: "Voided" }[kind] ?? "Rolled back";
  if (finishedAt !== null) return `${words}: ${total} ${total === 1 ? "bet" : "bets"}.`;
  return `${{ settle: "Settling", void: "Voiding" }[kind] ?? "Rolling back"}: ${done} of ${total} bets.`;
}

/** Return the body of a step once the trader agrees, null where he does not. */
async function agreed(market, event, step) {
  if (step === "settle") return settleDialog(market, event);
  const questions = {
    void: {
      title: `Void ${market.name}?`,
      text: `${event.name}. Every open bet gets its stake back; a settlement that stands is taken back first.`,
      action: "Void market",
    },
    rollback: {
      title: `Roll back ${market.name}?`,
      text:
        `${event.name}. What was paid is taken back and the bets are open again. ` +
        "The market is suspended afterwards.",
      action: "Roll back",
    },
  };
  const question = questions[step];
  return question === undefined || (await confirmed(question)) ? {} : null;
}

async function take(market, step, body = {}) {
  try {
    await post(`/trading/markets/${encodeURIComponent(market.market_id)}/${step}`, body);
    return true;
  } catch (error) {
    const why = error instanceof Away || error.code === "FORBIDDEN" ? inWords(error) : sentenceCase(error.detail);
    toast(`${market.name}: ${why}`, "bad");
    return false;
  }
}
