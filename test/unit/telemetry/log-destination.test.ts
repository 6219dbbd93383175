import { LogDestination } from "../../../src/telemetry/log-destination.js";
import { FakeClock } from "../../support/fake-clock.js";

/** A file that takes so many bytes, and what became of the lines. */
class Rig {
  room = Number.POSITIVE_INFINITY;
  fault = "ENOSPC";
  text = "";
  readonly complaints: string[] = [];
  readonly lost: number[] = [];
  readonly clock = new FakeClock();
  /** Called in each pause. */
  onPause: () => void = () => undefined;
  pauses = 0;
  readonly destination = new LogDestination({
    write: (bytes) => {
      const written = Math.min(bytes.length, this.room);
      if (written === 0) {
        throw Object.assign(new Error(`${this.fault}: write`), { code: this.fault });
      }
      this.room -= written;
      this.text += bytes.toString("utf8", 0, written);
      return written;
    },
    complain: (text) => void this.complaints.push(text),
    clock: this.clock,
    pause: () => {
      this.pauses += 1;
      this.onPause();
    },
    onRecovered: (lines) => void this.lost.push(lines),
  });

  write(...lines: string[]): void {
    for (const line of lines) {
      this.destination.write(`${line}\n`);
    }
  }
}

describe("LogDestination", () => {
  it("loses lines rather than throw while they cannot be written, and says so once", () => {
    const rig = new Rig();
    rig.write("one");
    rig.room = 0;
    rig.write("two", "three");
    expect(rig.text).toBe("one\n");
    expect(rig.complaints).toEqual([expect.stringMatching(/log cannot be written.*ENOSPC: write\n$/)]);
  });

  it("tells how many lines were lost when it can write again, each time", () => {
    const rig = new Rig();
    for (const lines of [["a", "b"], ["c"]]) {
      rig.room = 0;
      rig.write(...lines);
      rig.room = Number.POSITIVE_INFINITY;
      rig.write("ok", "ok");
    }
    expect(rig.lost).toEqual([2, 1]);
    expect(rig.complaints).toHaveLength(2);
  });

  it("writes all of a line that the system takes in pieces", () => {
    const rig = new Rig();
    const destination = new LogDestination({
      write: (bytes) => {
        rig.text += bytes.toString("utf8", 0, 1);
        return 1;
      },
      onRecovered: () => undefined,
    });
    destination.write("one\n");
    expect(rig.text).toBe("one\n");
  });

  it("does not let a line run into one that was cut short", () => {
    const rig = new Rig();
    rig.room = 2;
    rig.write("cut");
    rig.room = Number.POSITIVE_INFINITY;
    rig.write("whole", "whole");
    expect(rig.text).toBe("cu\nwhole\nwhole\n");
    expect(rig.lost).toEqual([1]);
  });

  it("keeps lines for a reader that is slow, in order, and does not wait for it", async () => {
    const rig = new Rig();
    rig.fault = "EAGAIN";
    rig.room = 3;
    rig.write("one", "two");
    rig.write("three");
    expect(rig.text).toBe("one");
    expect(rig.pauses).toBe(0);
    rig.room = Number.POSITIVE_INFINITY;
    await rig.clock.advance(50);
    expect(rig.text).toBe("one\ntwo\nthree\n");
    expect(rig.lost).toEqual([]);
    expect(rig.complaints).toEqual([]);
    expect(rig.clock.pendingTimers).toBe(0);
  });

  it("loses lines beyond a megabyte of them, and tells how many when they are read again", async () => {
    const rig = new Rig();
    rig.fault = "EAGAIN";
    rig.room = 0;
    const line = "x".repeat(1023);
    for (let lines = 0; lines < 1024 + 5; lines++) {
      rig.write(line);
    }
    expect(rig.complaints).toEqual([expect.stringContaining("its reader does not read")]);
    rig.room = Number.POSITIVE_INFINITY;
    await rig.clock.advance(50);
    expect(rig.text).toHaveLength(1024 * 1024);
    expect(rig.lost).toEqual([5]);
  });

  it("gives a slow reader a last second at the end, and tells what is lost for good", () => {
    const read = new Rig();
    read.fault = "EAGAIN";
    read.room = 0;
    read.write("one");
    read.onPause = () => {
      read.room = Number.POSITIVE_INFINITY;
    };
    read.destination.end();
    expect(read.text).toBe("one\n");
    expect(read.complaints).toEqual([]);

    const unread = new Rig();
    unread.fault = "EAGAIN";
    unread.room = 0;
    unread.write("one", "two");
    unread.destination.end();
    expect(unread.pauses).toBeGreaterThan(0);
    expect(unread.complaints).toEqual(["stats-service: 2 lines of the log are lost\n"]);
    expect(unread.clock.pendingTimers).toBe(0);
  });

  it("survives that there is nowhere to complain", () => {
    const full = () => {
      throw new Error("full");
    };
    const destination = new LogDestination({ write: full, complain: full, onRecovered: () => undefined });
    expect(() => destination.write("line\n")).not.toThrow();
  });
});
