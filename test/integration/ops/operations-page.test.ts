import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../../..");

/** All of src/ as one text. */
async function sourceText(): Promise<string> {
  const entries = await readdir(join(ROOT, "src"), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith(".ts"));
  const texts = await Promise.all(
    files.map(({ parentPath, name }) => readFile(join(parentPath, name), "utf8")),
  );
  return texts.join("\n");
}

test("the operations page quotes only log lines that the service writes", async () => {
  const page = await readFile(join(ROOT, "docs/operations.md"), "utf8");
  const table = page.slice(page.indexOf("## Troubleshooting"));
  const symptoms = table
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split(" | ")[0] ?? "");
  const quotes = symptoms.flatMap((symptom) =>
    [...symptom.matchAll(/`([^`]+)`/g)].map(([, quote = ""]) => quote),
  );
  const logLines = quotes.map((quote) => quote.replace(/ …$/, "")).filter((quote) => quote.includes(" "));
  const source = await sourceText();
  expect(logLines.length).toBeGreaterThan(10);
  expect(logLines.filter((line) => !source.includes(line))).toEqual([]);
});

test("the operations page links only to what there is", async () => {
  const page = await readFile(join(ROOT, "docs/operations.md"), "utf8");
  const links = [...page.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path = ""]) => join(ROOT, "docs", path));
  for (const link of links) {
    const exists = await readFile(link).then(
      () => true,
      (error: { code?: string }) => error.code === "EISDIR",
    );
    expect([link, exists]).toEqual([link, true]);
  }
});
