/** Reads what the service wrote: tuples back into rows; what the service would not write it does not have to tell. */

import { decodeInet } from "../../src/event/inet.js";
import { tupleOffsets } from "../../src/event/tuple-codec.js";
import { formatUuid } from "../../src/event/uuid.js";

const POSTGRES_EPOCH_MS = Date.UTC(2000, 0, 1);

/** One row of `incoming`, decoded. */
export interface IncomingRow {
  /** UUID in its 36-character form. */
  readonly id: string;
  readonly property: string;
  readonly section: number;
  readonly itemId: number;
  /** IPv4 or IPv6 in text form; null when the address was not known. */
  readonly remoteIp: string | null;
  /** Unix time, in milliseconds. */
  readonly stampMs: number;
}

/**
 * Decodes tuples back into rows, in their order.
 *
 * @throws TupleFormatError
 */
export function decodeTuples(tuples: Buffer): IncomingRow[] {
  return tupleOffsets(tuples)
    .slice(0, -1)
    .map((start) => decodeTuple(tuples, start));
}

function decodeTuple(tuples: Buffer, start: number): IncomingRow {
  let offset = start + 2;
  const field = (): Buffer => {
    const from = offset + 4;
    offset = from + Math.max(tuples.readInt32BE(offset), 0);
    return tuples.subarray(from, offset);
  };
  const [id, property, section, itemId, inet, stamp] = [field(), field(), field(), field(), field(), field()];
  return {
    id: formatUuid(id),
    property: property.toString("latin1"),
    section: Number(section.readBigInt64BE()),
    itemId: Number(itemId.readBigInt64BE()),
    remoteIp: inet.length === 0 ? null : decodeInet(inet),
    stampMs: Number(stamp.readBigInt64BE() / 1000n) + POSTGRES_EPOCH_MS,
  };
}
