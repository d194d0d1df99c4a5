/**
 * One market on the board: its prices as buttons, its status, its version and age.
 *
 * Invariant: a price can be picked only where market and selection are active and priced; a change of price never
 * changes the layout.
 */

import { platformNowMs } from "./clock.js";
import { arrange, el, setText, show } from "./dom.js";
import { ago } from "./words.js";

const GLYPHS = { up: "▲", down: "▼" };

export class MarketView {
  #prices;
  #onPick;
  #buttons = new Map();
  #market;
  #picked = null;

  /** `onPick(marketId, selectionId, byKeyboard)` hears of picked prices. */
  constructor(market, eventName, prices, onPick) {
    this.#market = market;
    this.#prices = prices;
    this.#onPick = onPick;
    this.name = el("h3");
    this.status = el("span", { class: "status" });
    this.delay = el("span", { class: "delay-ms" });
    this.age = el("span", { class: "age" });
    this.grid = el("div", { class: "prices" });
    this.element = el(
      "div",
      {
        class: "market",
        role: "group",
        "aria-label": `${market.name}, ${eventName}`,
        dataset: { market: market.market_id },
      },
      el("div", { class: "market-head" }, this.name, this.status),
      this.grid,
      el("div", { class: "meta" }, this.age, this.delay),
    );
  }

  /** Show the newest known version; `picked` is the selection that is on the slip, or null. */
  update(picked) {
    const market = this.#prices.market(this.#market.market_id) ?? this.#market;
    this.#market = market;
    setText(this.name, market.name);
    this.element.dataset.status = market.status;
    setText(this.status, market.status === "active" ? "" : market.status.toUpperCase());
    show(this.delay, market.bet_delay_ms > 0);
    setText(this.delay, `${market.bet_delay_ms / 1000} s bet delay`);
    this.grid.dataset.columns = columnsFor(market.selections.length);
    this.#picked = picked;
    this.tick();
  }

  /** Show anew what time alone changes: the age, and which way prices moved a moment ago. */
  tick() {
    arrange(
      this.grid,
      this.#market.selections.map((selection) => this.#priced(this.#market, selection, this.#picked)),
    );
    const id = this.#market.market_id;
    const stale = this.#prices.isStale(id);
    this.element.toggleAttribute("data-stale", stale);
    const age = stale
      ? `not refreshed for ${ago(this.#prices.ageMs(id)).replace(" ago", "")}`
      : `updated ${ago(platformNowMs() - Date.parse(this.#market.updated_at))}`;
    setText(this.age, `v${this.#market.odds_version} · ${age}`);
  }

  #priced(market, selection, picked) {
    const id = selection.selection_id;
    let button = this.#buttons.get(id);
    if (button === undefined) {
      button = newPriceButton((event) => this.#press(id, event));
      this.#buttons.set(id, button);
    }
    const open = isBackable(market, selection);
    const move = open ? this.#prices.move(market.market_id, id) : null;
    button.element.dataset.selection = id;
    button.element.dataset.move = move?.direction ?? "";
    button.element.dataset.beat = move?.beat ?? "";
    button.element.setAttribute("aria-disabled", String(!open));
    button.element.setAttribute("aria-pressed", String(picked === id));
    button.element.setAttribute("aria-label", label(market, selection, move));
    setText(button.name, selection.name);
    setText(button.odds, selection.odds ?? "–");
    setText(button.glyph, move ? GLYPHS[move.direction] : "");
    return button.element;
  }

  #press(selectionId, event) {
    const selection = this.#market.selections.find((candidate) => candidate.selection_id === selectionId);
    if (selection && isBackable(this.#market, selection)) {
      this.#onPick(this.#market.market_id, selectionId, event.detail === 0);
    }
  }
}

/** Tell whether `selection` of `market` can be backed just now. */
export function isBackable(market, selection) {
  return market.status === "active" && selection.status === "active" && selection.odds !== null;
}

function newPriceButton(onPress) {
  const name = el("span", { class: "price-name" });
  const glyph = el("span", { class: "glyph" });
  const odds = el("span", { class: "odds" });
  const element = el(
    "button",
    { type: "button", class: "price", on: { click: onPress } },
    name,
    el("span", { class: "quote" }, glyph, odds),
  );
  return { element, name, glyph, odds };
}

function label(market, selection, move) {
  const price = selection.odds === null ? "no price" : selection.odds;
  const moved = move ? `, ${move.direction} from ${move.from}` : "";
  const status = selection.status === "active" ? market.status : selection.status;
  return `${selection.name}, ${price}${moved}${status === "active" ? "" : `, ${status}`}`;
}

function columnsFor(count) {
  return count <= 3 ? String(count) : "many";
}
