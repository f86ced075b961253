import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { PhotoFetcher } from '../../src/http/photo-fetcher';
import { isPublic, type Resolve } from '../../src/http/public-address';
import { photo } from '../photos';
import { TestServer } from './test-server';

let origin: Server;
let port: number;
let answer: RequestListener;
let asked: string[];
let server: TestServer | undefined;

beforeEach(async () => {
  asked = [];
  const jpeg = await photo();
  answer = (_request, response) => response.end(jpeg);
  origin = createServer((request, response) => {
    asked.push(`${request.headers.host}${request.url}`);
    answer(request, response);
  });
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
  ({ port } = origin.address() as AddressInfo);
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  origin.closeAllConnections();
  await new Promise((resolve) => origin.close(resolve));
});

/** Stands for DNS: every name is at `address`. */
function everyNameAt(address: string, names: string[] = []): Resolve {
  return (host, _options, callback) => {
    names.push(host);
    callback(null, [{ address, family: 4 }]);
  };
}

/** As in earnest, but that the test's own server, on this host, counts as public. */
async function start(options: Partial<ConstructorParameters<typeof PhotoFetcher>[0]> = {}): Promise<TestServer> {
  const fetcher = new PhotoFetcher({
    hosts: ['photos.test', '*.cdn.test'],
    ports: [String(port)],
    resolve: everyNameAt('127.0.0.1'),
    isAllowedAddress: (address) => address === '127.0.0.1' || isPublic(address),
    ...options,
  });
  server = await TestServer.start({ fetcher });
  return server;
}

const at = (host: string, path = '/a.jpg'): string => `http://${host}:${port}${path}`;

test.each(['photos.test', 'eu.cdn.test', 'PHOTOS.test'])('a photo at %s, which is listed, is fetched', async (host) => {
  const { status } = await (await start()).postJson('/caption', { image: at(host) });
  expect(status).toBe(200);
  expect(asked).toEqual([`${host.toLowerCase()}:${port}/a.jpg`]);
});

test('without a list nothing is fetched', async () => {
  const { status, body } = await (await start({ hosts: [] })).postJson('/caption', { image: at('photos.test') });
  expect([status, body]).toMatchObject([400, { code: 'image_url_refused' }]);
  expect(asked).toEqual([]);
});

test.each([
  ['another host', () => at('other.test')],
  ['the name of a listed one as a part', () => at('photos.test.evil.test')],
  ['the domain of a pattern itself', () => at('cdn.test')],
  ['a name and password', () => `http://user:pass@photos.test:${port}/`],
  ['another port', () => 'http://photos.test:22/'],
  ['an address', () => at('127.0.0.1')],
  ['an address in hex', () => at('0x7f000001')],
  ['an address of IPv6', () => at('[::1]')],
  ['nothing', () => 'http://'],
])('a URL with %s is refused, and nobody is asked', async (_circumstance, url) => {
  const { status, body } = await (await start()).postJson('/caption', { image: url() });
  expect([status, body]).toMatchObject([400, { code: 'image_url_refused' }]);
  expect(asked).toEqual([]);
});

test('a listed host whose name leads to an address that is not public is not connected to', async () => {
  const { status, body } = await (
    await start({ isAllowedAddress: isPublic })
  ).postJson('/caption', { image: at('photos.test') });
  expect([status, body]).toMatchObject([422, { code: 'image_unavailable' }]);
  expect(asked).toEqual([]);
});

test('a listed host that is written as an address is held against the ranges too', async () => {
  const hosts = ['127.0.0.1'];
  const { status } = await (
    await start({ hosts, isAllowedAddress: isPublic })
  ).postJson('/caption', { image: at('127.0.0.1') });
  expect(status).toBe(400);
  expect(asked).toEqual([]);
});

test('a name is resolved once for a connection, so that it cannot change between the look and the call', async () => {
  const names: string[] = [];
  await (await start({ resolve: everyNameAt('127.0.0.1', names) })).postJson('/caption', { image: at('photos.test') });
  expect(names).toEqual(['photos.test']);
});

test.each([
  ['to a listed host is followed', (): string => at('b.cdn.test'), 200, undefined],
  ['to another host is not', (): string => at('other.test'), 400, 'image_url_refused'],
  ['to another scheme is not', (): string => 'file:///etc/passwd', 400, 'image_url_refused'],
  ['to an address that is not public is not', (): string => 'http://169.254.169.254/', 400, 'image_url_refused'],
])('a redirect %s', async (_circumstance, target, status, code) => {
  const serve = answer;
  answer = (request, response) => {
    if (request.url === '/a.jpg' && request.headers.host?.startsWith('photos')) {
      response.writeHead(302, { location: target() }).end();
    } else {
      serve(request, response);
    }
  };
  const answered = await (await start()).postJson('/caption', { image: at('photos.test') });
  expect(answered).toMatchObject({ status, ...(code && { body: { code } }) });
});

test('redirects without end are given up', async () => {
  answer = (_request, response) => response.writeHead(302, { location: '/again' }).end();
  const { body } = await (await start()).postJson('/caption', { image: at('photos.test') });
  expect(body).toMatchObject({ code: 'image_unavailable' });
  expect(asked).toHaveLength(4);
});

test('a photo without end is cut off at the limit of a photo, and the request with it', async () => {
  answer = (_request, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(1e6)));
    };
    response.on('drain', more);
    more();
  };
  const started = await start();
  for (const fields of [{ image: at('photos.test') }, { images: [at('photos.test'), at('photos.test')] }]) {
    const { status, body } = await started.postJson('/caption', fields);
    expect([status, body]).toMatchObject([413, { code: 'image_too_large' }]);
  }
});

test('a host that does not answer costs no more than the deadline, however often garbage is collected', async () => {
  // On Node 20 a timeout that only `AbortSignal.any` waits for is garbage.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const collecting = setInterval(collect, 20);
  answer = () => undefined;
  const started = await start();
  const headers = { 'Content-Type': 'application/json', 'X-Request-Timeout-Ms': '300' };
  const { body } = await started.post('/caption', JSON.stringify({ image: at('photos.test') }), headers);
  clearInterval(collecting);
  expect(body).toMatchObject({ code: 'image_unavailable' });
}, 8_000);

test('a host that changes to another protocol has no photo', async () => {
  answer = (request) =>
    request.socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: none\r\n\r\n');
  const { status, body } = await (await start()).postJson('/caption', { image: at('photos.test') });
  expect([status, body]).toMatchObject([422, { code: 'image_unavailable' }]);
});

test('among several photos one that cannot be fetched has its problem, and the others stand', async () => {
  const serve = answer;
  answer = (request, response) => {
    if (request.url === '/gone') {
      response.writeHead(404).end();
    } else {
      serve(request, response);
    }
  };
  const images = [at('photos.test', '/gone'), at('photos.test'), (await photo()).toString('base64')];
  const { status, body } = await (await start()).postJson('/caption', { images });
  expect(status).toBe(200);
  const caption = expect.any(String) as string;
  expect(body).toMatchObject({ results: [{ problem: { code: 'image_unavailable' } }, { caption }, { caption }] });
});

test('photos that came in the request take nothing of what those behind URLs may bring', async () => {
  const large = Buffer.concat([await photo(), Buffer.alloc(19_000_000)]);
  answer = (_request, response) => response.end(large);
  const here = Buffer.concat([await photo(), Buffer.alloc(4_000_000)]).toString('base64');
  const { status } = await (await start()).postJson('/caption', { images: [here, at('photos.test')] });
  expect(status).toBe(200);
});

test.each([
  ['8.8.8.8', true],
  ['2606:4700::1111', true],
  ['127.0.0.1', false],
  ['10.1.2.3', false],
  ['172.16.0.1', false],
  ['192.168.1.1', false],
  ['169.254.169.254', false],
  ['100.64.0.1', false],
  ['192.0.0.1', false],
  ['198.18.0.1', false],
  ['224.0.0.1', false],
  ['240.0.0.1', false],
  ['255.255.255.255', false],
  ['0.0.0.0', false],
  ['::', false],
  ['::1', false],
  ['fe80::1', false],
  ['fc00::1', false],
  ['ff02::1', false],
  ['::ffff:127.0.0.1', false],
  ['::ffff:8.8.8.8', true],
  ['64:ff9b::7f00:1', false],
  ['2002:7f00:1::', false],
  ['2001:db8::1', false],
  ['not an address', false],
])('whether %s is public: %s', (address, expected) => {
  expect(isPublic(address)).toBe(expected);
});
