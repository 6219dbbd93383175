import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { WATCHDOG_MARGIN_MS } from "../../../src/commands/serve.js";
import { type Config, loadConfig, settingDocs } from "../../../src/config.js";
import { AdminServer } from "../../../src/server/admin-server.js";
import { Health } from "../../../src/server/health.js";
import { migrationsDirectory, webDirectory } from "../../../src/util/package-info.js";
import { silent } from "../../support/rpc-port.js";

const ROOT = join(import.meta.dirname, "../../..");
const SETTINGS = new Set(settingDocs.map(({ name }) => name));

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

interface Port {
  readonly name: string;
  readonly port: number;
  readonly targetPort: string;
}

interface Container {
  readonly image: string;
  readonly env: readonly { name: string; valueFrom: { secretKeyRef: unknown } }[];
  readonly envFrom: readonly { configMapRef: { name: string } }[];
  readonly ports: readonly { name: string; containerPort: number }[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly resources: { limits: { memory: string } };
  readonly securityContext: object;
  readonly volumeMounts: readonly { name: string; mountPath: string }[];
}

interface StatefulSet {
  readonly spec: {
    readonly serviceName: string;
    readonly template: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly securityContext: object;
        readonly containers: readonly [Container];
      };
    };
    readonly volumeClaimTemplates: readonly [
      { metadata: { name: string }; spec: { resources: { requests: { storage: string } } } },
    ];
  };
}

interface Service {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly selector: object; readonly ports: readonly Port[] };
}

function read(path: string): Promise<string> {
  return readFile(join(ROOT, path), "utf8");
}

async function manifests<T>(name: string): Promise<T[]> {
  const documents = parseAllDocuments(await read(`ops/kubernetes/${name}`), { strict: true });
  return documents.map((document) => document.toJS() as T);
}

/** The variables of an env file, as kustomize reads it. */
async function envFile(path: string): Promise<Record<string, string>> {
  const lines = (await read(path)).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

/** From SIGTERM until the process has surely ended, in milliseconds. */
function longestStopMs({ lameDuckMs, shutdownTimeoutMs }: Config): number {
  return lameDuckMs + shutdownTimeoutMs + WATCHDOG_MARGIN_MS;
}

function bytesOf(quantity: string): number {
  const [, number, unit] = /^(\d+)(Mi|Gi)$/.exec(quantity) ?? [];
  return Number(number) * (unit === "Gi" ? 2 ** 30 : 2 ** 20);
}

describe("the Kubernetes manifests", () => {
  let settings: Record<string, string>;
  let config: Config;
  let set: StatefulSet["spec"];
  let pod: StatefulSet["spec"]["template"]["spec"];
  let container: Container;

  beforeAll(async () => {
    settings = await envFile("ops/kubernetes/settings.env");
    config = loadConfig(settings);
    const [statefulSet] = await manifests<StatefulSet>("statefulset.yaml");
    if (statefulSet === undefined) {
      throw new Error("statefulset.yaml is empty");
    }
    set = statefulSet.spec;
    pod = set.template.spec;
    container = pod.containers[0];
  });

  it("names only settings that there are, and each pod gets them", async () => {
    const names = [...Object.keys(settings), ...container.env.map(({ name }) => name)];
    expect(names.filter((name) => !SETTINGS.has(name))).toEqual([]);
    const [kustomization] = await manifests<{ configMapGenerator: { name: string; envs: string[] }[] }>(
      "kustomization.yaml",
    );
    expect(kustomization?.configMapGenerator).toEqual([
      { name: container.envFrom[0]?.configMapRef.name, envs: ["settings.env"] },
    ]);
  });

  it("takes the database's address from a secret, and from nowhere else", () => {
    expect(container.env).toEqual([
      { name: "DATABASE_URL", valueFrom: { secretKeyRef: expect.objectContaining({ key: "DATABASE_URL" }) } },
    ]);
    expect(settings).not.toHaveProperty("DATABASE_URL");
  });

  it("gives a pod more time to stop than the service takes at most", () => {
    expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThan(longestStopMs(config));
    expect(config.lameDuckMs).toBeGreaterThan(0);
  });

  it("opens the ports that the service listens on, to all of the cluster", async () => {
    expect(config.host).toBe("::");
    expect(container.ports).toEqual([
      { name: "rpc", containerPort: config.port },
      { name: "admin", containerPort: config.adminPort },
    ]);
    const services = await manifests<Service>("service.yaml");
    expect(services.map(({ metadata }) => metadata.name)).toContain(set.serviceName);
    for (const { spec } of services) {
      expect(set.template.metadata.labels).toMatchObject(spec.selector);
      for (const { port, targetPort } of spec.ports) {
        expect(container.ports).toContainEqual({ name: targetPort, containerPort: port });
      }
    }
  });

  it("asks for paths that the admin port serves", async () => {
    const health = new Health();
    await using admin = new AdminServer({ host: "127.0.0.1", port: 0, health, logger: silent });
    const { port } = await admin.listen();
    health.setServing();
    for (const { httpGet } of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
      expect(httpGet.port).toBe("admin");
      expect((await fetch(`http://127.0.0.1:${port}${httpGet.path}`)).status).toBe(200);
    }
    health.setNotServing("full");
    expect((await fetch(`http://127.0.0.1:${port}${container.livenessProbe.httpGet.path}`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${port}${container.readinessProbe.httpGet.path}`)).status).toBe(
      503,
    );
  });

  it("keeps the spool on a volume of the pod's own that has room for it", () => {
    const [claim] = set.volumeClaimTemplates;
    expect(container.volumeMounts).toEqual([{ name: claim.metadata.name, mountPath: config.dataDir }]);
    expect(config.spoolDir.startsWith(`${config.dataDir}/`)).toBe(true);
    expect(bytesOf(claim.spec.resources.requests.storage)).toBeGreaterThan(config.spoolMaxBytes);
  });

  it("has memory for more than a full queue", () => {
    expect(bytesOf(container.resources.limits.memory)).toBeGreaterThan(4 * config.queueMaxBytes);
  });

  it("grants no more than the service needs", () => {
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
  });

  it("has every manifest in the kustomization, with this package's version", async () => {
    const [kustomization] = await manifests<{
      resources: string[];
      images: { name: string; newTag: string }[];
    }>("kustomization.yaml");
    expect(kustomization?.resources).toEqual([
      "statefulset.yaml",
      "service.yaml",
      "poddisruptionbudget.yaml",
    ]);
    const { version } = JSON.parse(await read("package.json")) as { version: string };
    expect(kustomization?.images).toEqual([{ name: container.image, newTag: version }]);
  });
});

describe("the Kubernetes manifests of edges and writers", () => {
  interface Manifest {
    readonly kind: string;
    readonly metadata: { readonly name: string };
    readonly spec: StatefulSet["spec"] & { readonly scaleTargetRef: { readonly name: string } };
  }

  interface EnvVariable {
    readonly name: string;
    readonly value?: string;
  }

  async function roles(): Promise<{ role: string; manifest: Manifest; settings: Record<string, string> }[]> {
    const settings = await envFile("ops/kubernetes/cluster/settings.env");
    return Promise.all(
      ["edge", "writer"].map(async (role) => {
        const all = await manifests<Manifest>(`cluster/${role}s.yaml`);
        const manifest = all.find(({ kind }) => kind === "Deployment");
        if (manifest === undefined) {
          throw new Error(`there is no Deployment of ${role}s`);
        }
        return { role, manifest, settings };
      }),
    );
  }

  it("give each role settings that it starts with, and an edge no database and no volume for data", async () => {
    for (const { role, manifest, settings } of await roles()) {
      const [container] = manifest.spec.template.spec.containers;
      const env = container.env as readonly EnvVariable[];
      const database = env.some(({ name }) => name === "DATABASE_URL") ? "postgres://h/d" : undefined;
      expect(database !== undefined).toBe(role === "writer");
      const own = Object.fromEntries(env.map(({ name, value }) => [name, value ?? "postgres://h/d"]));
      expect(Object.keys({ ...settings, ...own }).filter((name) => !SETTINGS.has(name))).toEqual([]);
      const config = loadConfig({ ...settings, ...own });
      expect(config.role).toBe(role);
      expect(manifest.spec.volumeClaimTemplates).toBeUndefined();
      expect(manifest.spec.template.spec.terminationGracePeriodSeconds * 1000).toBeGreaterThan(
        longestStopMs(config),
      );
      const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
      for (const file of [config.authTokensFile, config.tlsCertFile, config.tlsKeyFile]) {
        expect(mounts).toContain(dirname(file ?? ""));
      }
    }
  });

  it("scale edges by their use of the processor", async () => {
    const all = await manifests<Manifest>("cluster/edges.yaml");
    const scaler = all.find(({ kind }) => kind === "HorizontalPodAutoscaler");
    expect(scaler?.spec.scaleTargetRef.name).toBe("stats-edge");
  });

  it("are all in the kustomization, with this package's version", async () => {
    const [kustomization] = await manifests<{ resources: string[]; images: { newTag: string }[] }>(
      "cluster/kustomization.yaml",
    );
    const { version } = JSON.parse(await read("package.json")) as { version: string };
    expect(kustomization?.images[0]?.newTag).toBe(version);
    for (const name of kustomization?.resources ?? []) {
      expect((await manifests(`cluster/${name}`)).length).toBeGreaterThan(0);
    }
  });
});

describe("the image and the compose file", () => {
  it("start edges and writers with settings of their roles in the profile cluster", async () => {
    const { services } = parse(await read("docker-compose.yml"), { merge: true }) as {
      services: Record<string, ComposeService & { readonly profiles?: readonly string[] }>;
    };
    for (const [name, role] of [
      ["edge-1", "edge"],
      ["edge-2", "edge"],
      ["writer-1", "writer"],
      ["writer-2", "writer"],
    ] as const) {
      const service = services[name];
      expect(service?.profiles).toEqual(["cluster"]);
      expect(loadConfig(service?.environment ?? {}).role).toBe(role);
    }
    expect(Object.keys(services).filter((name) => name.startsWith("nats-"))).toHaveLength(3);
  });

  interface ComposeService {
    readonly environment: Record<string, string>;
    readonly ports: readonly string[];
    readonly stop_grace_period: string;
    readonly volumes: readonly string[];
  }

  it("name only settings that there are, and the ports that the service listens on", async () => {
    const dockerfile = await read("Dockerfile");
    const { services } = parse(await read("docker-compose.yml")) as { services: { stats: ComposeService } };
    const { stats } = services;
    expect(Object.keys(stats.environment).filter((name) => !SETTINGS.has(name))).toEqual([]);
    const { port, adminPort } = loadConfig({});
    expect(dockerfile).toContain(`\nEXPOSE ${port} ${adminPort}\n`);
    expect(stats.ports).toEqual([`127.0.0.1:${port}:${port}`, `127.0.0.1:${adminPort}:${adminPort}`]);
  });

  it("carry the folders that the service reads at run time, as the package does", async () => {
    const [dockerfile, ignored, manifest] = await Promise.all(
      ["Dockerfile", ".dockerignore", "package.json"].map(read),
    );
    for (const folder of [migrationsDirectory, webDirectory].map((path) => basename(path))) {
      expect(dockerfile).toContain(`\nCOPY ${folder} ${folder}\n`);
      expect(ignored).toContain(`\n!${folder}\n`);
      expect(JSON.parse(manifest ?? "").files).toContain(folder);
    }
  });

  it("keep the data on a volume, and give a stop more time than it takes at most", async () => {
    const dockerfile = await read("Dockerfile");
    const [, dataDir = ""] = /DATA_DIR=(\S+)/.exec(dockerfile) ?? [];
    expect(dockerfile).toContain(`\nVOLUME ${dataDir}\n`);
    const { services } = parse(await read("docker-compose.yml")) as { services: { stats: ComposeService } };
    expect(services.stats.volumes).toEqual([expect.stringMatching(`:${dataDir}$`)]);
    const seconds = Number(/^(\d+)s$/.exec(services.stats.stop_grace_period)?.[1]);
    expect(seconds * 1000).toBeGreaterThan(longestStopMs(loadConfig({})));
  });

  it("agree with the override that the operations page shows", async () => {
    const dockerfile = await read("Dockerfile");
    const page = await read("docs/operations.md");
    const [, yaml = ""] = /```yaml\n([^`]+)```/.exec(page) ?? [];
    const { stats } = (parse(yaml) as { services: { stats: ComposeService } }).services;
    expect(Object.keys(stats.environment).filter((name) => !SETTINGS.has(name))).toEqual([]);
    const [, dataDir = ""] = /DATA_DIR=(\S+)/.exec(dockerfile) ?? [];
    const folders = [dataDir, ...stats.volumes.map((volume) => volume.split(":")[1] ?? "")];
    const files = Object.values(stats.environment);
    expect(files.filter((file) => !folders.includes(dirname(file)))).toEqual([]);
  });

  it("have the command under the name that the documents call it by", async () => {
    const dockerfile = await read("Dockerfile");
    expect(dockerfile).toContain(" ln -s /app/dist/src/main.js /usr/local/bin/stats-service\n");
    expect(dockerfile).toContain(" chmod +x dist/src/main.js\n");
    expect(await read("src/main.ts")).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});
