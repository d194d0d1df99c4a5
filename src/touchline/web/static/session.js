/**
 * Signing in, opening an account, signing out.
 *
 * Invariant: the password leaves this form only in the request; the token lives in this tab alone.
 */

import { Away, post, session } from "./api.js";
import { byId, held, say, setText, show } from "./dom.js";
import { inWords, sentenceCase } from "./words.js";

/** Run the sign-in form; `onSignedIn()` is called with the session kept. */
export class Gate {
  #registers = false;
  #onSignedIn;

  constructor(onSignedIn) {
    this.#onSignedIn = onSignedIn;
    byId("gate-form").addEventListener("submit", (event) => {
      event.preventDefault();
      held(byId("gate-submit"), () => this.#submit());
    });
    byId("gate-other")?.addEventListener("click", () => this.#turn(!this.#registers));
  }

  /** Show the form, with a word on why. */
  open(reason = "") {
    if (byId("gate-other")) this.#turn(false);
    byId("gate-password").value = "";
    say(byId("gate-says"), reason, "plain");
    byId("gate-username").focus();
  }

  #turn(registers) {
    this.#registers = registers;
    setText(byId("gate-title"), registers ? "Open an account" : "Sign in");
    setText(byId("gate-submit"), registers ? "Open account" : "Sign in");
    setText(byId("gate-other-text"), registers ? "Have an account?" : "New here?");
    setText(byId("gate-other"), registers ? "Sign in" : "Open an account");
    byId("gate-password").autocomplete = registers ? "new-password" : "current-password";
    show(byId("gate-demo"), !registers);
    say(byId("gate-says"), "");
  }

  async #submit() {
    const username = byId("gate-username").value.trim();
    const password = byId("gate-password").value;
    if (!username || !password) {
      say(byId("gate-says"), "Fill in both your username and your password.");
      byId(username ? "gate-password" : "gate-username").focus();
      return;
    }
    say(byId("gate-says"), "");
    try {
      const signedIn = await post(this.#registers ? "/auth/register" : "/auth/login", { username, password });
      session.keep({ ...signedIn, username });
    } catch (error) {
      say(byId("gate-says"), this.#explained(error));
      byId("gate-password").select();
      return;
    }
    byId("gate-password").value = "";
    await this.#onSignedIn();
  }

  #explained(error) {
    if (error instanceof Away || error.code === "ACCOUNT_LOCKED" || error.code === "RATE_LIMITED")
      return inWords(error);
    if (error.code === "UNAUTHENTICATED") return "Username and password don't match. Check both and try again.";
    return sentenceCase(error.detail);
  }
}

/** Revoke the token at the platform and end the session here, whatever the platform says. */
export async function signOut() {
  try {
    await post("/auth/logout");
  } catch (error) {
    if (!(error instanceof Away) && error.code !== "UNAUTHENTICATED") throw error;
  }
  session.end("You are signed out.");
}
