/**
 * COPY … FROM STDIN of bytes that are all in memory, as a query that `pg` runs; it never looks into the bytes.
 *
 * Not by the package pg-copy-streams: when PostgreSQL refuses a COPY whose bytes are still being sent, it throws in
 * an event of the socket, where nobody can catch it, and the process ends.
 *
 * Protocol: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
import type { Connection, Submittable } from "pg";

/** Types of messages, in ASCII: d for CopyData, c for CopyDone. */
const COPY_DATA = 0x64;
const LENGTH_BYTES = 4;
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, LENGTH_BYTES]);

/** What a CopyData message opens with: its type, and its length without the type. */
function copyDataHeader(bytes: number): Buffer {
  const header = Buffer.allocUnsafe(1 + LENGTH_BYTES);
  header[0] = COPY_DATA;
  header.writeUInt32BE(LENGTH_BYTES + bytes, 1);
  return header;
}

/** One COPY, which may be the last of several statements. Hand it to `client.query`, then await {@link CopyIn.done}. */
export class CopyIn implements Submittable {
  /**
   * Resolves when all is in and the connection is free, with the number of rows that PostgreSQL kept: triggers may drop
   * some. Rejects with PostgreSQL's error when nothing is in.
   */
  readonly done: Promise<number>;
  /** `pg` puts in its place what ends its time-out. */
  callback: () => void = () => {};

  readonly #statement: string;
  readonly #chunks: readonly Uint8Array[];
  #rows = 0;
  #resolve: (rows: number) => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(statement: string, chunks: readonly Uint8Array[]) {
    this.#statement = statement;
    this.#chunks = chunks;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  submit(connection: Connection): void {
    connection.query(this.#statement);
  }

  /**
   * Sends everything: the bytes are in memory either way, so there is nothing to gain by waiting for the socket.
   * What PostgreSQL gets after it has refused the COPY, it drops.
   */
  handleCopyInResponse({ stream }: Connection): void {
    stream.cork();
    for (const chunk of this.#chunks) {
      stream.write(copyDataHeader(chunk.length));
      stream.write(chunk);
    }
    stream.write(COPY_DONE);
    stream.uncork();
  }

  /** What the statements before the COPY say is of no interest. */
  handleRowDescription(): void {}

  handleDataRow(): void {}

  /** `text` is the tag of a command; that of the COPY, "COPY 42", is the last. */
  handleCommandComplete({ text }: { readonly text: string }): void {
    this.#rows = Number(text.split(" ")[1]);
  }

  handleError(error: Error): void {
    this.callback();
    this.#reject(error);
  }

  handleReadyForQuery(): void {
    this.callback();
    this.#resolve(this.#rows);
  }
}
