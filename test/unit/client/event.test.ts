import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { EVENT_MAX_BYTES, eventBytes } from "../../../client/src/event.js";
import { PushBatchRequestSchema } from "../../../gen/stats/v1/stats_pb.js";
import { anyText } from "../../support/arbitraries.js";

const REQUEST_FIELDS_BYTES = 16;

test("an event never takes more bytes in a request than it is reckoned with", () => {
  const event = fc.record({
    property: anyText({ minLength: 1, maxLength: 16 }),
    section: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    item: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    eventId: fc.uuid({ version: 7 }),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 5 }), (events) => {
      const size = toBinary(PushBatchRequestSchema, create(PushBatchRequestSchema, { events })).length;
      const reckoned = events.reduce((total, one) => total + eventBytes(one), 0);
      expect(size).toBeLessThanOrEqual(reckoned + REQUEST_FIELDS_BYTES);
      expect(events.every((one) => eventBytes(one) <= EVENT_MAX_BYTES)).toBe(true);
    }),
  );
});

test("the largest event of the contract takes what it is reckoned with", () => {
  const event = {
    property: "p".repeat(32),
    section: 2 ** 32 - 1,
    item: 2 ** 32 - 1,
    eventId: "01890a5d-ac96-774b-bcce-b302099a8057",
  };
  const size = toBinary(PushBatchRequestSchema, create(PushBatchRequestSchema, { events: [event] })).length;
  expect(eventBytes(event) - size).toBeLessThanOrEqual(1);
});
