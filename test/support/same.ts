/** Comparing, thousands of times in a test: `expect` takes ten times as long as what it compares. */
import { isDeepStrictEqual } from "node:util";

/** As `expect(actual).toStrictEqual(wanted)`. */
export function expectStrictlyEqual(actual: unknown, wanted: unknown): void {
  if (!isDeepStrictEqual(actual, wanted)) {
    expect(actual).toStrictEqual(wanted);
    throw new Error("expect() takes for equal what is not, strictly");
  }
}
