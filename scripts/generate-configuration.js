/** Writes docs/configuration.md from src/config.ts, by way of the built code. */
import { writeFile } from "node:fs/promises";
import { settingDocs } from "../dist/src/config.js";

const PAGE = new URL("../docs/configuration.md", import.meta.url);

const HEADER = `# Configuration

<!-- Written by npm run generate, from src/config.ts. -->

All settings come from the environment; \`stats-service serve --help\` prints those of the service too, and the help of
each other command those that it reads: a command looks at no others. An empty value counts as absent. A setting that
cannot be used stops the start with a message that names each one at fault. They are read once: to change one, restart
the service.
`;

const TABLE_HEAD = ["| name | default | format | meaning |", "|---|---|---|---|"];

/** The settings of a group, one a row. */
function tableOf(group) {
  const settings = settingDocs.filter((setting) => setting.group === group);
  return settings.map(({ name, default: byDefault, format, description }) => {
    const cells = [`\`${name}\``, byDefault === "" ? "" : `\`${byDefault}\``, format, description];
    return `| ${cells.join(" | ")} |`;
  });
}

const groups = [...new Set(settingDocs.map(({ group }) => group))];
const sections = groups.map((group) => [`## ${group}`, "", ...TABLE_HEAD, ...tableOf(group), ""].join("\n"));
await writeFile(PAGE, [HEADER, ...sections].join("\n"));
