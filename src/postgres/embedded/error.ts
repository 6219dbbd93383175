/** Owns the one error that the embedded PostgreSQL reports; its message is a line that names the setting to change. */

export class EmbeddedPostgresError extends Error {
  override readonly name = "EmbeddedPostgresError";
}

/** The first line of what went wrong, fit to stand inside another message. */
export function reasonOf(error: unknown): string {
  const text = textOf(error, "message") ?? String(error);
  return text.split("\n", 1)[0] ?? "";
}

/** An errno name or a SQLSTATE. */
export function codeOf(error: unknown): string | undefined {
  return textOf(error, "code");
}

/** By shape: an error from another realm, a test runner's sandbox say, is no instance of our Error. */
export function textOf(error: unknown, property: "code" | "message" | "stderr"): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const value: unknown = Reflect.get(error, property);
  return typeof value === "string" ? value : undefined;
}
