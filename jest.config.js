const shared = {
  testEnvironment: "node",
  extensionsToTreatAsEsm: [".ts"],
  transform: { "^.+\\.ts$": ["@swc/jest", { jsc: { target: "es2022", parser: { syntax: "typescript" } } }] },
  // TypeScript sources import each other by their compiled names.
  moduleNameMapper: { "^(\\.{1,2}/.*)\\.js$": "$1" },
};

// Jest runs these only when a test of such a project runs, so unit tests alone start no PostgreSQL.
const withPostgres = {
  globalSetup: "<rootDir>/test/support/global-setup.js",
  globalTeardown: "<rootDir>/test/support/global-teardown.js",
};

const restart = {
  ...shared,
  ...withPostgres,
  displayName: "restart",
  testMatch: ["<rootDir>/test/restart/**/*.test.ts"],
};

/** @type {import("jest").Config} */
export default {
  // Most tests wait for processes, so three keep two cores busy; each also takes its share of the server's connections.
  maxWorkers: 3,
  // A test that makes a cluster of its own, or waits for one to recover, takes seconds.
  testTimeout: 30_000,
  testSequencer: "<rootDir>/test/support/sequencer.js",
  projects: [
    { ...shared, displayName: "unit", testMatch: ["<rootDir>/test/unit/**/*.test.ts"] },
    {
      ...shared,
      ...withPostgres,
      displayName: "integration",
      testMatch: ["<rootDir>/test/integration/**/*.test.ts"],
    },
    { ...shared, displayName: "chaos", testMatch: ["<rootDir>/test/chaos/**/*.test.ts"] },
    {
      ...shared,
      ...withPostgres,
      displayName: "attack",
      testMatch: ["<rootDir>/test/attack/**/*.test.ts"],
    },
    { ...shared, ...withPostgres, displayName: "e2e", testMatch: ["<rootDir>/test/e2e/**/*.test.ts"] },
    {
      ...shared,
      ...withPostgres,
      displayName: "browser",
      testMatch: ["<rootDir>/test/browser/**/*.test.ts"],
    },
    // Minutes, and proxies that few machines have: `npm run test:restart` runs them.
    ...(process.env.RESTART_TESTS === "on" ? [restart] : []),
  ],
};
