import { type EventLine, readEventLines } from "../../../src/commands/push/event-lines.js";

/** Reads bytes that come in pieces of `size`. */
async function read(text: string, size = 4096): Promise<EventLine[]> {
  const bytes = Buffer.from(text);
  async function* input() {
    for (let start = 0; start < bytes.length; start += size) {
      yield bytes.subarray(start, start + size);
    }
  }
  const lines: EventLine[] = [];
  for await (const line of readEventLines(input())) {
    lines.push(line);
  }
  return lines;
}

test("reads an event from each line, however the input is cut", async () => {
  const text =
    '{"property":"news","section":3,"id":42}\n{"property":"é","section":1,"id":2,"event_id":"x"}\r\n\n{"eventId":"y"}';
  const expected = [
    { number: 1, event: { property: "news", section: 3, item: 42, eventId: undefined } },
    { number: 2, event: { property: "é", section: 1, item: 2, eventId: "x" } },
    { number: 4, event: { property: "", section: 0, item: 0, eventId: "y" } },
  ];
  for (const size of [1, 7, 40, 4096]) {
    expect(await read(text, size)).toEqual(expected);
  }
});

test.each([
  ["nope", /^is not JSON: /],
  ["[1]", /^is not an event: /],
  ['{"property":7}', /^is not an event: /],
  ['{"property":"news","colour":1}', /^is not an event: .*colour/],
  ['{"property":"news","section":-1}', /^is not an event: /],
  [`"${"x".repeat(20_000)}"`, /^is longer than 16384 bytes$/],
])("says why a line is no event, and goes on: %s", async (line, fault) => {
  const good = '{"property":"news","section":3,"id":42}';
  expect(await read(`${good}\n${line}\n${good}`)).toMatchObject([
    { number: 1, event: { item: 42 } },
    { number: 2, fault: expect.stringMatching(fault) },
    { number: 3, event: { item: 42 } },
  ]);
});
