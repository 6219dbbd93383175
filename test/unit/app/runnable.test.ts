import { NO_BOOKS, sumBooks } from "../../../src/app/runnable.js";

const EMPTY = NO_BOOKS;

describe("sumBooks", () => {
  it("adds up each count", () => {
    const one = { ...EMPTY, accepted: 3, recovered: 1, inserted: 2, buffered: 2 };
    const other = { ...EMPTY, accepted: 4, inserted: 3, dead: 1 };
    expect(sumBooks([one, other])).toEqual({
      ...EMPTY,
      accepted: 7,
      recovered: 1,
      inserted: 5,
      dead: 1,
      buffered: 2,
      forwarded: 0,
    });
  });

  it("balances only if each does: what is missing in one is not made good by too much in another", () => {
    const short = { ...EMPTY, missing: 1, isBalanced: false };
    const over = { ...EMPTY, missing: -1, isBalanced: false };
    expect(sumBooks([EMPTY, EMPTY]).isBalanced).toBe(true);
    expect(sumBooks([short, over])).toMatchObject({ missing: 0, isBalanced: false });
  });
});
