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
const NEWS_MS = 100; // pushed news of so long is told together: a settlement may decide many bets
const HEARD_MAX = 500;
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
  #more = false; // whether there were more than were looked at
  #heard = new Map(); // bets of which news was pushed, as they were then
  #news = null; // of those the ones not told yet, null where there are none

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
    const askedFor = get(`/bets?status=PLACED&limit=${WATCHED_MAX}`);
    this.#heard.clear();
    const { bets, cursor } = await askedFor;
    const now = new Set(bets.map((bet) => bet.bet_id));
    for (const bet of this.#heard.values()) mark(now, bet); // the answer may be from before
    const before = this.#open;
    this.#more = cursor !== null;
    this.#count(now);
    if (before === null) return;
    const left = [...before].filter((id) => !now.has(id));
    const changed = left.length > 0 || now.size !== before.size;
    if (left.length > 0) await this.#tellLeft(left);
    if (changed) this.#onDecided();
    if (changed && listed) await this.reload();
  }

  /** Take pushed news of a bet: count it, tell it where it is decided, have the list and the money read anew. */
  hear(bet, listed) {
    this.#heard.set(bet.bet_id, bet);
    if (this.#heard.size > HEARD_MAX) this.#heard.delete(this.#heard.keys().next().value);
    if (this.#open !== null) this.#count(mark(this.#open, bet));
    if (this.#news === null) setTimeout(() => this.#tellNews(listed), NEWS_MS);
    this.#news ??= new Map();
    this.#news.set(bet.bet_id, bet);
  }

  /** Forget what was known, as when another player signs in. */
  forget() {
    this.#open = this.#news = null;
    this.#heard.clear();
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

  #count(open) {
    this.#open = open;
    setText(byId("open-count"), this.#more ? `${open.size}+` : String(open.size));
    show(byId("open-count"), open.size > 0);
  }

  async #tellNews(listed) {
    const bets = [...(this.#news ?? new Map()).values()];
    this.#news = null;
    if (bets.length === 0) return;
    this.#onDecided();
    await told(() => this.#tell(bets.filter((bet) => bet.result !== null)));
    if (listed) await this.reload();
  }

  async #tellLeft(betIds) {
    if (betIds.length > NEWS_MAX) this.#tellNumber(betIds.length);
    else await this.#tell(await Promise.all(betIds.map((id) => get(`/bets/${id}`))));
  }

  async #tell(bets) {
    if (bets.length > NEWS_MAX) {
      this.#tellNumber(bets.length);
      return;
    }
    for (const bet of bets) {
      if (bet.result === null) continue; // beyond the watched ones, still open
      const { selection } = await this.#names.of(bet);
      toast(news(bet, selection), bet.result === "won" ? "good" : "plain");
    }
  }

  #tellNumber(count) {
    toast(`${count} of your bets were decided.`);
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

/** Take `bet` into the ids of open bets, or out of them. */
function mark(open, bet) {
  if (bet.result === null) open.add(bet.bet_id);
  else open.delete(bet.bet_id);
  return open;
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
