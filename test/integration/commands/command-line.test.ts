import { environmentName } from "../../../src/config/setting.js";
import { serviceSettings } from "../../../src/config.js";
import { runCommand } from "../../support/run-command.js";

test("--help names the commands, and that of serve every setting of the service", async () => {
  const { status, stdout } = await runCommand(["--help"]);
  expect(status).toBe(0);
  for (const command of ["serve", "migrate", "status", "push", "dead", "retention", "token"]) {
    expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
  }
  const ofServe = await runCommand(["serve", "--help"]);
  for (const name of Object.keys(serviceSettings)) {
    expect(ofServe.stdout).toMatch(new RegExp(`^  ${environmentName(name)}( |$)`, "m"));
  }
});

test.each([
  [
    ["push", "--help"],
    ["--property <NAME>", "77 if it refuses", "STATS_URL"],
  ],
  [["help", "push"], ["--property <NAME>"]],
  [
    ["token", "create", "--help"],
    ["--expires <90d|DATE>", "AUTH_TOKENS_FILE"],
  ],
  [
    ["help", "dead"],
    ["list", "replay"],
  ],
])("%j tells of that command alone", async (args, words) => {
  const { status, stdout } = await runCommand(args);
  expect(status).toBe(0);
  for (const word of words) {
    expect(stdout).toContain(word);
  }
  expect(stdout).not.toContain("QUEUE_MAX_BYTES");
});

test.each([
  [["surf"], "unknown command 'surf'", "Try: stats-service --help"],
  [["constructor"], "unknown command 'constructor'", "Try: stats-service --help"],
  [["stauts"], "unknown command 'stauts'\n(Did you mean status?)", "Try: stats-service --help"],
  [["dead", "replya"], "unknown command 'replya'\n(Did you mean replay?)", "Try: stats-service dead --help"],
  [
    ["push", "--proprety", "x"],
    "unknown option '--proprety'\n(Did you mean --property?)",
    "Try: stats-service push --help",
  ],
  [["dead", "replay", "--limit", "5"], "unknown option '--limit'", "Try: stats-service dead replay --help"],
  [
    ["migrate", "now"],
    "too many arguments for 'migrate'. Expected 0 arguments but got 1.",
    "Try: stats-service migrate --help",
  ],
])("%j says what is wrong, and how to get help", async (args, message, hint) => {
  const { status, stderr } = await runCommand(args);
  expect(status).toBe(2);
  expect(stderr).toBe(`stats-service: ${message}\n${hint}\n`);
});

test("a command looks at no setting that it does not need", async () => {
  const environment = { RETENTION_DAYS: "many", PORT: "http", QUEUE_MAX_BYTES: "none", ADMIN_PORT: "1" };
  const { status, stderr } = await runCommand(["status"], environment);
  expect(status).toBe(69);
  expect(stderr).toContain("no service answers at http://127.0.0.1:1");
});

test("all settings that cannot be used are named at once", async () => {
  const { status, stderr } = await runCommand([], { PORT: "http", FLUSH_MAX_ROWS: "0", LOG_LEVEL: "loud" });
  expect(status).toBe(2);
  expect(stderr).toMatch(/PORT: .*\n.*FLUSH_MAX_ROWS: .*\n.*LOG_LEVEL: /);
});
