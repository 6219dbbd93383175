/** UUIDs as bytes and as text; runs in browsers too, so it imports nothing. */

/** Length of a UUID, in bytes. */
export const ID_BYTES = 16;

const HEX_PAIRS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** The 36-character form of a UUID of 16 bytes. */
export function formatUuid(id: Uint8Array): string {
  let text = "";
  for (let i = 0; i < ID_BYTES; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) {
      text += "-";
    }
    text += HEX_PAIRS[id[i] as number];
  }
  return text;
}
