/**
 * The bettor's own bets, and the news of those that were decided.
 *
 * Invariant: what is shown is what the platform has on record, never what this page assumes.
 */

import { get } from "./api.js";
import { arrange, byId, el, held, setText, show, toast } from "./dom.js";
import { showMoney } from "./money.js";
import { told, when } from "./words.js";

const PAGE = 20;
const WATCHED_MAX = 100; // open bets looked at each round for news
const NEWS_MAX = 5; // told one by one; more are told as a number
const NONE = {
  PLACED: "No open bets. Pick a price on the live page to place one.",
  SETTLED: "No settled bets yet.",
  VOID: "No void bets. When a market is void, its stakes come back and the bets are listed here.",
};
const RESULTS = { won: "Won", lost: "Lost", void: "Void" };

export class Bets {
  #names;
  #onDecided;
  #status = "PLACED";
  #cursor = null;
  #open = null; // ids of the open bets at the last look, null before the first

  /** `onDecided()` hears that bets of this player were decided, so that money moved. */
  constructor(names, onDecided) {
    this.#names = names;
    this.#onDecided = onDecided;
    this.tabs = [...document.querySelectorAll("#view-bets [role=tab]")];
    for (const tab of this.tabs) {
      tab.addEventListener("click", () => this.#choose(tab));
      tab.addEventListener("keydown", (event) => this.#walk(tab, event.key));
    }
    const more = byId("more-bets");
    more.addEventListener("click", () => held(more, () => told(() => this.#page(this.#cursor))));
  }

  /** Look at the open bets: tell which were decided since the last look, and refresh the list where it changed. */
  async watch(listed) {
    const { bets, cursor } = await get(`/bets?status=PLACED&limit=${WATCHED_MAX}`);
    const now = new Set(bets.map((bet) => bet.bet_id));
    const count = byId("open-count");
    setText(count, cursor ? `${now.size}+` : String(now.size));
    show(count, now.size > 0);
    const before = this.#open;
    this.#open = now;
    if (before === null) return;
    const left = [...before].filter((id) => !now.has(id));
    const changed = left.length > 0 || now.size !== before.size;
    if (left.length > 0) await this.#tell(left);
    if (changed) this.#onDecided();
    if (changed && listed) await this.reload();
  }

  /** Forget what was known, as when another player signs in. */
  forget() {
    this.#open = null;
    show(byId("open-count"), false);
    arrange(byId("bets"), []);
  }

  /** Read the first page anew. */
  reload() {
    return told(() => this.#page(null));
  }

  async #page(cursor) {
    const status = this.#status;
    const place = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await get(`/bets?status=${status}&limit=${PAGE}${place}`);
    const rows = await Promise.all(page.bets.map((bet) => this.#row(bet)));
    if (status !== this.#status) return;
    const list = byId("bets");
    if (cursor === null) list.replaceChildren(...rows);
    else list.append(...rows);
    this.#cursor = page.cursor;
    show(byId("more-bets"), page.cursor !== null);
    show(byId("no-bets"), list.children.length === 0);
    setText(byId("no-bets"), NONE[status]);
  }

  async #row(bet) {
    const { event, market, selection } = await this.#names.of(bet);
    const [word, amount] = outcome(bet);
    return el(
      "li",
      { class: "bet", dataset: { bet: bet.bet_id, result: bet.result ?? "open" } },
      el(
        "div",
        {},
        el(
          "p",
          { class: "bet-what" },
          el("strong", { text: selection }),
          " ",
          el("span", { class: "odds", text: `@ ${bet.odds}` }),
        ),
        el("p", { class: "dim", text: `${market} · ${event}` }),
        el("p", {
          class: "dim small",
          text: `${showMoney(bet.stake, bet.currency)} staked, ${when(bet.placed_at)}`,
        }),
      ),
      el(
        "p",
        { class: "bet-result" },
        el("span", { class: "badge", text: bet.result ? RESULTS[bet.result] : "Open" }),
        el("strong", { text: showMoney(amount, bet.currency) }),
        el("small", { class: "dim", text: word }),
      ),
    );
  }

  async #tell(betIds) {
    if (betIds.length > NEWS_MAX) {
      toast(`${betIds.length} of your bets were decided.`);
      return;
    }
    for (const id of betIds) {
      const bet = await get(`/bets/${id}`);
      if (bet.result === null) continue; // beyond the watched ones, still open
      const { selection } = await this.#names.of(bet);
      toast(news(bet, selection), bet.result === "won" ? "good" : "plain");
    }
  }

  #choose(tab) {
    this.#status = tab.dataset.status;
    for (const each of this.tabs) {
      each.setAttribute("aria-selected", String(each === tab));
      each.tabIndex = each === tab ? 0 : -1;
    }
    byId("bets-panel").setAttribute("aria-labelledby", tab.id);
    this.reload();
  }

  #walk(tab, key) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = this.tabs.at((this.tabs.indexOf(tab) + step) % this.tabs.length);
    next.focus();
    this.#choose(next);
  }
}

function outcome(bet) {
  if (bet.result === null) return ["to return", bet.potential_payout];
  return [bet.result === "void" ? "stake back" : "paid", bet.payout];
}

function news(bet, selection) {
  const paid = showMoney(bet.payout, bet.currency);
  if (bet.result === "won") return `Bet won: ${selection} pays ${paid}.`;
  if (bet.result === "void") return `Bet void: ${selection}, ${paid} came back.`;
  return `Bet lost: ${selection}.`;
}
