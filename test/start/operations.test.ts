import { once } from 'node:events';
import { cp, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { keyFile, lineOf } from '../http/test-server';
import { photo } from '../photos';
import { editManifest, TINY_BUNDLE } from '../tiny-bundle';
import { freePorts } from '../servers/free-ports';
import { ServerProcess } from './server-process';

// What an operator does to a server that runs: other bundles, other keys, traces.

let server: ServerProcess | undefined;
let folder: string;
/** The link that the server is told of; versions lie beside it. */
let current: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'distillvlm-'));
  current = path.join(folder, 'current');
  await addVersion('1.0.0');
  await symlink('1.0.0', current);
});
afterEach(async () => {
  server?.cleanUp();
  await rm(folder, { recursive: true });
});

async function addVersion(version: string): Promise<string> {
  const directory = path.join(folder, version);
  await cp(TINY_BUNDLE, directory, { recursive: true });
  await editManifest(directory, (manifest) => ({ ...manifest, version }));
  return directory;
}

async function pointTo(version: string): Promise<void> {
  await symlink(version, `${current}-next`);
  await rename(`${current}-next`, current);
}

async function start(environment: Record<string, string>): Promise<{ server: ServerProcess; url: string }> {
  server = new ServerProcess(['node', 'dist/main.js'], { MODEL_DIR: current, ...environment });
  await server.event('ready');
  return { server, url: `http://127.0.0.1:${await server.port()}` };
}

async function caption(
  url: string,
  model?: string,
  key?: string,
): Promise<{ status: number; model?: string; code?: string }> {
  const query = model === undefined ? '' : `?model=${model}`;
  const headers = { 'Content-Type': 'image/jpeg', ...(key && { Authorization: `Bearer ${key}` }) };
  const response = await fetch(`${url}/caption${query}`, {
    method: 'POST',
    headers,
    body: new Uint8Array(await photo()),
  });
  return { status: response.status, ...((await response.json()) as object) };
}

test('several bundles side by side: each answers what names it, the first what names none', async () => {
  const { url } = await start({ MORE_MODEL_DIRS: await addVersion('2.0.0') });
  expect(await caption(url)).toMatchObject({ status: 200, model: 'tiny@1.0.0' });
  expect(await caption(url, 'tiny')).toMatchObject({ status: 200, model: 'tiny@1.0.0' });
  expect(await caption(url, 'tiny@2.0.0')).toMatchObject({ status: 200, model: 'tiny@2.0.0' });
  expect(await caption(url, 'tiny@3.0.0')).toMatchObject({ status: 404, code: 'model_not_found' });
  const { models } = (await (await fetch(`${url}/models`)).json()) as { models: { id: string; devices: string[] }[] };
  expect(models).toMatchObject([
    { id: 'tiny@1.0.0', devices: ['cpu'] },
    { id: 'tiny@2.0.0', devices: ['cpu'] },
  ]);
});

test('SIGHUP under load: another version serves, no request is dropped, and the old processes end', async () => {
  const { server, url } = await start({});
  await addVersion('2.0.0');
  const answers: { status: number; model?: string }[] = [];
  const client = async (): Promise<void> => {
    while (answers.at(-1)?.model !== 'tiny@2.0.0') {
      answers.push(await caption(url));
    }
  };
  const clients = [client(), client(), client()];
  await pointTo('2.0.0');
  process.kill(server.pid, 'SIGHUP');
  await Promise.all(clients);
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  expect(await server.event('reloaded')).toMatchObject({ models: ['tiny@2.0.0'] });
  expect(await server.event('inference_process_gone')).toMatchObject({ how: 'exited with 0' });
});

test('a bundle replaced by a broken one leaves the old one serving, even where its process dies', async () => {
  const [adminPort] = await freePorts(1);
  const admin = {
    ADMIN_PORT: String(adminPort),
    ADMIN_KEYS_FILE: keyFile(lineOf('operator', 'k')),
    API_KEYS_FILE: keyFile(lineOf('alice', 'a1')),
  };
  const { server, url } = await start(admin);
  const reload = (headers: Record<string, string>) =>
    fetch(`http://127.0.0.1:${admin.ADMIN_PORT}/admin/reload`, { method: 'POST', headers });
  expect((await reload({})).status).toBe(401);
  await writeFile(path.join(await addVersion('2.0.0'), 'answers.json'), '[]');
  await pointTo('2.0.0');
  await writeFile(admin.API_KEYS_FILE, lineOf('alice', 'a2'));
  const refused = await reload({ Authorization: 'Bearer k' });
  expect(refused.status).toBe(422);
  expect(await refused.json()).toMatchObject({
    code: 'bundle_refused',
    detail: expect.stringContaining('answers.json') as string,
  });
  // Bundles and keys are accepted together, or neither.
  expect(await caption(url, undefined, 'a2')).toMatchObject({ status: 401 });
  await writeFile(admin.ADMIN_KEYS_FILE, 'no key');
  const unread = await reload({ Authorization: 'Bearer k' });
  expect([unread.status, await unread.json()]).toMatchObject([422, { code: 'keys_refused' }]);
  process.kill((await server.event('inference_process_ready')).pid ?? 0, 'SIGKILL');
  await server.event('inference_process_gone');
  expect(await caption(url, undefined, 'a1')).toMatchObject({ status: 200, model: 'tiny@1.0.0' });
});

test('spans go to the collector that is named, with its headers, before the server has ended', async () => {
  const collector = createServer().listen(0, '127.0.0.1');
  await once(collector, 'listening');
  const { port } = collector.address() as AddressInfo;
  const received = once(collector, 'request') as Promise<[IncomingMessage, ServerResponse]>;
  const { server, url } = await start({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}/`,
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20a=b%2C, x=1',
  });
  await fetch(`${url}/health/live`);
  process.kill(server.pid, 'SIGTERM');
  const [request, response] = await received;
  response.end();
  expect(await server.exit).toBe(0);
  collector.close();
  expect(request.url).toBe('/v1/traces');
  expect(request.headers).toMatchObject({ authorization: 'Bearer a=b,', x: '1' });
  expect(await server.event('settings')).toMatchObject({ OTEL_EXPORTER_OTLP_HEADERS: '***' });
});

test('an explicit device that is not there stops the start with the remedy', async () => {
  server = new ServerProcess(['node', 'dist/main.js'], { DEVICE: 'cuda:0' });
  expect(await server.exit).toBe(1);
  expect(server.stderr).toMatch(/The device cuda:0 cannot be used: .*or set DEVICE=cpu\./);
});
