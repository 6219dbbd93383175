/** What an error has to say, in one line; it never classifies it. */

/**
 * The message of whatever was thrown. A refused connection to a name with several addresses is an AggregateError
 * without a message of its own: then that of its first cause. By shape, since errors may come from another realm.
 */
export function messageOf(error: unknown): string {
  const { message, errors, code } = (error ?? {}) as {
    message?: unknown;
    errors?: unknown[];
    code?: unknown;
  };
  if (typeof message === "string" && message !== "") {
    return message;
  }
  if (errors !== undefined && errors.length > 0) {
    return messageOf(errors[0]);
  }
  return typeof code === "string" ? code : String(error);
}
