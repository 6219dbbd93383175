/** The token of the person who looks: kept until the tab is closed, and sent with each call. */

const KEY = "stats-service token";

/** @returns {string | null} */
export function readToken() {
  return sessionStorage.getItem(KEY);
}

/** @param {string | null} token null: it is forgotten */
export function keepToken(token) {
  if (token === null) {
    sessionStorage.removeItem(KEY);
  } else {
    sessionStorage.setItem(KEY, token);
  }
}
