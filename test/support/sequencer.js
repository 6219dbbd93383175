/** The order of test files: those that take longest first, so that none of them is left to run alone at the end. */
import Sequencer from "@jest/test-sequencer";

/** By what they take; Jest itself goes by the sizes of files where it has not seen them run. */
const LONGEST = [
  "test/e2e/workers",
  "test/attack",
  "test/chaos",
  "test/e2e/client-package",
  "test/browser",
  "test/e2e/embedded",
  "test/integration/postgres/embedded",
  "test/integration/buffer/jetstream",
  "test/e2e",
];

function rank(path) {
  const index = LONGEST.findIndex((part) => path.includes(part));
  return index === -1 ? LONGEST.length : index;
}

// biome-ignore lint/style/noDefaultExport: jest takes its sequencer so
export default class LongestFirst extends Sequencer {
  sort(tests) {
    return super.sort(tests).toSorted((a, b) => rank(a.path) - rank(b.path));
  }
}
