import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inferenceEnvironment, readSettings, SETTINGS, sharedCores, showSettings, usableCores } from '../src/config';
import { processesFor } from '../src/cores';

test('nothing set: the defaults, and the cores shared among the processes', () => {
  const inferenceProcesses = processesFor();
  const split = { inferenceProcesses, intraOpThreads: sharedCores(inferenceProcesses) };
  expect(readSettings({ DEVICE: 'cpu' })).toMatchObject({ host: '0.0.0.0', port: 3000, ...split });
  expect(readSettings({ INFERENCE_PROCESSES: '64' }).intraOpThreads).toBe(Math.max(1, Math.floor(usableCores() / 64)));
});

test('an empty variable means the default, and blanks around a value do no harm', () => {
  expect(readSettings({ PORT: '', LOG_LEVEL: ' warn ' })).toMatchObject({ port: 3000, logLevel: 'warn' });
});

test('a relative bundle is taken from the project, an absolute one as it is', () => {
  expect(readSettings({ MODEL_DIR: 'models/a' }).modelDir).toBe(path.join(__dirname, '../models/a'));
  expect(readSettings({ MODEL_DIR: '/b' }).modelDir).toBe(path.resolve('/b'));
});

test.each([
  [{ PORT: '0' }, { port: 0 }],
  [{ PORT: '65535' }, { port: 65_535 }],
  [{ VALIDATE_RESPONSES: 'true' }, { validateResponses: true }],
  [{ VALIDATE_RESPONSES: 'false' }, { validateResponses: false }],
])('%o is allowed', (environment, settings) => {
  expect(readSettings(environment)).toMatchObject(settings);
});

test.each([
  [{ PORT: '65536' }, 'PORT is "65536", and must be a whole number from 0 to 65535.'],
  [{ PORT: '-1' }, 'PORT is "-1"'],
  [{ PORT: '1e3' }, 'PORT is "1e3"'],
  [{ INFERENCE_PROCESSES: '65' }, 'from 0 to 64'],
  [{ VALIDATE_RESPONSES: 'constructor' }, 'must be true or false'],
  [{ LOG_LEVEL: 'loud' }, 'must be one of debug, info, warn, error, silent'],
])('%o is refused', (environment, sentence) => {
  expect(() => readSettings(environment)).toThrow(sentence);
});

function settingsFile(text: string): string {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'settings-')), 'settings.yaml');
  writeFileSync(file, text);
  return file;
}

test('a flag goes before the environment, that before the file, and that before the default', () => {
  const file = settingsFile('port: 1\nmax_queue: 1001\nrate_limit: 5\ncors_origins: [https://a.org, https://b.org]');
  const environment = { CONFIG_FILE: file, PORT: '2', MAX_QUEUE: '1002' };
  expect(readSettings(environment, ['--port=3'])).toMatchObject({
    port: 3,
    maxQueue: 1002,
    rateLimit: 5,
    corsOrigins: ['https://a.org', 'https://b.org'],
    maxBatch: 8,
  });
  expect(readSettings({ CONFIG_FILE: '/no/such' }, ['--config-file', file]).port).toBe(1);
});

test.each([
  [['--prot', '1'], {}, 'There is no setting for the flag --prot; the nearest is --port.'],
  [['8080'], {}, 'There is no setting for the flag 8080'],
  [['--port'], {}, '--port is given without a value.'],
  [['--port', 'x'], {}, '--port is "x", and must be a whole number'],
  [[], { CONFIG_FILE: '/no/such' }, 'The settings in /no/such cannot be read'],
  [[], { CONFIG_FILE: settingsFile('prot: 1') }, /"prot" in .*; the nearest is port\./],
  [[], { CONFIG_FILE: settingsFile('- port') }, 'must hold settings by name'],
  [[], { OTEL_EXPORTER_OTLP_ENDPOINT: 'localhost:4318' }, /^OTEL.* is "localhost:4318", and must be an address like/],
  [[], { OTEL_EXPORTER_OTLP_ENDPOINT: 'me:secret@localhost' }, 'is "***@localhost", and must be an address like'],
  [[], { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://me:se/cret@localhost' }, 'is "http://***@localhost", and must be'],
  [[], { OTEL_EXPORTER_OTLP_HEADERS: 'authorization' }, 'is "***", and must be name=value, separated by commas'],
  [[], { OTEL_EXPORTER_OTLP_HEADERS: 'a=100%' }, 'is "***", and must be name=value, separated by commas'],
  [[], { DEVICE: 'gpu' }, 'must be auto, cpu, cuda, cuda:<number> or webgpu'],
  [[], { ADMIN_PORT: '9000' }, 'ADMIN_PORT needs ADMIN_KEYS_FILE'],
  [[], { METRICS: 'admin' }, 'for which ADMIN_PORT must be set'],
])('%o with %o is refused', (flags, environment, sentence) => {
  expect(() => readSettings(environment, flags)).toThrow(sentence);
});

test('settings are shown by name, of a secret only that it is set', () => {
  const shown = showSettings(readSettings({ OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer abc', PORT: '80' }));
  expect(shown).toMatchObject({ PORT: 80, OTEL_EXPORTER_OTLP_HEADERS: '***', API_KEYS_FILE: '' });
  expect(Object.keys(shown)).toHaveLength(Object.keys(SETTINGS).length);
  expect(showSettings(readSettings({}))).toMatchObject({ OTEL_EXPORTER_OTLP_HEADERS: '' });
});

test('an address is shown without the password that may stand in it', () => {
  const show = (endpoint: string) =>
    showSettings(readSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }))['OTEL_EXPORTER_OTLP_ENDPOINT'];
  expect(show('http://a.org:1/x')).toBe('http://a.org:1/x');
  expect(show('https://me:secret@a.org/x')).toBe('https://***@a.org/x');
  expect(show('http://me:se@cret@a.org')).toBe('http://***@a.org');
  // As a URL, an address with the path of "/cret@a.org".
  expect(show('http://me:1/cret@a.org')).toBe('http://***@a.org');
});

test('headers for traces are percent-decoded', () => {
  const { otlpHeaders } = readSettings({ OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20YTpi=, x = 1%2C2' });
  expect(otlpHeaders).toEqual([
    ['authorization', 'Basic YTpi='],
    ['x', '1,2'],
  ]);
});

test('inference processes do not learn what is secret', () => {
  const secrets = ['API_KEY', 'QUEUE_PASSWORD', 'OTEL_EXPORTER_OTLP_HEADERS', 'AWS_SECRET_ACCESS_KEY'];
  // A name and password may stand in it.
  secrets.push('OTEL_EXPORTER_OTLP_ENDPOINT');
  const environment = Object.fromEntries([...secrets, 'PORT'].map((variable) => [variable, '1']));
  const inherited = Object.keys(inferenceEnvironment(environment));
  expect(inherited).toEqual(expect.arrayContaining(['PORT']));
  expect(inherited.filter((variable) => secrets.includes(variable))).toEqual([]);
});

test('settings cannot be changed once they are read', () => {
  expect(Object.isFrozen(readSettings({}))).toBe(true);
});

test('the README lists every setting with its default', () => {
  const readme = readFileSync(path.join(__dirname, '../README.md'), 'utf8');
  const listed = [...readme.matchAll(/^\| `([A-Z_]+)` \| `([^`]*)` \|/gm)].map(([, variable, fallback]) => [
    variable,
    fallback,
  ]);
  expect(listed.toSorted()).toEqual(
    Object.values(SETTINGS)
      .map(({ variable, fallback }) => [variable, String(fallback) || '(empty)'])
      .toSorted(),
  );
});

test('inference processes give memory back to the system, unless the operator has it otherwise', () => {
  expect(inferenceEnvironment({ HOME: '/' })).toEqual({
    HOME: '/',
    MALLOC_ARENA_MAX: '2',
    MALLOC_MMAP_THRESHOLD_: '1048576',
  });
  expect(inferenceEnvironment({ MALLOC_ARENA_MAX: '8' })).toMatchObject({ MALLOC_ARENA_MAX: '8' });
});
