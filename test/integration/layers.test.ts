import { readdir, readFile } from "node:fs/promises";
import { join, normalize } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
/** The modules of the service, and of the client: `src/ingest/flusher.ts` is in the layer `ingest`. */
const FOLDERS = ["src", "client/src"];

/**
 * The folders of src/, the modules that are in none, and the client, from those that know most to those that know
 * nothing.
 */
const LAYERS = [
  ["main"],
  ["cli"],
  ["commands"],
  ["client"],
  ["app"],
  ["telemetry"],
  ["config"],
  ["rpc"],
  ["server"],
  ["auth"],
  ["ingest"],
  ["counts"],
  ["buffer"],
  ["sink"],
  ["postgres"],
  ["event"],
  ["util"],
];

/** The layer of a module, by its path; -1: it has none. */
function layerOf(path: string): number {
  const [folder = "", first = ""] = path.split("/");
  if (folder === "client") {
    return LAYERS.findIndex((names) => names.includes(folder));
  }
  return LAYERS.findIndex((names) => names.includes(first.replace(/\.[jt]s$/, "")));
}

/** What a module imports: other modules of this repository by path, all else by name; types, too. */
async function allImportsOf(path: string): Promise<string[]> {
  const code = await readFile(join(ROOT, path), "utf8");
  const specifiers = code.matchAll(/^(?:import|export|\}) (?:.*?\bfrom )?"([^"]+)";$/gm);
  return [...specifiers].map(([, name = ""]) =>
    name.startsWith(".") ? normalize(join(path, "..", name)).replace(/\.js$/, ".ts") : name,
  );
}

/** What a module imports of the folders. */
async function importsOf(path: string): Promise<string[]> {
  return (await allImportsOf(path)).filter((name) => FOLDERS.some((folder) => name.startsWith(`${folder}/`)));
}

/** The paths of all modules. */
async function modules(): Promise<string[]> {
  const folders = FOLDERS.map(async (folder) => {
    const paths = await readdir(join(ROOT, folder), { recursive: true });
    return paths.filter((path) => path.endsWith(".ts")).map((path) => join(folder, path));
  });
  return (await Promise.all(folders)).flat();
}

test("every module imports from its own layer and those below it, types included", async () => {
  const against: string[] = [];
  let imports = 0;
  for (const path of await modules()) {
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

const POSTGRES = /^(src\/postgres\/|pg$|pg-)/;
const HTTP = /^(src\/(rpc|server)\/|node:(http|https|http2|net|tls)$|@connectrpc\/)/;

/** What the drawing in docs/architecture.md says of a layer, by name. */
test.each([
  ["src/ingest/", "PostgreSQL", POSTGRES],
  ["src/ingest/", "HTTP", HTTP],
  ["src/buffer/", "PostgreSQL", POSTGRES],
  ["src/buffer/", "HTTP", HTTP],
  ["src/sink/", "HTTP", HTTP],
  ["src/sink/", "the buffer", /^src\/buffer\//],
  ["src/rpc/", "PostgreSQL, the sink or the buffer", /^(src\/(postgres|sink|buffer)\/|pg$)/],
  ["src/event/", "any folder but util and its own", /^src\/(?!event\/|util\/)/],
  ["src/util/", "any folder but its own", /^src\/(?!util\/)/],
])("%s knows nothing of %s", async (folder, _what, unknown) => {
  const paths = (await modules()).filter((path) => path.startsWith(folder));
  expect(paths).not.toEqual([]);
  const against: string[] = [];
  for (const path of paths) {
    for (const imported of await allImportsOf(path)) {
      if (unknown.test(imported)) {
        against.push(`${path} imports ${imported}`);
      }
    }
  }
  expect(against).toEqual([]);
});

test("the client imports nothing of Node's, however far, and of the service a few modules", async () => {
  const visited = new Set(["client/src/index.ts", "client/src/contract.ts"]);
  const packages = new Set<string>();
  for (const path of visited) {
    for (const imported of await allImportsOf(path)) {
      if (imported.endsWith(".ts")) {
        visited.add(imported);
      } else {
        packages.add(imported.split("/").slice(0, 2).join("/"));
      }
    }
  }
  expect([...packages].sort()).toEqual([
    "@bufbuild/protobuf",
    "@connectrpc/connect",
    "@connectrpc/connect-web",
  ]);
  expect([...visited].filter((path) => path.startsWith("src/")).sort()).toEqual([
    "src/event/event-id.ts",
    "src/event/uuid.ts",
    "src/util/backoff.ts",
    "src/util/clock.ts",
    "src/util/error-message.ts",
  ]);
});
