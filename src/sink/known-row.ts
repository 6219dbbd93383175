/** Asks PostgreSQL whether it still takes a row such as `incoming` has already; it leaves nothing behind. */
import type { PoolClient } from "pg";
import { INCOMING_COLUMNS } from "../event/tuple-codec.js";
import { beginTransaction } from "../postgres/pool.js";
import { classifyFault, EXCLUSION_VIOLATION, sqlstateOf } from "../postgres/sqlstate.js";

const [ID, ...OTHERS] = INCOMING_COLUMNS;
/** Time and version of the id stay, and so do its day and partition; the rest is random. */
const NEW_ID = `(left(${ID}::text, 15) || right(gen_random_uuid()::text, 21))::uuid`;
const COPY_ONE = `
  INSERT INTO incoming (${INCOMING_COLUMNS.join(", ")})
  SELECT ${NEW_ID}, ${OTHERS.join(", ")} FROM incoming LIMIT 1`;

/**
 * The SQLSTATE with which `incoming` refuses a copy of one of its own rows, for what it contains. Undefined: it takes
 * the copy, or has no row. Any other fault is thrown.
 */
export async function refusalOfKnownRow(client: PoolClient): Promise<string | undefined> {
  await beginTransaction(client);
  try {
    await client.query(COPY_ONE);
    return undefined;
  } catch (error) {
    const faultClass = classifyFault(error);
    const sqlstate = sqlstateOf(error);
    // What must be unique, a copy can never be; and it was judged by its contents before.
    if (faultClass === "duplicate" || sqlstate === EXCLUSION_VIOLATION) {
      return undefined;
    }
    if (faultClass === "row") {
      return sqlstate;
    }
    throw error;
  } finally {
    await client.query("ROLLBACK");
  }
}
