/** What a browser calls an origin (https://fetch.spec.whatwg.org/#origin-header); it allows none. */

/** Stands for every origin. */
export const ANY_ORIGIN = "*";

/** Whether this is what browsers send as Origin, such as "https://example.com:8080", or "*". */
export function isOrigin(text: string): boolean {
  if (text === ANY_ORIGIN) {
    return true;
  }
  if (!URL.canParse(text)) {
    return false;
  }
  const { protocol, host } = new URL(text);
  // No browser sends a pattern, and none is matched here.
  return host !== "" && !host.includes("*") && text === `${protocol}//${host}`;
}
