import { readdir, readFile } from "node:fs/promises";
import { join, normalize } from "node:path";

const SRC = join(import.meta.dirname, "../../src");

/** The folders of src/, and the modules that are in none, from those that know most to those that know nothing. */
const LAYERS = [
  ["main"],
  ["cli"],
  ["commands"],
  ["app"],
  ["telemetry"],
  ["config"],
  ["rpc"],
  ["server"],
  ["auth"],
  ["client"],
  ["ingest"],
  ["buffer"],
  ["sink"],
  ["postgres"],
  ["event"],
  ["util"],
];

/** The layer of a module, by its path from src/; -1: it has none. */
function layerOf(path: string): number {
  const [first = ""] = path.split("/");
  return LAYERS.findIndex((names) => names.includes(first.replace(/\.[jt]s$/, "")));
}

/** What a module imports of src/, by the path from there; types, too. */
async function importsOf(path: string): Promise<string[]> {
  const code = await readFile(join(SRC, path), "utf8");
  const specifiers = [...code.matchAll(/^(?:import|export|\}) .*?"(\.[^"]+)";$/gm)].map(
    ([, name]) => name ?? "",
  );
  return specifiers.map((name) => normalize(join(path, "..", name))).filter((name) => !name.startsWith(".."));
}

test("every module imports from its own layer and those below it, types included", async () => {
  const paths = await readdir(SRC, { recursive: true });
  const against: string[] = [];
  let imports = 0;
  for (const path of paths.filter((each) => each.endsWith(".ts"))) {
    for (const imported of await importsOf(path)) {
      imports += 1;
      if (layerOf(path) === -1 || layerOf(imported) < layerOf(path)) {
        against.push(`${path} imports ${imported}`);
      }
    }
  }
  expect(against).toEqual([]);
  expect(imports).toBeGreaterThan(500);
});
