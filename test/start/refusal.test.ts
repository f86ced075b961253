import { execFile } from 'node:child_process';
import { cp, mkdtemp, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { ServerProcess, TINY_BUNDLE } from './server-process';

let server: ServerProcess | undefined;

afterEach(() => {
  server?.cleanUp();
});

async function refusal(environment: Record<string, string>): Promise<string> {
  server = new ServerProcess(['node', 'dist/main.js'], environment);
  expect(await server.exit).toBe(1);
  expect(server.groupLives).toBe(false);
  return server.stderr;
}

test.each([
  ['PORT', 'eighty', 'PORT is "eighty", and must be a whole number from 0 to 65535.'],
  ['LOG_LEVEL', 'loud', 'LOG_LEVEL is "loud", and must be one of debug, info, warn, error, silent.'],
  ['MODEL_DIR', 'no/such/bundle', /no\/such\/bundle/],
])('%s of %s stops the start with a sentence', async (variable, value, sentence) => {
  const told = await refusal({ [variable]: value });
  expect(told).toMatch(sentence);
  expect(told).not.toContain('    at ');
});

test('--help lists the settings and starts nothing', async () => {
  const { stdout } = await promisify(execFile)('node', [path.join(__dirname, '../../dist/main.js'), '--help']);
  expect(stdout).toMatch(/--max-queue +MAX_QUEUE +512/);
});

test('a bundle with a changed file stops the start and names the file', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'distillvlm-'));
  await cp(TINY_BUNDLE, directory, { recursive: true });
  await writeFile(path.join(directory, 'answers.json'), '[]');
  expect(await refusal({ MODEL_DIR: directory })).toContain('answers.json');
});

test('a port that is taken stops the start and names the remedy', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const { port } = other.address() as AddressInfo;
  expect(await refusal({ PORT: String(port) })).toContain('set PORT');
  other.close();
});
