import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { goldenImage } from '../golden';
import { freePorts } from '../servers/free-ports';
import { describeWith } from '../servers/installed';
import { Proxy } from '../servers/proxy';
import { S3Server, WEED } from '../servers/s3-server';
import { CANNOT_RUN, type Ended, readRows, score, SOME_PHOTO_FAILED } from './score-process';
import { temporaryFolder } from './temporary-folder';

const at = temporaryFolder();
const out = (): string => at('results.jsonl');

/** In the order of S3, which is that of the bytes of their names. */
const PHOTOS = new Map<string, Uint8Array>([
  ['in/a b+c&d%20.jpg', goldenImage('exif-1.jpg')],
  ['in/more/b.webp', goldenImage('animated.webp')],
  ['in/two\nlines "🐕" =1+1.png', goldenImage('grey.png')],
  ['in/ä.jpg', goldenImage('exif-6.jpg')],
]);
const BYTES_OVER_LIMIT = 20e6 + 1;

/** Seven photos, one of them large. */
async function shardOf(number: number): Promise<Uint8Array> {
  const tar = pack();
  ['large.jpg', 'exif-1.jpg', 'grey.png', 'exif-6.jpg', 'palette.png', 'animated.webp', 'transparent.png'].forEach(
    (name, n) => tar.entry({ name: `${number}${n}${path.extname(name)}` }, Buffer.from(goldenImage(name))),
  );
  tar.finalize();
  return buffer(tar);
}

describeWith(WEED)('photos in a store that speaks S3', () => {
  let server: S3Server;

  beforeAll(async () => {
    server = await S3Server.start();
    const others = [
      ['in/notes.txt', Buffer.from('no photo')],
      ['in2/c.jpg', goldenImage('exif-2.jpg')],
      ['in2/d.jpg', goldenImage('large.jpg')],
      ['large.jpg', new Uint8Array(BYTES_OVER_LIMIT)],
    ] as const;
    await server.fill('photos', new Map([...PHOTOS, ...others]));
  });

  afterAll(() => server.stop());

  const run = (args: readonly string[], environment: Record<string, string> = {}): Promise<Ended> =>
    score([...args, '--out', out()], { environment: { ...server.environment(), ...environment } });

  const listOf = (...names: readonly string[]): string => {
    writeFileSync(at('list'), names.join('\0'));
    return at('list');
  };

  test('those below a prefix give what the same files in a folder give, in the order of their keys', async () => {
    for (const [key, bytes] of PHOTOS) {
      mkdirSync(path.dirname(at('photos', key)), { recursive: true });
      writeFileSync(at('photos', key), bytes);
    }
    const files = [...PHOTOS.keys()].map((key) => at('photos', key));
    await score([listOf(...files), '-0', '--out', at('expected.jsonl')]);
    const { code, said } = await run(['s3://photos/in/']);
    expect([code, said]).toEqual([0, expect.stringContaining('4/4 photos, 0 failed')]);
    const addressed = readRows(at('expected.jsonl')).map((row, n) => ({
      ...row,
      image: `s3://photos/${[...PHOTOS.keys()][n] ?? ''}`,
    }));
    expect(readRows(out())).toEqual(addressed);
  });

  test('a bucket of more than a page gives every photo once', async () => {
    const keys = Array.from({ length: 1_003 }, (_, n) => `${String(n).padStart(5, '0')}.jpg`);
    await server.fill('many', new Map(keys.map((key) => [key, new Uint8Array()])));
    expect((await run(['s3://many', '--batch-size', '100'])).code).toBe(SOME_PHOTO_FAILED);
    expect(readRows(out()).map(({ image }) => image)).toEqual(keys.map((key) => `s3://many/${key}`));
  });

  test('names in a list are found below a prefix; missing and oversized ones are broken items', async () => {
    const list = listOf('in/ä.jpg', 'none.jpg', 's3://no-such-bucket/a.jpg', 'large.jpg', 'in/more/b.webp');
    expect((await run([list, '-0', '--images', 's3://photos/'])).code).toBe(SOME_PHOTO_FAILED);
    const cannotBeRead = (why: string): unknown => ({
      code: 'undecodable_image',
      detail: `The file cannot be read: ${why}.`,
    });
    expect(readRows(out()).map(({ image, caption, problem }) => [image, typeof caption, problem])).toEqual([
      ['s3://photos/in/ä.jpg', 'string', undefined],
      ['s3://photos/none.jpg', 'undefined', cannotBeRead('The specified key does not exist')],
      ['s3://no-such-bucket/a.jpg', 'undefined', cannotBeRead('The specified bucket does not exist')],
      [
        's3://photos/large.jpg',
        'undefined',
        { code: 'image_too_large', detail: `The file has ${BYTES_OVER_LIMIT} bytes; 20000000 are the limit.` },
      ],
      ['s3://photos/in/more/b.webp', 'string', undefined],
    ]);
  });

  test.each([
    ['a bucket that is not there', 's3://no-such-bucket', {}, 'cannot be listed: The specified bucket does not exist.'],
    ['a prefix of nothing', 's3://photos/im/', {}, 'There are no photos below s3://photos/im/.'],
    ['a wrong secret', 's3://photos', { AWS_SECRET_ACCESS_KEY: 'x' }, /s3:\/\/photos cannot be listed: .*signature/],
    ['no region', 's3://photos', { AWS_REGION: '' }, 's3://photos cannot be listed: Region'],
  ])('%s is a sentence and no output', async (_what, input, environment, sentence) => {
    const { code, said } = await run([input], environment);
    expect(said).toMatch(sentence);
    expect(said).not.toMatch(/^\s+at /m);
    expect(code).toBe(CANNOT_RUN);
    expect(() => readFileSync(out())).toThrow('ENOENT');
  });

  test('a secret that is wrong, or a store that is gone, ends the run and fails no photo; it goes on later', async () => {
    const list = listOf(...[...PHOTOS.keys()].map((key) => `s3://photos/${key}`));
    const args = [list, '-0', '--batch-size', '1'];
    await run(args);
    const unbroken = readFileSync(out(), 'utf8');
    // As a run that was killed behind its first batch.
    const [header = '', first = ''] = readFileSync(`${out()}.journal`, 'utf8').split('\n');
    writeFileSync(`${out()}.journal`, `${header}\n${first}\n`);
    rmSync(out());

    const [port = 0] = await freePorts(1);
    const gone = { AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`, AWS_MAX_ATTEMPTS: '2' };
    for (const [environment, reason] of [
      [{ AWS_SECRET_ACCESS_KEY: 'x' }, /error: s3:\/\/photos\/in\/.* cannot be read: .*signature/s],
      [gone, /error: s3:\/\/photos\/in\/.* cannot be read: connect ECONNREFUSED 127\.0\.0\.1:\d+\./s],
    ] as const) {
      const { code, said } = await run(args, environment);
      expect([code, said]).toEqual([CANNOT_RUN, expect.stringMatching(reason)]);
    }
    const { code, printed } = await run([...args, '--json']);
    expect([code, JSON.parse(printed)]).toEqual([0, expect.objectContaining({ items: 4, scored: 4, resumed: 1 })]);
    expect(readFileSync(out(), 'utf8')).toBe(unbroken);
  });

  test('one whose connection is cut in its middle is asked for again', async () => {
    const proxy = await Proxy.start(Number(new URL(server.endpoint).port), { maxBytes: 20_000, maxCuts: 2 });
    const { code } = await run([listOf('s3://photos/in2/d.jpg'), '-0'], {
      AWS_ENDPOINT_URL: `http://127.0.0.1:${proxy.port}`,
    });
    await proxy.stop();
    expect([code, proxy.cuts]).toEqual([0, 2]);
  });

  describe('in shards', () => {
    const shards = ['part-08.tar', 'part-09.tar', 'part-10.tar'];
    const run = (proxied: Record<string, string>, input = 's3://shards/part-{08..10}.tar'): Promise<Ended> =>
      score([input, '--out', at('out.jsonl'), '--batch-size', '4', '--json'], {
        environment: { ...server.environment(), ...proxied },
      });

    let archives: ReadonlyMap<string, Uint8Array>;

    beforeAll(async () => {
      archives = new Map(await Promise.all(shards.map(async (name, n) => [name, await shardOf(n)] as const)));
      await server.fill('shards', archives);
    });

    beforeEach(async () => {
      for (const [name, archive] of archives) {
        writeFileSync(at(name), archive);
      }
      await score([at('part-{08..10}.tar'), '--out', at('local.jsonl'), '--batch-size', '4']);
    });

    const expected = (): string =>
      readFileSync(at('local.jsonl'), 'utf8').replaceAll(`"${at('part')}`, '"s3://shards/part');

    test('they give what the same files in a folder give', async () => {
      const { code, printed } = await run({});
      expect([code, JSON.parse(printed)]).toEqual([0, expect.objectContaining({ items: 21, scored: 21 })]);
      expect(readFileSync(at('out.jsonl'), 'utf8')).toBe(expected());
    });

    test('a connection that is cut goes on behind what has come', async () => {
      const proxy = await Proxy.start(Number(new URL(server.endpoint).port), { maxBytes: 50_000 });
      const { code } = await run({ AWS_ENDPOINT_URL: `http://127.0.0.1:${proxy.port}` });
      await proxy.stop();
      expect(code).toBe(0);
      // Shards of more than 50 kB, each read twice.
      expect(proxy.cuts).toBeGreaterThanOrEqual(2 * shards.length);
      expect(readFileSync(at('out.jsonl'), 'utf8')).toBe(expected());
    });

    test('one that is missing is a sentence', async () => {
      const { code, said } = await run({}, 's3://shards/part-{10..11}.tar');
      expect([code, said]).toEqual([
        CANNOT_RUN,
        expect.stringContaining('s3://shards/part-11.tar cannot be read: The specified key does not exist.'),
      ]);
    });
  });

  test('no sidecar is written there, and nothing is begun', async () => {
    const { code, said } = await run(['s3://photos/in2/', '--sidecar', 'txt']);
    const sentence = 's3://photos/in2/c.jpg lies where no sidecar is written; leave --sidecar out.';
    expect([code, said]).toEqual([CANNOT_RUN, expect.stringContaining(sentence)]);
    expect(() => readFileSync(`${out()}.journal`)).toThrow('ENOENT');
  });
});
