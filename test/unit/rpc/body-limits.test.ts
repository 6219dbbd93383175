import { BodyLimits } from "../../../src/rpc/body-limits.js";

const KIB = 1024;

describe("BodyLimits", () => {
  it("lets bodies grow until there is no room, and again when others are gone", () => {
    const limits = new BodyLimits({ requestMaxBytes: 64 * KIB, bodiesMaxBytes: 100 * KIB });
    expect(limits.tryGrow(0, 60 * KIB)).toBe(true);
    expect(limits.tryGrow(0, 40 * KIB)).toBe(true);
    expect(limits.tryGrow(40 * KIB, 41 * KIB)).toBe(false);
    expect(limits.usedBytes).toBe(100 * KIB);
    limits.leave(60 * KIB);
    expect(limits.tryGrow(40 * KIB, 41 * KIB)).toBe(true);
    limits.leave(41 * KIB);
    expect(limits.usedBytes).toBe(0);
  });

  it("lets small bodies in even when there is no room", () => {
    const limits = new BodyLimits({ requestMaxBytes: KIB, bodiesMaxBytes: 0 });
    expect(limits.tryGrow(0, 4 * KIB)).toBe(true);
    expect(limits.tryGrow(4 * KIB, 4 * KIB + 1)).toBe(false);
    limits.leave(4 * KIB);
    expect(limits.usedBytes).toBe(0);
  });
});
