/** The command line is wrong; the message says how, for the one who typed it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
