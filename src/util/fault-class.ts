/** The words for how a failed write is to be met; the sink finds them, the pipeline acts on them, metrics count them. */

/**
 * - `transient`: passes by itself; the same write may succeed later
 * - `duplicate`: a row is there already
 * - `row`: a row is refused for what it contains
 * - `schema`: the place where rows end is not as the service needs it; no row is to blame
 * - `unknown`: none of the above
 */
export const FAULT_CLASSES = ["transient", "duplicate", "row", "schema", "unknown"] as const;
export type FaultClass = (typeof FAULT_CLASSES)[number];
