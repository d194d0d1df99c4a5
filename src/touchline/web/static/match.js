/**
 * One match on the board: who plays, the score and the clock, its first market, the others on demand.
 *
 * Invariant: a card is made once and updated in place, so that focus and reading position stay.
 */

import { arrange, el, setText, show } from "./dom.js";
import { MarketView } from "./market.js";

const FIRST_TYPES = ["MATCH_ODDS", "MATCH_RESULT", "MATCH_WINNER", "1X2", "WINNER"];
const SIDES = / (?:v|vs|vs\.|@|-|–) /;
const SCORE = /^\s*(\d+)\s*[-:–]\s*(\d+)\s*$/;
const CLOCK = /^(\d{1,3}):(\d{2})/;
const REGULAR_MINUTES = 90;
const UNDECIDED = new Set(["active", "suspended"]);

export class MatchView {
  #prices;
  #onPick;
  #onMarketShown;
  #markets = new Map();
  #expanded;
  #event;

  /** `onMarketShown(element)` hears of each market's element, once, so that its visibility can be watched. */
  constructor(event, { prices, onPick, onMarketShown, expanded = false }) {
    this.#prices = prices;
    this.#onPick = onPick;
    this.#onMarketShown = onMarketShown;
    this.#expanded = expanded;
    const id = `match-${event.event_id}`;
    this.competition = el("span", { class: "competition" });
    this.clock = el("span", { class: "clock" });
    this.teams = el("h2", { class: "teams", id });
    this.line = el("span", { class: "pitch-line", "aria-hidden": "true" });
    this.list = el("div", { class: "markets", id: `${id}-markets` });
    this.more = el("button", {
      type: "button",
      class: "expand",
      "aria-controls": `${id}-markets`,
      on: { click: () => this.#toggle() },
    });
    this.element = el(
      "article",
      { class: "match card", "aria-labelledby": id, dataset: { event: event.event_id } },
      el("div", { class: "match-head" }, this.competition, this.clock),
      this.teams,
      this.line,
      this.list,
      this.more,
    );
  }

  /** Show the event as it stands; `pick` is what is on the slip, `{marketId, selectionId}` or null. */
  update(event, pick) {
    this.#event = event;
    this.pick = pick;
    setText(this.competition, event.competition === "unknown" ? event.sport : event.competition);
    setText(this.clock, event.clock ?? (event.status === "live" ? "Live" : startText(event)));
    this.#showTeams(event);
    this.#showClock(event);
    this.#showMarkets();
  }

  /** Return the element of each market ever shown. */
  marketElements() {
    return [...this.#markets.values()].map((view) => view.element);
  }

  /** Show ages anew. */
  tick() {
    for (const view of this.#markets.values()) if (view.element.isConnected) view.tick();
  }

  #showTeams({ name, score }) {
    const sides = name.split(SIDES);
    const goals = SCORE.exec(score ?? "");
    const rows =
      sides.length === 2 ? sides.map((side, place) => [side, goals?.[place + 1] ?? ""]) : [[name, score ?? ""]];
    const shown = rows.map((row) => row.join("\t")).join("\n");
    if (this.teams.dataset.shown === shown) return;
    const before = this.teams.dataset.shown;
    this.teams.dataset.shown = shown;
    arrange(
      this.teams,
      rows.map(([side, goal]) =>
        el("span", { class: "team" }, el("span", { text: side }), el("span", { class: "score", text: goal })),
      ),
    );
    this.teams.classList.toggle("scored", before !== undefined);
  }

  #showClock({ clock, sport }) {
    const at = CLOCK.exec(clock ?? "");
    show(this.line, at !== null && /soccer|football/i.test(sport));
    if (at === null) return;
    const played = Math.min(1, (Number(at[1]) + Number(at[2]) / 60) / REGULAR_MINUTES);
    this.line.style.setProperty("--played", `${(played * 100).toFixed(1)}%`);
  }

  #showMarkets() {
    const markets = inOrder(this.#event.markets);
    const shown = this.#expanded ? markets : markets.slice(0, 1);
    arrange(
      this.list,
      shown.map((market) => this.#marketView(market).element),
    );
    show(this.more, markets.length > 1);
    this.element.toggleAttribute("data-expanded", this.#expanded && markets.length > 1);
    this.more.setAttribute("aria-expanded", String(this.#expanded));
    setText(this.more, this.#expanded ? "Fewer markets" : `All ${markets.length} markets`);
  }

  #marketView(market) {
    let view = this.#markets.get(market.market_id);
    if (view === undefined) {
      view = new MarketView(market, this.#event.name, this.#prices, this.#onPick);
      this.#markets.set(market.market_id, view);
      this.#onMarketShown(view.element);
    }
    view.update(this.pick?.marketId === market.market_id ? this.pick.selectionId : null);
    return view;
  }

  #toggle() {
    this.#expanded = !this.#expanded;
    this.#showMarkets();
  }
}

function inOrder(markets) {
  const rank = (market) => {
    const first = FIRST_TYPES.indexOf(market.market_type.toUpperCase());
    return (UNDECIDED.has(market.status) ? 0 : 100) + (first === -1 ? FIRST_TYPES.length : first);
  };
  return [...markets].sort(
    (one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name, "en", { numeric: true }),
  );
}

function startText({ start_time: start }) {
  if (start === null) return "Soon";
  return new Date(start).toLocaleString("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" });
}
