/** HTTP/2 frames, sound or not, as RFC 9113 has them; nothing here keeps the state of a connection. */

export const DATA = 0x0;
export const HEADERS = 0x1;
export const RST_STREAM = 0x3;
export const SETTINGS = 0x4;
export const PING = 0x6;
export const GOAWAY = 0x7;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;

export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const HEAD_BYTES = 9;

/** A frame; `length` may lie. */
export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Buffer = Buffer.alloc(0),
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** A SETTINGS frame of these entries (RFC 9113, section 6.5.1). */
export function settings(...entries: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * entries.length);
  for (const [i, [id, value]] of entries.entries()) {
    payload.writeUInt16BE(id, 6 * i);
    payload.writeUInt32BE(value, 6 * i + 2);
  }
  return frame(SETTINGS, 0, 0, payload);
}

/** The windows of new streams; 0: the peer may send no body. */
export const INITIAL_WINDOW_SIZE = 0x4;

/** Four bytes. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A header block: each field a literal that is not indexed (RFC 7541, section 6.2.2). */
export function headerBlock(fields: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(fields).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]),
  );
}

/** A string that is not Huffman-coded, its length with a prefix of seven bits (section 5.1 and 5.2). */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  const length: number[] = [];
  if (bytes.length < 127) {
    length.push(bytes.length);
  } else {
    length.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) {
      length.push((rest % 128) + 128);
    }
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** A HEADERS frame that asks for a call of a method. */
export function callHeaders(
  streamId: number,
  path: string,
  contentType: string,
  flags = END_HEADERS,
  more: Readonly<Record<string, string>> = {},
): Buffer {
  const block = headerBlock({
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "x",
    "content-type": contentType,
    ...more,
  });
  return frame(HEADERS, flags, streamId, block);
}

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** Hands on each whole frame in `bytes`, and returns what is left. */
export function readFrames(bytes: Buffer, onFrame: (frame: Frame) => void): Buffer {
  let rest = bytes;
  while (rest.length >= HEAD_BYTES) {
    const end = HEAD_BYTES + rest.readUIntBE(0, 3);
    if (rest.length < end) {
      break;
    }
    onFrame({ type: rest[3] as number, payload: rest.subarray(HEAD_BYTES, end) });
    rest = rest.subarray(end);
  }
  return rest;
}
