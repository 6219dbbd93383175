import { pino } from "pino";
import { createServiceContainer } from "../../../src/app/container.js";
import { loadConfig } from "../../../src/config.js";
import { SpanRecorder } from "../../support/span-recorder.js";

/** How many interceptors stand around each call of a service with these settings. */
function countInterceptors(environment: Readonly<Record<string, string>>): number {
  const config = loadConfig(environment);
  return createServiceContainer(config, pino({ level: config.logLevel })).cradle.interceptors.length;
}

describe("the interceptors around a call", () => {
  it("are none when nobody watches and anyone may call", () => {
    expect(countInterceptors({ METRICS: "off" })).toBe(0);
  });

  it("are one more when callers need a token", () => {
    expect(countInterceptors({ METRICS: "off", AUTH_TOKENS_FILE: "tokens.json" })).toBe(1);
  });

  it("are one for metrics, one for the log at level debug, and one for traces when there is an SDK", () => {
    expect(countInterceptors({})).toBe(1);
    expect(countInterceptors({ LOG_LEVEL: "debug" })).toBe(2);
    const recorder = new SpanRecorder();
    try {
      expect(countInterceptors({ METRICS: "off", LOG_LEVEL: "error" })).toBe(1);
    } finally {
      recorder[Symbol.dispose]();
    }
  });
});
