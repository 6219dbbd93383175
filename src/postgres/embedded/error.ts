/** Owns the one error that the embedded PostgreSQL reports; its message is a line that names the setting to change. */
import { messageOf } from "../../util/error-message.js";

export class EmbeddedPostgresError extends Error {
  override readonly name = "EmbeddedPostgresError";
}

/** The first line of what went wrong, fit to stand inside another message. */
export function reasonOf(error: unknown): string {
  return messageOf(error).split("\n", 1)[0] ?? "";
}
