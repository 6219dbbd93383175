import fc from "fast-check";
import {
  fromLocal,
  isZone,
  startOfDay,
  startOfMonth,
  startOfWeek,
  toLocal,
} from "../../../../web/counts/zone.js";

const iso = (at: number) => new Date(at).toISOString();

test.each([
  ["Europe/Berlin", [2026, 3, 28], "2026-03-27T23:00:00.000Z"],
  ["Europe/Berlin", [2026, 3, 29, 3], "2026-03-29T01:00:00.000Z"],
  ["Asia/Kolkata", [2026, 11, 28], "2026-11-27T18:30:00.000Z"],
  ["Asia/Kathmandu", [2026, 11, 28], "2026-11-27T18:15:00.000Z"],
  ["America/New_York", [2026, 11, 1, 1, 30], "2026-11-01T05:30:00.000Z"],
  ["UTC", [2026, 1, 0], "2025-12-31T00:00:00.000Z"],
])(
  "in %s the local time %j is the instant %s",
  (zone, [year = 0, month = 0, day = 0, hour, minute], instant) => {
    expect(iso(fromLocal(zone, year, month, day, hour, minute))).toBe(instant);
  },
);

test("a local time that the clock jumps over is moved forward by the jump", () => {
  expect(iso(fromLocal("Europe/Berlin", 2026, 3, 29, 2, 30))).toBe("2026-03-29T01:30:00.000Z");
  // At this day's begin the clock of Beirut went from 00:00 to 01:00.
  expect(iso(fromLocal("Asia/Beirut", 2022, 3, 27))).toBe("2022-03-26T22:00:00.000Z");
});

test("an instant has the local time that leads back to it, but for those that come twice", () => {
  const zones = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
  ];
  const minutes = fc.integer({ min: Date.UTC(2012) / 60_000, max: Date.UTC(2035) / 60_000 });
  fc.assert(
    fc.property(fc.constantFrom(...zones), minutes, (zone, minute) => {
      const at = minute * 60_000;
      const { year, month, day, hour, minute: local } = toLocal(at, zone);
      const back = fromLocal(zone, year, month, day, hour, local);
      expect(toLocal(back, zone)).toEqual(toLocal(at, zone));
      expect(back).toBeLessThanOrEqual(at);
    }),
  );
});

test("a day that the clock changes has 23 or 25 hours", () => {
  const hours = (at: number) => {
    const start = startOfDay(at, "Europe/Berlin");
    return (startOfDay(at, "Europe/Berlin", 1) - start) / 3_600_000;
  };
  expect(hours(Date.UTC(2026, 2, 29, 12))).toBe(23);
  expect(hours(Date.UTC(2026, 9, 25, 12))).toBe(25);
  expect(hours(Date.UTC(2026, 6, 1, 12))).toBe(24);
});

test("a week begins on Monday, a month on its first day", () => {
  const sunday = Date.UTC(2026, 10, 29, 12);
  expect(iso(startOfWeek(sunday, "UTC"))).toBe("2026-11-23T00:00:00.000Z");
  expect(iso(startOfMonth(sunday, "Asia/Tokyo"))).toBe("2026-10-31T15:00:00.000Z");
  expect(iso(startOfMonth(sunday, "UTC", -11))).toBe("2025-12-01T00:00:00.000Z");
});

test("what is no zone is known as such", () => {
  expect(["UTC", "Europe/Kyiv", "", "Europe/Nowhere", "<b>"].map(isZone)).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});
