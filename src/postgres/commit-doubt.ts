/**
 * Commits whose way to the synchronous standby is in doubt: notices them, and makes a commit that waits for it; it never
 * tries anything again.
 *
 * PostgreSQL commits before it waits for the standby. When that wait is cancelled (by statement_timeout, an operator or a
 * shutdown) the statement succeeds with a warning, and the row may be on the primary alone.
 */
import type { PoolClient } from "pg";
import { asTransaction } from "./pool.js";

/** What was written is on the primary; whether the standby has it is not known. Worth another try. */
export class CommitInDoubtError extends Error {
  override readonly name = "CommitInDoubtError";
  readonly faultClass = "transient";

  constructor(warning: string) {
    super(`committed, but the synchronous standby may not have it: ${warning}`);
  }
}

interface Notice {
  readonly routine?: string | undefined;
  readonly message?: string | undefined;
}

/** Known by the function that warns: its SQLSTATE, 01000, is also that of a trigger's RAISE WARNING. */
const DOUBTING_ROUTINE = "SyncRepWaitForLSN";
/** A record in the log is enough for its commit to wait; it holds the position behind all that came before. */
const WRITE_SOMETHING = "SELECT pg_logical_emit_message(true, 'stats-service', '')";

/**
 * What `work` gives, if no commit in it is in doubt.
 *
 * @throws CommitInDoubtError, or what `work` rejects with
 */
export async function withoutDoubt<T>(client: PoolClient, work: () => Promise<T>): Promise<T> {
  let warning: string | undefined;
  const onNotice = ({ routine, message }: Notice) => {
    if (routine === DOUBTING_ROUTINE) {
      warning = message ?? "";
    }
  };
  client.on("notice", onNotice);
  try {
    const result = await work();
    if (warning !== undefined) {
      throw new CommitInDoubtError(warning);
    }
    return result;
  } finally {
    client.off("notice", onNotice);
  }
}

/**
 * Resolves when the standby, if commits wait for one, has all that was committed until now. Rows that are found to be
 * there already were perhaps committed in doubt, and a transaction that writes nothing waits for nobody.
 */
export async function awaitStandby(client: PoolClient): Promise<void> {
  await client.query(asTransaction(client, WRITE_SOMETHING));
}
