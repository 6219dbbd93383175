import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { METRICS, type MetricDefinition } from "../../../src/telemetry/metric-definitions.js";
import { Metrics } from "../../../src/telemetry/metrics.js";
import { systemClock } from "../../../src/util/clock.js";

const ROOT = join(import.meta.dirname, "../../..");
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const readYaml = <T>(path: string): T => parse(read(path)) as T;

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: {
    readonly summary: string;
    readonly description: string;
    readonly runbook_url: string;
  };
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly fieldConfig?: { readonly defaults: { readonly thresholds?: object } };
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly { readonly expr: string }[];
}

interface Compose {
  readonly services: Record<
    string,
    { profiles?: string[]; image?: string; ports?: string[]; volumes?: string[]; build?: string }
  >;
}

const rules = readYaml<{ groups: { rules: Rule[] }[] }>("ops/prometheus/alerts.yml").groups.flatMap(
  (group) => group.rules,
);
const dashboard = JSON.parse(read("ops/grafana/dashboards/stats-service.json")) as { panels: Panel[] };
const expressions = [
  ...rules.map(({ alert, expr }) => ({ of: alert, expr })),
  ...dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ of: title, expr }))),
];
const definitions = new Map<string, MetricDefinition>(
  Object.values(METRICS).map((each) => [each.name, each]),
);
/** What a target's own labels are, and what histograms have besides. */
const LABELS_OF_ALL = ["instance", "job", "le"];

/** Metrics that an expression names, without the endings of a histogram's series. */
function metricsIn(expr: string): string[] {
  const names = expr.match(/\b(?:stats|nodejs|process)_[a-z0-9_]+/g) ?? [];
  return names.map((name) => (definitions.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "")));
}

/** Labels that an expression selects, groups or drops by. */
function labelsIn(expr: string): string[] {
  const selected = [...expr.matchAll(/([a-z_]+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label]) => label ?? "");
  const grouped = [...expr.matchAll(/\b(?:by|without)\s*\(([^)]*)\)/g)].flatMap(([, list = ""]) =>
    list.split(",").map((label) => label.trim()),
  );
  return [...selected, ...grouped];
}

describe("alerts and dashboards", () => {
  const known = new Set([
    ...definitions.keys(),
    ...new Metrics({ clock: systemClock }).registry.getMetricsAsArray().map(({ name }) => name),
  ]);

  it.each(expressions)("$of asks for metrics and labels that exist", ({ expr }) => {
    const metrics = metricsIn(expr);
    const labels = metrics.flatMap((name) => Object.keys(definitions.get(name)?.labels ?? {}));
    expect(metrics.filter((name) => !known.has(name))).toEqual([]);
    expect(metrics.length > 0 || expr.startsWith("up{")).toBe(true);
    expect(labelsIn(expr).filter((label) => ![...LABELS_OF_ALL, ...labels].includes(label))).toEqual([]);
  });

  it("of the two, the dashboard shows every metric of the service but its version and former names", () => {
    const shown = new Set(expressions.flatMap(({ expr }) => metricsIn(expr)));
    const isFormer = (name: string) => definitions.get(name)?.help.startsWith("Former name of") ?? false;
    const missing = [...definitions.keys()].filter((name) => !shown.has(name) && !isFormer(name));
    expect(missing).toEqual(["stats_build_info"]);
  });

  it("each panel has an id of its own and asks the chosen data source", () => {
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const asking = dashboard.panels.filter(({ targets }) => targets !== undefined);
    for (const { datasource } of asking) {
      expect(datasource?.uid).toMatch(/^\$\{datasource\}$/);
    }
  });

  // https://grafana.com/docs/grafana/latest/panels-visualizations/configure-thresholds/
  it("each coloured value says from where on, since Grafana's own default is red from 80 on", () => {
    const coloured = dashboard.panels.filter(({ type }) => type === "stat");
    expect(coloured.length).toBeGreaterThan(0);
    expect(
      coloured
        .filter(({ fieldConfig }) => fieldConfig?.defaults.thresholds === undefined)
        .map(({ title }) => title),
    ).toEqual([]);
  });
});

describe("alerts", () => {
  const operations = read("docs/operations.md");

  it.each(rules)(
    "$alert has a severity, says where it is, and is explained",
    ({ alert, labels, annotations }) => {
      expect(["warning", "critical"]).toContain(labels.severity);
      expect(annotations.summary).toContain("{{ $labels.instance }}");
      expect(annotations.runbook_url).toBe(
        `{{ $externalLabels.stats_docs }}operations.md#${alert.toLowerCase()}`,
      );
      expect(operations).toContain(`### ${alert}\n`);
    },
  );

  it("have names of their own, and a test each", () => {
    const names = rules.map(({ alert }) => alert);
    expect(new Set(names).size).toBe(names.length);
    const tests = readYaml<{ tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[] }>(
      "ops/prometheus/alerts.test.yml",
    ).tests.flatMap((each) => each.alert_rule_test);
    const firing = new Set(tests.filter((each) => each.exp_alerts.length > 0).map((each) => each.alertname));
    expect(names.filter((name) => !firing.has(name))).toEqual([]);
  });
});

describe('the profile "monitoring"', () => {
  const { services } = readYaml<Compose>("docker-compose.yml");
  const monitoring = Object.entries(services).filter(([, { profiles }]) => profiles?.includes("monitoring"));

  it("has Prometheus and Grafana, of fixed versions, open to this machine alone", () => {
    expect(monitoring.map(([name]) => name)).toEqual(["prometheus", "grafana"]);
    for (const [, { image, ports = [] }] of monitoring) {
      expect(image).toMatch(/:v?\d+\.\d+\.\d+$/);
      expect(ports.filter((port) => !port.startsWith("127.0.0.1:"))).toEqual([]);
    }
    const published = Object.values(services).flatMap(({ ports = [] }) =>
      ports.map((port) => port.split(":")[1]),
    );
    expect(new Set(published).size).toBe(published.length);
  });

  it("mounts what is there, and the parts find each other", () => {
    const mounted = monitoring
      .flatMap(([, { volumes = [] }]) => volumes)
      .filter((volume) => volume.startsWith("./"));
    for (const volume of mounted) {
      expect(readdirSync(join(ROOT, volume.split(":")[0] ?? "")).length).toBeGreaterThan(0);
    }
    const config = readYaml<{
      rule_files: string[];
      scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[];
    }>("ops/prometheus/prometheus.yml");
    expect(config.rule_files).toEqual(["alerts.yml"]);
    expect(config.scrape_configs).toMatchObject([
      { job_name: "stats-service", static_configs: [{ targets: ["stats:3001"] }] },
    ]);
    expect(services).toHaveProperty("stats");
    const { datasources } = readYaml<{ datasources: { url: string; uid: string }[] }>(
      "ops/grafana/provisioning/datasources/prometheus.yml",
    );
    expect(datasources).toMatchObject([{ url: "http://prometheus:9090", uid: "prometheus" }]);
    const { providers } = readYaml<{ providers: { options: { path: string } }[] }>(
      "ops/grafana/provisioning/dashboards/stats-service.yml",
    );
    const path = providers[0]?.options.path ?? "";
    expect(services.grafana?.volumes).toContain(`./ops/grafana/dashboards:${path}:ro`);
  });
});
