import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

const SRC = join(import.meta.dirname, "../../src");

/** The packages that are loaded with a module: its imports of values, theirs, and so on. */
async function packagesOf(path: string, seen = new Set<string>()): Promise<Set<string>> {
  if (seen.has(path)) {
    return new Set();
  }
  seen.add(path);
  const code = await readFile(join(SRC, path), "utf8");
  const specifiers = [...code.matchAll(/^(?:import(?! type)|export|\}) [^;]*?from "([^"]+)";$/gm)].map(
    ([, name = ""]) => name,
  );
  const packages = new Set(specifiers.filter((name) => !/^(\.|node:)/.test(name)));
  for (const name of specifiers.filter((each) => each.startsWith("."))) {
    const target = relative(SRC, join(SRC, dirname(path), name)).replace(/\.js$/, ".ts");
    for (const each of await packagesOf(target, seen)) {
      packages.add(each);
    }
  }
  return packages;
}

test("the command line waits for commander alone, before it knows which command to load", async () => {
  expect([...(await packagesOf("cli.ts"))]).toEqual(["commander"]);
});

test("main loads nothing before it holds signals", async () => {
  expect([...(await packagesOf("main.ts"))]).toEqual([]);
});
