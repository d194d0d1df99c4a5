/**
 * What the book stands to lose, by selection.
 *
 * Invariant: sums are exact (BigInt) and of what the platform answered in one piece.
 */

import { get } from "./api.js";
import { byId, el, setText, show } from "./dom.js";
import { parseScaled, showMinor } from "./money.js";

const DIGITS = 2; // an amount finer than this is shown by its bar alone
const MARKETS_SHOWN_MAX = 40;

export class Liability {
  #answer = null;
  #shown = "";

  /** Read liabilities anew. */
  async refresh() {
    this.#answer = await get("/trading/liability");
  }

  /** Show them; `eventNames` maps event ids to names. */
  render(eventNames) {
    const answer = this.#answer;
    if (answer === null) return; // the search can be used before the first answer is there
    const text = JSON.stringify([answer, answer.markets.map((market) => eventNames.get(market.event_id))]);
    if (text === this.#shown) return;
    this.#shown = text;
    const markets = answer.markets.map(reckoned).sort((one, other) => (one.worst < other.worst ? 1 : -1));
    this.#showFigures(markets, answer.currency);
    const most = markets[0]?.worst ?? 1n;
    byId("liability").replaceChildren(
      ...markets
        .slice(0, MARKETS_SHOWN_MAX)
        .map((market) => table(market, eventNames.get(market.event_id), most, answer.currency)),
    );
    show(byId("no-liability"), markets.length === 0);
  }

  #showFigures(markets, currency) {
    const bets = markets.reduce((sum, market) => sum + market.bets, 0);
    setText(byId("figure-bets"), bets.toLocaleString("en-GB"));
    setText(
      byId("figure-stakes"),
      showMinor(
        markets.reduce((sum, market) => sum + market.stakes, 0n),
        currency,
      ),
    );
    setText(byId("figure-liability"), showMinor(markets[0]?.worst ?? 0n, currency));
  }
}

function reckoned(market) {
  const selections = market.selections.map((selection) => ({
    ...selection,
    stakes: minor(selection.stakes),
    liability: minor(selection.liability),
  }));
  const stakes = selections.reduce((sum, selection) => sum + selection.stakes, 0n);
  return {
    ...market,
    stakes,
    bets: selections.reduce((sum, selection) => sum + selection.bets, 0),
    worst: selections.reduce((most, { liability }) => (liability > most ? liability : most), 0n),
    // If a selection wins, the stakes on the others stay with the book.
    selections: selections.map((selection) => ({
      ...selection,
      net: stakes - selection.stakes - selection.liability,
    })),
  };
}

function table(market, eventName, most, currency) {
  const head = ["Selection", "Bets", "Liability", "Book if it wins"];
  return el(
    "table",
    { dataset: { market: market.market_id } },
    el(
      "caption",
      {},
      el(
        "span",
        {},
        el("strong", { text: market.name }),
        el("span", { class: "dim", text: `${showMinor(market.stakes, currency)} staked` }),
      ),
      el("small", { class: "dim", text: eventName ?? market.event_id }),
    ),
    el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col", text })))),
    el("tbody", {}, ...market.selections.map((selection) => row(selection, most, currency))),
  );
}

function row(selection, most, currency) {
  const bar = el("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${most === 0n ? 0 : Number((selection.liability * 1000n) / most) / 10}%`);
  const gain = selection.net >= 0n;
  return el(
    "tr",
    {},
    el("th", { scope: "row", text: selection.name }),
    el("td", { text: String(selection.bets) }),
    el("td", { class: "amount" }, bar, showMinor(selection.liability, currency)),
    el("td", { class: gain ? "gain" : "loss", text: `${gain ? "+" : ""}${showMinor(selection.net, currency)}` }),
  );
}

function minor(amount) {
  return parseScaled(amount, DIGITS) ?? 0n;
}
