import { pino } from "pino";
import { DropLog } from "../../../src/server/drop-log.js";
import { FakeClock } from "../../support/fake-clock.js";

it("tells of the first drop at once, and of those behind it a minute later, whether or not others follow", async () => {
  const lines: { dropped: number; maxConnections: number }[] = [];
  const logger = pino({}, { write: (line) => void lines.push(JSON.parse(line)) });
  const clock = new FakeClock();
  const drops = new DropLog({ clock, logger, maxConnections: 7 });
  drops.add();
  drops.add();
  await clock.advance(59_999);
  drops.add();
  drops.sweep();
  expect(lines.map(({ dropped }) => dropped)).toEqual([1]);
  await clock.advance(1);
  drops.sweep();
  expect(lines.map(({ dropped }) => dropped)).toEqual([1, 2]);
  await clock.advance(60_000);
  drops.sweep();
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatchObject({ maxConnections: 7 });
});
