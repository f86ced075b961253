import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { globSync } from 'tinyglobby';
import { parse, parseAllDocuments } from 'yaml';
import { type Options, withRunOptions } from '../../src/batch/options';
import { withWorkOptions } from '../../src/batch/work-command';
import { readSettings, SETTINGS } from '../../src/config';
import { processesFor } from '../../src/cores';

const ROOT = path.join(__dirname, '../..');
const IMAGE = 'distillvlm:latest';
/** What the server takes to finish what is in flight: README.md. */
const CLOSING_SECONDS = 20;

interface Port {
  readonly name: string;
  readonly containerPort: number;
}

interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string };
}

interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly Port[];
  readonly resources?: { readonly limits?: { readonly cpu?: string; readonly memory?: string } };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: true }[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly lifecycle?: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
}

interface Manifest {
  readonly kind: 'Deployment' | 'Service' | 'Job';
  readonly metadata: { readonly name: string };
  readonly spec: {
    /** Of a Service the labels themselves, of a Deployment below `matchLabels`. */
    readonly selector?: Readonly<Record<string, unknown>>;
    readonly ports?: readonly { readonly port: number; readonly targetPort: string }[];
    readonly completionMode?: string;
    readonly completions?: number;
    readonly podFailurePolicy?: { readonly rules: readonly { onExitCodes?: { containerName: string } }[] };
    readonly template?: {
      readonly metadata?: { readonly labels: Record<string, string> };
      readonly spec: {
        readonly containers: readonly Container[];
        readonly volumes?: readonly { readonly name: string }[];
        readonly terminationGracePeriodSeconds?: number;
      };
    };
  };
}

interface Compose {
  readonly services: Record<
    string,
    {
      image: string;
      command?: string[];
      environment?: Record<string, string>;
      depends_on?: Record<string, { condition: string }>;
      healthcheck?: { test?: string[]; disable?: true };
      restart?: string;
      volumes?: string[];
    }
  >;
}

function read(file: string): string {
  return readFileSync(path.join(ROOT, 'deploy', file), 'utf8');
}

const manifests = globSync('kubernetes/*.yaml', { cwd: path.join(ROOT, 'deploy') })
  .sort()
  .flatMap((file) => parseAllDocuments(read(file)).map((document) => document.toJS() as Manifest));
const { services } = parse(read('compose.yaml'), { merge: true }) as Compose;

/** Every container of ours, with the shards that its manifest starts. */
const containers = [
  ...manifests.flatMap(({ spec, metadata }) =>
    (spec.template?.spec.containers ?? []).map((container) => ({
      where: `${metadata.name}/${container.name}`,
      image: container.image,
      line: [...(container.command ?? []), ...(container.args ?? [])],
      variables: (container.env ?? []).map(({ name, value }) => [name, value ?? 'a-secret'] as const),
      // As Kubernetes numbers the pods of an Indexed Job.
      indexes: spec.completionMode === 'Indexed' ? [...Array(spec.completions).keys()] : undefined,
    })),
  ),
  ...Object.entries(services).map(([name, { image, command = [], environment = {} }]) => ({
    where: `compose/${name}`,
    image,
    line: command,
    variables: Object.entries(environment),
    indexes: undefined,
  })),
].filter(({ image }) => image === IMAGE);

const COMMANDS = { score: withRunOptions, work: withWorkOptions };

function parsed(line: readonly string[]): { inputs: string[]; options: Options } {
  const [node, script = '', name, ...args] = line;
  expect([node, existsSync(path.join(ROOT, script.replace('dist/', 'src/').replace(/js$/, 'ts')))]).toEqual([
    'node',
    true,
  ]);
  const command = COMMANDS[name as keyof typeof COMMANDS](new Command(name).exitOverride(), readSettings({}));
  command.parse(args, { from: 'user' });
  return { inputs: command.args, options: command.opts() };
}

test('there is something to check', () => {
  expect(containers.map(({ where }) => where)).toEqual([
    'worker/worker',
    'score-at-queue/score',
    'score/score',
    'distillvlm/server',
    'compose/server',
    'compose/worker',
    'compose/score',
  ]);
});

test.each(containers)('$where: every variable is a setting, with a value that it may have', ({ variables }) => {
  const known = Object.values(SETTINGS).map(({ variable }) => variable);
  expect(known).toEqual(expect.arrayContaining(variables.map(([name]) => name)));
  expect(() => readSettings(Object.fromEntries(variables))).not.toThrow();
});

test.each(containers.filter(({ line }) => line.length > 0))(
  '$where: every flag exists, with a value that it may have; shards are all of the collection',
  ({ line, indexes }) => {
    const lines = (indexes ?? [0]).map((index) =>
      line.map((word) => (indexes === undefined ? word : word.replaceAll('$(JOB_COMPLETION_INDEX)', String(index)))),
    );
    expect(lines.flat().filter((word) => word.includes('$('))).toEqual([]);
    const runs = lines.map(parsed);
    if (indexes !== undefined) {
      expect(runs.map(({ options }) => options.shard)).toEqual(
        indexes.map((index) => ({ index, count: indexes.length })),
      );
      expect(new Set(runs.map(({ options }) => options.out)).size).toBe(indexes.length);
    }
  },
);

test('probes ask paths that the server has, at the port that it is told', () => {
  const { paths } = parse(readFileSync(path.join(ROOT, 'openapi.yaml'), 'utf8')) as { paths: Record<string, unknown> };
  const server = manifests.find(({ metadata, kind }) => metadata.name === 'distillvlm' && kind === 'Deployment');
  const [container] = server?.spec.template?.spec.containers ?? [];
  const { startupProbe, readinessProbe, livenessProbe, env = [], ports = [] } = container ?? {};
  const probes = [startupProbe, readinessProbe, livenessProbe].map((probe) => probe?.httpGet);
  expect(probes.map((probe) => probe?.path)).toEqual(['/health/ready', '/health/ready', '/health/live']);
  expect(Object.keys(paths)).toEqual(expect.arrayContaining(['/health/ready', '/health/live']));
  expect(new Set(probes.map((probe) => probe?.port))).toEqual(new Set(ports.map(({ name }) => name)));
  const port = env.find(({ name }) => name === 'PORT')?.value;
  expect(ports.map(({ containerPort }) => String(containerPort))).toEqual([port]);
  const waitsSeconds = Number(container?.lifecycle?.preStop.exec.command[1]);
  const graceSeconds = server?.spec.template?.spec.terminationGracePeriodSeconds;
  expect(graceSeconds).toBeGreaterThan(waitsSeconds + CLOSING_SECONDS);
});

test('services find their pods, pods their labels, mounts their volumes, policies their containers', () => {
  const deployments = manifests.filter(({ kind }) => kind === 'Deployment');
  for (const { spec, kind } of manifests) {
    if (kind === 'Service') {
      const target = deployments.find(({ spec: { template } }) =>
        Object.entries(spec.selector ?? {}).every(([label, value]) => template?.metadata?.labels[label] === value),
      );
      const names = target?.spec.template?.spec.containers.flatMap(({ ports = [] }) => ports.map(({ name }) => name));
      expect(names).toEqual(spec.ports?.map(({ targetPort }) => targetPort));
    }
    if (kind === 'Deployment') {
      expect(spec.template?.metadata?.labels).toEqual(spec.selector?.['matchLabels']);
    }
    const pod = spec.template?.spec;
    const volumes = pod?.volumes?.map(({ name }) => name) ?? [];
    for (const { volumeMounts = [] } of pod?.containers ?? []) {
      expect(volumeMounts.map(({ name }) => name)).toEqual(volumes);
    }
    for (const { onExitCodes } of spec.podFailurePolicy?.rules ?? []) {
      if (onExitCodes !== undefined) {
        expect(pod?.containers.map(({ name }) => name)).toContain(onExitCodes.containerName);
      }
    }
  }
});

test('a queue is looked for where one is', () => {
  const serviced = manifests
    .filter(({ kind }) => kind === 'Service')
    .map(({ metadata, spec }) => `${metadata.name}:${spec.ports?.[0]?.port}`);
  const composed = Object.keys(services).map((name) => `${name}:6379`);
  for (const { where, line } of containers) {
    const [, host] = /--queue=redis:\/\/(\S+)/.exec(line.join(' ')) ?? [];
    if (host !== undefined) {
      expect(where.startsWith('compose/') ? composed : serviced).toContain(host);
    }
  }
});

test("the server's memory holds the processes that it starts there, what they decode, and the bodies", () => {
  const server = manifests.find(({ metadata, kind }) => metadata.name === 'distillvlm' && kind === 'Deployment');
  const [container] = server?.spec.template?.spec.containers ?? [];
  const { cpu, memory } = container?.resources?.limits ?? {};
  const memoryBytes = Number(/^(\d+)Gi$/.exec(memory ?? '')?.[1]) * 2 ** 30;
  const { maxQueueMegabytes } = readSettings(
    Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value])),
  );
  const processes = processesFor(Number(cpu), memoryBytes);
  expect(processes).toBe(Number(cpu));
  // docs/operations.md: the server; a process, its cache and the largest AVIF; the bodies of both priorities, twice.
  expect(170e6 + processes * (600e6 + 900e6) + 2 * 2 * maxQueueMegabytes * 1e6).toBeLessThan(memoryBytes);
});

test('with Compose only a server is asked whether it is ready, what needs the queue waits for it, and all start again', () => {
  const { server, queue, worker, score } = services;
  // That of the image.
  expect(server?.healthcheck).toBeUndefined();
  expect(queue?.healthcheck?.test).toBeDefined();
  for (const service of [worker, score]) {
    expect(service).toMatchObject({
      healthcheck: { disable: true },
      depends_on: { queue: { condition: 'service_healthy' } },
    });
  }
  expect(Object.values(services).map(({ restart }) => restart)).toEqual([
    'unless-stopped',
    'unless-stopped',
    'on-failure',
    'on-failure:5',
  ]);
});
