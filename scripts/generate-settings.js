/** Writes the settings table of README.md from src/config.ts, by way of the built code. */
import { readFile, writeFile } from "node:fs/promises";
import { settingDocs } from "../dist/src/config.js";

const README = new URL("../README.md", import.meta.url);
const BEGIN = "<!-- settings: written by npm run generate -->";
const END = "<!-- /settings -->";

const rows = settingDocs.map(({ name, default: byDefault, description }) => {
  const value = byDefault === "" ? "" : `\`${byDefault}\``;
  return `| \`${name}\` | ${value} | ${description} |`;
});
const table = ["| name | default | |", "|---|---|---|", ...rows].join("\n");

const readme = await readFile(README, "utf8");
const begin = readme.indexOf(BEGIN);
const end = readme.indexOf(END);
if (begin === -1 || end === -1) {
  throw new Error(`README.md has no place for the settings: ${BEGIN} … ${END}`);
}
await writeFile(README, `${readme.slice(0, begin + BEGIN.length)}\n${table}\n${readme.slice(end)}`);
