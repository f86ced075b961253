import { writeFileSync } from 'node:fs';
import { ApiKeys } from '../../src/http/api-keys';
import { photo } from '../photos';
import { form, keyFile, lineOf, TestServer } from './test-server';

let server: TestServer | undefined;

afterEach(() => server?.close());

const bearer = (key: string): RequestInit => ({ headers: { Authorization: `Bearer ${key}` } });

async function start(rateLimit = 0): Promise<{ server: TestServer; keys: ApiKeys; file: string }> {
  const file = keyFile('# who may ask', '', lineOf('alice', 'a1'), lineOf('bob', 'b1'));
  const keys = await ApiKeys.read(file);
  server = await TestServer.start({ keys, rateLimit });
  return { server, keys, file };
}

test.each(['/models', '/caption', '/vqa'])('%s asks for a key, and says how to send it', async (path) => {
  const { server } = await start();
  const init = path === '/models' ? {} : { method: 'POST', body: form(['image', await photo()]) };
  const refused = await server.get(path, init);
  expect(refused).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  expect(refused.headers.get('www-authenticate')).toBe('Bearer');
  expect(server.service.jobs).toEqual([]);
});

test.each(['/health/live', '/health/ready', '/v2/health/ready', '/metrics', '/openapi.yaml', '/docs'])(
  '%s stays open',
  async (path) => {
    const { server } = await start();
    expect(await server.get(path)).toMatchObject({ status: 200 });
  },
);

test.each([
  ['Bearer a1', 200],
  ['bearer b1', 200],
  ['Bearer a2', 401],
  ['Bearer ', 401],
  ['Bearer a1 b1', 401],
  ['Basic a1', 401],
  [lineOf('alice', 'a1').replace('alice', 'Bearer'), 401],
])('Authorization "%s" is answered with %i', async (Authorization, status) => {
  const { server } = await start();
  expect(await server.get('/models', { headers: { Authorization } })).toMatchObject({ status });
});

test("the log says whose key it was, and never a key or a stranger's", async () => {
  const { server } = await start();
  await server.get('/models', bearer('a1'));
  await server.get('/models', bearer('stranger'));
  expect(server.log.map((line) => (JSON.parse(line) as { client?: string }).client)).toEqual(['alice', undefined]);
  expect(server.log.join()).not.toMatch(/Bearer|"a1"|stranger/);
});

test('keys change without a restart: both while they change, then the new one alone', async () => {
  const { server, keys, file } = await start();
  const statuses = async () => [
    (await server.get('/models', bearer('a1'))).status,
    (await server.get('/models', bearer('a2'))).status,
  ];
  writeFileSync(file, [lineOf('alice', 'a1'), lineOf('alice', 'a2')].join('\n'));
  (await ApiKeys.readAgain(keys))();
  expect(await statuses()).toEqual([200, 200]);
  writeFileSync(file, lineOf('alice', 'a2'));
  (await ApiKeys.readAgain(keys))();
  expect(await statuses()).toEqual([401, 200]);
  writeFileSync(file, 'alice a3');
  await expect(ApiKeys.readAgain(keys)).rejects.toMatchObject({
    code: 'keys_refused',
    detail: expect.stringMatching(/^Line 1 of .* must be an owner and the SHA-256/) as string,
  });
  expect(await statuses()).toEqual([401, 200]);
});

test('owners of keys are limited by themselves, wherever they ask from', async () => {
  const { server } = await start(1);
  const ask = async (key: string) =>
    server.post('/caption', form(['image', await photo()]), bearer(key).headers as Record<string, string>);
  expect((await ask('a1')).status).toBe(200);
  expect((await ask('a1')).status).toBe(429);
  expect((await ask('b1')).status).toBe(200);
});

test.each([
  ['an empty file', '', /has no key/],
  ['a key in place of its hash', 'alice a1', /^Line 1 of/],
  ['a hash without an owner', lineOf('', 'a1').trim(), /^Line 1 of/],
])('%s is refused', async (_circumstance, content, sentence) => {
  await expect(ApiKeys.read(keyFile(content))).rejects.toThrow(sentence);
});

test('a file that is not there is refused by a sentence', async () => {
  await expect(ApiKeys.read('/no/such/file')).rejects.toThrow(/^The keys in \/no\/such\/file cannot be read/);
});

test('keys that were read again count when they are accepted, and no sooner', async () => {
  const { server, keys, file } = await start();
  writeFileSync(file, lineOf('alice', 'a2'));
  const accept = await ApiKeys.readAgain(keys);
  expect((await server.get('/models', bearer('a1'))).status).toBe(200);
  accept();
  expect((await server.get('/models', bearer('a1'))).status).toBe(401);
});

test('where one of two files is not right, the keys of both stay', async () => {
  const files = [keyFile(lineOf('alice', 'a1')), keyFile(lineOf('operator', 'o1'))] as const;
  const [keys, adminKeys] = await Promise.all([ApiKeys.read(files[0]), ApiKeys.read(files[1])]);
  writeFileSync(files[0], lineOf('alice', 'a2'));
  writeFileSync(files[1], '');
  await expect(ApiKeys.readAgain(keys, adminKeys)).rejects.toMatchObject({ code: 'keys_refused' });
  const ownerOf = (owned: ApiKeys, key: string) => owned.ownerOf({ authorization: `Bearer ${key}` });
  expect([ownerOf(keys, 'a1'), ownerOf(keys, 'a2'), ownerOf(adminKeys, 'o1')]).toEqual([
    'alice',
    undefined,
    'operator',
  ]);
});
