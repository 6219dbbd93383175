/** The names that people gave to properties, sections and items, in the table `labels`. */
import type { CountKey } from "./series.js";
import type { Snapshot } from "./snapshot.js";

/** Both are empty where there is no name, or no address. */
export interface Label {
  readonly label: string;
  readonly url: string;
}

const NO_LABEL: Label = { label: "", url: "" };

/** The labels of the property, and of the section and item of the key, as far as it has them, in this order. */
export async function readLabels({ client }: Snapshot, key: CountKey): Promise<Label[]> {
  const { property, section, item } = key;
  const { rows } = await client.query<Label & { section: string; item: string }>(
    `SELECT section, item, label, coalesce(url, '') AS url FROM labels
     WHERE property = $1 AND (section, item) IN ((0, 0), ($2, 0), ($2, $3))`,
    [property, section ?? 0, item ?? 0],
  );
  const find = (ofSection: number, ofItem: number) => {
    const row = rows.find((each) => each.section === String(ofSection) && each.item === String(ofItem));
    return row === undefined ? NO_LABEL : { label: row.label, url: row.url };
  };
  return [
    find(0, 0),
    ...(section === undefined ? [] : [find(section, 0)]),
    ...(section === undefined || item === undefined ? [] : [find(section, item)]),
  ];
}
