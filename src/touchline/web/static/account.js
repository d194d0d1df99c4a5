/**
 * The player's money: balance, deposits, withdrawals, transactions.
 *
 * Invariant: a deposit or withdrawal whose outcome is unknown is sent again only with its first key.
 */

import { Away, get, post } from "./api.js";
import { Attempt } from "./attempt.js";
import { byId, el, held, say, setText, show, toast } from "./dom.js";
import { minorToText, parseTypedMinor, showMoney } from "./money.js";
import { inWords, told, when } from "./words.js";

const PAGE = 15;
const DONE = { deposits: "Deposited", withdrawals: "Withdrawn" };
const KINDS = {
  deposit: "Deposit",
  withdrawal: "Withdrawal",
  stake: "Stake",
  payout: "Payout",
  refund: "Stake back",
  rollback: "Settlement taken back",
  debt_repaid: "Debt repaid",
};

export class Money {
  #attempt = new Attempt();
  #cursor = null;
  #onCurrency;
  currency = "EUR";

  /** `onCurrency(currency)` hears what the account is kept in. */
  constructor(onCurrency) {
    this.#onCurrency = onCurrency;
    byId("funds-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const button = event.submitter ?? byId("deposit");
      held(button, () => this.#move(button.value));
    });
    const more = byId("more-transactions");
    more.addEventListener("click", () => held(more, () => told(() => this.#page(this.#cursor))));
  }

  /** Read the balance anew and show it wherever it stands. */
  async refresh() {
    const { balance, currency, source } = await get("/account/balance");
    this.currency = currency;
    this.#onCurrency(currency);
    for (const id of ["balance", "account-balance"]) setText(byId(id), showMoney(balance, currency));
    setText(byId("balance-source"), source);
    setText(byId("account-source"), `read from the ${source}`);
  }

  /** Read the first page of transactions anew. */
  reload() {
    return this.#page(null);
  }

  async #move(kind) {
    const says = byId("funds-says");
    const minor = parseTypedMinor(byId("funds-amount").value, this.currency);
    if (minor === null) {
      say(says, "Enter an amount first, such as 50.00.");
      byId("funds-amount").focus();
      return;
    }
    const request = { kind, amount: minorToText(minor, this.currency) };
    const { kind: path, ...body } = this.#attempt.keyed(request);
    try {
      const moved = await post(`/account/${path}`, body);
      this.#attempt.answered();
      byId("funds-amount").value = "";
      say(says, "");
      toast(`${DONE[kind]}: ${showMoney(moved.amount.replace(/^-/, ""), moved.currency)}.`, "good");
    } catch (error) {
      if (error instanceof Away) {
        say(says, "The platform did not answer. Press again: it can't be done twice.");
        return;
      }
      this.#attempt.answered();
      say(says, inWords(error, this.currency));
      return;
    }
    await told(() => Promise.all([this.refresh(), this.reload()]));
  }

  async #page(cursor) {
    const place = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await get(`/account/transactions?limit=${PAGE}${place}`);
    const rows = page.transactions.map(row);
    const list = byId("transactions");
    if (cursor === null) list.replaceChildren(...rows);
    else list.append(...rows);
    this.#cursor = page.cursor;
    show(byId("more-transactions"), page.cursor !== null);
    show(byId("no-transactions"), list.children.length === 0);
  }
}

function row({ kind, amount, currency, recorded_at: at }) {
  const gained = !amount.startsWith("-");
  return el(
    "li",
    {},
    el("span", { text: KINDS[kind] ?? kind.replaceAll("_", " ") }),
    el("small", { class: "dim", text: when(at) }),
    el("strong", { class: gained ? "gain" : "", text: `${gained ? "+" : ""}${showMoney(amount, currency)}` }),
  );
}
