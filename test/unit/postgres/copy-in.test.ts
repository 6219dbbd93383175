import { PassThrough } from "node:stream";
import type { Connection } from "pg";
import { CopyIn } from "../../../src/postgres/copy-in.js";

/** A connection as CopyIn sees it, and what was sent over it. */
function makeConnection() {
  const stream = new PassThrough();
  const statements: string[] = [];
  const query = (text: string) => void statements.push(text);
  const connection = { stream, query } as unknown as Connection;
  let sent = "";
  stream.on("data", (chunk: Buffer) => {
    sent += chunk.toString("latin1");
  });
  /** All that was sent, once the stream has passed it on. */
  const allSent = () => new Promise<string>((resolve) => setImmediate(() => resolve(sent)));
  return { connection, statements, sent: allSent };
}

describe("CopyIn", () => {
  it("sends its bytes as CopyData and then CopyDone, once PostgreSQL is ready for them", async () => {
    const { connection, statements, sent } = makeConnection();
    const copy = new CopyIn("COPY news FROM STDIN", [Buffer.from("one"), Buffer.from("seven")]);
    copy.submit(connection);
    expect(statements).toEqual(["COPY news FROM STDIN"]);
    expect(await sent()).toBe("");
    copy.handleCopyInResponse(connection);
    expect(await sent()).toBe("d\0\0\0\x07one" + "d\0\0\0\x09seven" + "c\0\0\0\x04");
  });

  it("ends with the connection ready again, and with pg's time-out then", async () => {
    const copy = new CopyIn("COPY news FROM STDIN", []);
    let ended = 0;
    copy.callback = () => {
      ended += 1;
    };
    copy.handleCommandComplete({ text: "COPY 7" });
    expect(ended).toBe(0);
    copy.handleReadyForQuery();
    expect(ended).toBe(1);
    expect(await copy.done).toBe(7);
  });

  it("ends with PostgreSQL's error, and with pg's time-out then", async () => {
    const copy = new CopyIn("COPY news FROM STDIN", []);
    let ended = 0;
    copy.callback = () => {
      ended += 1;
    };
    copy.handleError(new Error("refused"));
    expect(ended).toBe(1);
    await expect(copy.done).rejects.toThrow("refused");
  });
});
