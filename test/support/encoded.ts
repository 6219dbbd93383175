/** Events as tests write them down, and the bytes that the service makes of them; it keeps nothing. */

import { parseEventId } from "../../src/event/event-id.js";
import { encodeInet } from "../../src/event/inet.js";
import { type EncodedBatch, TUPLE_MAX_BYTES, uuidv7TimeMs, writeTuple } from "../../src/event/tuple-codec.js";
import { ID_BYTES } from "../../src/event/uuid.js";
import { type AdmittedEvent, Batch } from "../../src/ingest/batch.js";
import type { IncomingRow } from "./decoded.js";

const NO_ADDRESS = new Uint8Array(0);

/** The UUIDv7 with this time whose other bits are the number `n`, from 0 up: ids ascend with it. */
export function uuidv7At(timeMs: number, n = 0): string {
  const time = timeMs.toString(16).padStart(12, "0");
  const low = n.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${low}`;
}

/** The 16 bytes of a UUIDv7 in its text form. */
export function uuidBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(ID_BYTES);
  if (!parseEventId(text, bytes)) {
    throw new Error(`not a UUIDv7: ${text}`);
  }
  return bytes;
}

/** A row as `incoming` holds it. The stamp is that of the id, always. */
export function row(id: string, fields: Partial<Omit<IncomingRow, "id" | "stampMs">> = {}): IncomingRow {
  const stampMs = uuidv7TimeMs(uuidBytes(id));
  return { property: "news", section: 3, itemId: 42, remoteIp: "192.0.2.7", ...fields, id, stampMs };
}

/** `count` rows with ascending ids of one millisecond. */
export function rowsAt(timeMs: number, count: number): IncomingRow[] {
  return Array.from({ length: count }, (_, n) => row(uuidv7At(timeMs, n), { itemId: n + 1 }));
}

/** The event that becomes this row. */
export function eventOf({ id, property, section, itemId, remoteIp }: IncomingRow): AdmittedEvent {
  const inet = remoteIp === null ? NO_ADDRESS : encodeInet(remoteIp);
  return { id: uuidBytes(id), property, section, itemId, inet };
}

/** The tuple of a row, written as the service writes it. */
export function encodeRow(incoming: IncomingRow): Buffer {
  const target = Buffer.alloc(TUPLE_MAX_BYTES);
  const { id, property, section, itemId, inet } = eventOf(incoming);
  return target.subarray(0, writeTuple(target, 0, id, property, section, itemId, inet));
}

/** A sealed batch of these rows. `chunkBytes` decides over how many chunks they spread. */
export function encodeBatch(rows: readonly IncomingRow[], chunkBytes = 64 * 1024): EncodedBatch {
  const batch = new Batch();
  for (const incoming of rows) {
    if (batch.needsChunk) {
      batch.extend(Buffer.alloc(chunkBytes));
    }
    batch.append(eventOf(incoming));
  }
  batch.seal();
  return batch;
}
