/** What an error has to say: its message in one line, its code; it never classifies it. */

/**
 * The message of whatever was thrown. A refused connection to a name with several addresses is an AggregateError
 * without a message of its own: then that of its first cause. By shape, since errors may come from another realm.
 */
export function messageOf(error: unknown): string {
  const { message, errors } = (error ?? {}) as { message?: unknown; errors?: unknown[] };
  if (typeof message === "string" && message !== "") {
    return message;
  }
  if (errors !== undefined && errors.length > 0) {
    return messageOf(errors[0]);
  }
  return codeOf(error) ?? String(error);
}

/** The code of whatever was thrown, such as ENOENT or a SQLSTATE; undefined when it has none that is text. */
export function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : undefined;
}
