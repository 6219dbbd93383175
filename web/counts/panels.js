/** What stands in place of counts: a token to give, a refusal, a first event to push; and the notices above all. */
import { byId, element, keep, setText } from "./dom.js";
import { sentence } from "./words.js";

/** @import { CallError } from "./api.js" */

/** @typedef {"view" | "token-panel" | "refused-panel" | "empty-panel" | "loading"} Panel */
/** @typedef {{ text: string, isBad?: boolean }} Notice */

/** @type {readonly Panel[]} */
const PANELS = ["view", "token-panel", "refused-panel", "empty-panel", "loading"];

const token = /** @type {HTMLInputElement} */ (byId("token"));

/** @param {Panel} shown */
export function showPanel(shown) {
  for (const panel of PANELS) {
    byId(panel).hidden = panel !== shown;
  }
}

/** @param {readonly Notice[]} notices */
export function showNotices(notices) {
  keep(
    byId("notices"),
    notices,
    ({ text }) => text,
    ({ text, isBad }) => element("p", { class: isBad ? "notice bad" : "notice" }, text),
    () => {},
  );
}

/** @param {(token: string | null) => void} onToken gets the token to use, or that there is none any more */
export function startPanels(onToken) {
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    onToken(token.value.trim());
    token.value = "";
  });
  for (const id of ["forget", "other-token"]) {
    byId(id).addEventListener("click", () => onToken(null));
  }
  byId("copy").addEventListener("click", () => void copyCommand());
}

/** Asks for a token; `fault` says what is wrong with the one that was given. @param {string} fault */
export function askForToken(fault) {
  const isNew = byId("token-panel").hidden;
  showPanel("token-panel");
  setText(byId("token-fault"), fault);
  if (isNew) {
    token.focus();
  }
}

/** @param {CallError} error @param {boolean} hasToken */
export function showRefusal({ code, message }, hasToken) {
  showPanel("refused-panel");
  const titles = /** @type {Record<string, string>} */ ({
    permission_denied: "Reading is not allowed",
    unimplemented: "This service tells no counts",
  });
  setText(byId("refused-title"), titles[code] ?? "The counts cannot be shown");
  setText(byId("refused-reason"), sentence(message));
  byId("other-token").hidden = !(hasToken && code === "permission_denied");
}

/** Shows the command that pushes a first event to this very service. @param {boolean} hasToken */
export function showFirstEvent(hasToken) {
  const url = new URL("stats.v1.StatsService/Push", location.href);
  const lines = [
    "curl -H 'content-type: application/json'",
    ...(hasToken ? ['-H "authorization: Bearer $TOKEN"'] : []),
    `-d '{"property":"news","section":3,"item":42}'`,
    url.origin + url.pathname,
  ];
  setText(byId("curl"), lines.join(" \\\n  "));
  showPanel("empty-panel");
}

async function copyCommand() {
  try {
    await navigator.clipboard.writeText(byId("curl").textContent ?? "");
    setText(byId("copied"), "Copied.");
  } catch {
    getSelection()?.selectAllChildren(byId("curl"));
    setText(byId("copied"), "Selected; copy it with the keyboard.");
  }
}
