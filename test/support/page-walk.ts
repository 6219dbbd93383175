/** Loads a page as a browser does, with all that it and its scripts and styles name. */

const TYPES = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
} as const;

/** The files that a page or a script names. */
function namedIn(text: string): string[] {
  return [...text.matchAll(/(?:href|src)="([^"]+\.\w+)"|^import (?:.* from )?"\.\/([^"]+)"/gm)].map(
    ([, linked, imported]) => linked ?? imported ?? "",
  );
}

/** The files that the page at `url` loads, itself as `index.html`; each is expected to be served as what it is. */
export async function walkPage(url: string): Promise<string[]> {
  const visited = new Set<string>();
  const open = ["index.html"];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (visited.has(file)) {
      continue;
    }
    visited.add(file);
    const answer = await fetch(new URL(file === "index.html" ? "" : file, url));
    const type = TYPES[file.split(".").at(-1) as keyof typeof TYPES];
    expect([file, answer.status, answer.headers.get("content-type")]).toEqual([file, 200, type]);
    const text = await answer.text();
    open.push(...(file === "uplot.js" ? [] : namedIn(text)));
  }
  return [...visited].sort();
}
