import { Writable } from "node:stream";
import { PushProgress } from "../../../src/commands/push/push-report.js";

const COUNTS = { bytes: 50, acknowledged: 7, faulty: 2 };

function show(isTTY: boolean, totalBytes: number | undefined): string {
  let shown = "";
  const write: Writable["_write"] = (chunk: Buffer, _encoding, done) => {
    shown += chunk.toString();
    done();
  };
  const stream = Object.assign(new Writable({ write }), { isTTY, columns: 80 });
  const progress = new PushProgress(stream, totalBytes);
  progress.update(COUNTS);
  progress.print("line 3 is not JSON");
  progress.close();
  return shown;
}

test("a terminal shows how much of a file is done, and lines of text above it", () => {
  const shown = show(true, 100);
  expect(shown).toContain("50% | 7 acknowledged, 2 not accepted");
  expect(shown).toContain("line 3 is not JSON\n");
});

test("a terminal shows counts when the length of the input is not known", () => {
  const shown = show(true, undefined);
  expect(shown).toContain("7 acknowledged, 2 not accepted");
  expect(shown).not.toContain("%");
});

test("elsewhere only the lines of text are written", () => {
  expect(show(false, 100)).toBe("line 3 is not JSON\n");
});
