import { LogDestination } from "../../../src/telemetry/log-destination.js";

/** A file that takes so many bytes, and what became of the lines. */
class Rig {
  room = Number.POSITIVE_INFINITY;
  fault = "ENOSPC";
  text = "";
  readonly complaints: string[] = [];
  readonly lost: number[] = [];
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
    pause: () => {
      this.pauses += 1;
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

  it("waits for a slow reader, not for ever, and not at each line", () => {
    const rig = new Rig();
    rig.room = 0;
    rig.fault = "EAGAIN";
    rig.write("one");
    const { pauses } = rig;
    expect(pauses).toBeGreaterThan(0);
    rig.write("two");
    expect(rig.pauses).toBe(pauses);
    rig.room = Number.POSITIVE_INFINITY;
    rig.write("three");
    expect(rig.text).toBe("three\n");
    expect(rig.lost).toEqual([2]);
  });

  it("survives that there is nowhere to complain", () => {
    const full = () => {
      throw new Error("full");
    };
    const destination = new LogDestination({ write: full, complain: full, onRecovered: () => undefined });
    expect(() => destination.write("line\n")).not.toThrow();
  });
});
