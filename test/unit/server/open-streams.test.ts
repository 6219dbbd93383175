import type { ServerHttp2Stream } from "node:http2";
import { OpenStreams } from "../../../src/server/open-streams.js";

function fakeStream() {
  return { destroyed: false };
}

function add(streams: OpenStreams, stream: { destroyed: boolean }, nowMs: number): void {
  streams.add(stream as ServerHttp2Stream, nowMs);
}

describe("OpenStreams", () => {
  it("gives the streams, oldest first, with the time at which each came", () => {
    const streams = new OpenStreams();
    const [first, second] = [fakeStream(), fakeStream()];
    add(streams, first, 10);
    add(streams, second, 20);
    expect([...streams]).toEqual([
      { stream: first, cameMs: 10 },
      { stream: second, cameMs: 20 },
    ]);
  });

  it("forgets those that have ended, and keeps the times of the others", () => {
    const streams = new OpenStreams();
    const [first, second, third] = [fakeStream(), fakeStream(), fakeStream()];
    add(streams, first, 10);
    add(streams, second, 20);
    add(streams, third, 30);
    second.destroyed = true;
    streams.compact();
    expect(streams.size).toBe(2);
    expect([...streams]).toEqual([
      { stream: first, cameMs: 10 },
      { stream: third, cameMs: 30 },
    ]);
  });

  it("stays small while streams come and go", () => {
    const streams = new OpenStreams();
    add(streams, fakeStream(), 0);
    let largest = 0;
    for (let i = 1; i < 10_000; i++) {
      const stream = fakeStream();
      add(streams, stream, i);
      stream.destroyed = true;
      largest = Math.max(largest, streams.size);
    }
    expect(largest).toBeLessThanOrEqual(256);
    streams.compact();
    expect(streams.size).toBe(1);
  });

  it("holds as many as are open", () => {
    const streams = new OpenStreams();
    for (let i = 0; i < 1_000; i++) {
      add(streams, fakeStream(), i);
    }
    expect([...streams]).toHaveLength(1_000);
  });
});
