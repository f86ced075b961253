import { photo, pngClaiming, SVG } from '../photos';
import { type Answer, form, TestServer } from './test-server';

let server: TestServer;
let jpeg: Buffer;

beforeAll(async () => {
  server = await TestServer.start();
  jpeg = await photo();
});
afterAll(() => server.close());

const JSON_TYPE = { 'Content-Type': 'application/json' };
const json = (fields: unknown, path = '/caption') => server.postJson(path, fields);
const file = (bytes: Uint8Array) => server.post('/caption', form(['image', bytes]));
const raw = (bytes: Uint8Array, type: string, query = '') =>
  server.post(`/caption${query}`, new Uint8Array(bytes), { 'Content-Type': type });
const vqa = (...questions: string[]) =>
  server.post('/vqa', form(['image', jpeg], ...questions.map((question) => ['question', question] as const)));
const base64 = () => jpeg.toString('base64');
const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

type Row = [circumstance: string, send: () => Promise<Answer>, status: number, code: string, detail: RegExp];

const IMAGES: Row[] = [
  ['empty file in a form', () => file(Buffer.alloc(0)), 422, 'undecodable_image', /empty/],
  ['empty raw body', () => raw(Buffer.alloc(0), 'image/jpeg'), 422, 'undecodable_image', /empty/],
  ['truncated JPEG', () => file(jpeg.subarray(0, jpeg.length / 2)), 422, 'undecodable_image', /damaged/],
  [
    'PNG that claims 50000 x 50000',
    async () => file(await pngClaiming(50_000, 50_000)),
    413,
    'image_too_large',
    /50000/,
  ],
  ['SVG', () => raw(SVG, 'image/svg+xml'), 415, 'unsupported_image_format', /SVG/],
  ['SVG named as PNG', () => raw(SVG, 'image/png'), 415, 'unsupported_image_format', /SVG/],
  ['text named as JPEG', () => file(Buffer.from('Dear sir or madam')), 415, 'unsupported_image_format', /JPEG, PNG/],
  ['30 MB file in a form', () => file(Buffer.alloc(30_000_000)), 413, 'image_too_large', /20 MB/],
  ['30 MB raw body', () => raw(Buffer.alloc(30_000_000), 'image/jpeg'), 413, 'image_too_large', /20 MB/],
  [
    '66 MB form',
    () => server.post('/caption', form(...times(6, ['image', Buffer.alloc(11_000_000)] as const))),
    413,
    'body_too_large',
    /64 MB/,
  ],
  ['13 MB of JSON', () => json({ image: 'A'.repeat(13_000_000) }), 413, 'body_too_large', /send a form/],
  ['base64 that is not', () => json({ image: 'h€llo' }), 400, 'invalid_request', /base64/],
  [
    '11 MB of blanks that end in something else',
    () => json({ image: `A${' '.repeat(11_000_000)}€` }),
    400,
    'invalid_request',
    /base64/,
  ],
  ['base64 with its end in the middle', () => json({ image: 'AAA=AAAA' }), 400, 'invalid_request', /base64/],
  [
    'a URL in place of a photo, where no host is allowed',
    () => json({ images: ['https://a.example/b.jpg'] }),
    400,
    'image_url_refused',
    /fetches no photos/,
  ],
  [
    'seventeen photos',
    () => server.post('/caption', form(...times(17, ['image', jpeg] as const))),
    400,
    'limit_exceeded',
    /16/,
  ],
  ['seventeen photos in JSON', () => json({ images: times(17, base64()) }), 400, 'limit_exceeded', /17 times.*16/],
  [
    'image and images together',
    () => json({ image: base64(), images: [base64()] }),
    400,
    'invalid_request',
    /together/,
  ],
  [
    'image as text of a form',
    () => server.post('/caption', form(['image', 'photo.jpg'])),
    400,
    'invalid_request',
    /-F image=@/,
  ],
  ['image in the query string', () => raw(jpeg, 'image/jpeg', '?image=x'), 400, 'invalid_request', /file/],
];

const FIELDS: Row[] = [
  ['no body', () => server.post('/caption', null), 400, 'missing_image', /no body/],
  [
    'form without a photo',
    () => server.post('/caption', form(['num_beams', '2'])),
    400,
    'missing_image',
    /neither image/,
  ],
  ['JSON without a photo', () => json({}), 400, 'missing_image', /neither image/],
  ['no photo in the list', () => json({ images: [] }), 400, 'missing_image', /empty/],
  ['question missing', () => vqa(), 400, 'missing_question', /neither question/],
  ['question of blanks', () => vqa('  '), 400, 'missing_question', /question\[0\] is empty/],
  ['seventeen questions', () => vqa(...times(17, 'why?')), 400, 'limit_exceeded', /17 times.*16/],
  ['two hundred questions', () => vqa(...times(200, 'why?')), 400, 'limit_exceeded', /16 questions/],
  [
    'two hundred questions in JSON',
    () => json({ image: base64(), questions: times(200, 'why?') }, '/vqa'),
    400,
    'limit_exceeded',
    /200.*16/,
  ],
  ['question of 257 characters', () => vqa('?'.repeat(257)), 400, 'limit_exceeded', /256/],
  ['question of 5 kB', () => vqa('?'.repeat(5_000)), 400, 'limit_exceeded', /question/],
  [
    'question as a file',
    () => server.post('/vqa', form(['image', jpeg], ['question', jpeg])),
    400,
    'invalid_request',
    /text/,
  ],
  [
    'unknown field in a form',
    () => server.post('/caption', form(['image', jpeg], ['num_beam', '2'])),
    400,
    'unknown_field',
    /"num_beams"/,
  ],
  ['unknown file in a form', () => server.post('/caption', form(['imgae', jpeg])), 400, 'unknown_field', /"image"/],
  [
    'unknown field in a query string',
    () => raw(jpeg, 'image/jpeg', '?max_token=3'),
    400,
    'unknown_field',
    /"max_tokens"/,
  ],
  ['unknown field in JSON', () => json({ image: base64(), num_captoins: 2 }), 400, 'unknown_field', /"num_captions"/],
  [
    'a name that objects inherit',
    () => server.post('/caption', '{"__proto__":{"image":"AAAA"}}', JSON_TYPE),
    400,
    'unknown_field',
    /__proto__/,
  ],
  [
    'nested name',
    () => server.post('/caption', form(['image', jpeg], ['num_beams[a][b]', '2'])),
    400,
    'invalid_request',
    /name/,
  ],
  ['name of 200 characters', () => server.post('/caption', form(['x'.repeat(200), '2'])), 400, 'unknown_field', /100/],
  [
    'fields of the query string with JSON',
    () => server.post('/caption?num_beams=2', '{"image":"AAAA"}', JSON_TYPE),
    400,
    'invalid_request',
    /in the body/,
  ],
];

const OPTIONS: Row[] = [
  [
    'num_beams of -1',
    () => json({ image: base64(), num_beams: -1 }),
    400,
    'limit_exceeded',
    /num_beams is -1.*1 at least/,
  ],
  [
    'num_beams of a billion',
    () => json({ image: base64(), num_beams: 1e9 }),
    400,
    'limit_exceeded',
    /1000000000.*8 at most/,
  ],
  [
    'num_beams of a billion in a form',
    () => server.post('/caption', form(['image', jpeg], ['num_beams', '1000000000'])),
    400,
    'limit_exceeded',
    /8 at most/,
  ],
  [
    'num_beams of 2.5',
    () => json({ image: base64(), num_beams: 2.5 }),
    400,
    'invalid_request',
    /num_beams must be a whole number/,
  ],
  [
    'num_beams as text in JSON',
    () => json({ image: base64(), num_beams: '2' }),
    400,
    'invalid_request',
    /whole number/,
  ],
  ['num_beams that is empty', () => raw(jpeg, 'image/jpeg', '?num_beams='), 400, 'invalid_request', /whole number/],
  [
    'num_beams twice',
    () => raw(jpeg, 'image/jpeg', '?num_beams=2&num_beams=3'),
    400,
    'invalid_request',
    /more than once/,
  ],
  [
    'more captions than beams',
    () => json({ image: base64(), num_beams: 2, num_captions: 3 }),
    400,
    'limit_exceeded',
    /num_captions is 3.*2 at most/,
  ],
  [
    'more captions than default beams',
    () => json({ image: base64(), num_captions: 6 }),
    400,
    'limit_exceeded',
    /num_captions is 6.*5 at most/,
  ],
  ['max_tokens of 21', () => json({ image: base64(), max_tokens: 21 }), 400, 'limit_exceeded', /20 at most/],
  [
    'top_k of 21',
    () => json({ image: base64(), question: 'why?', top_k: 21 }, '/vqa'),
    400,
    'limit_exceeded',
    /20 at most/,
  ],
  ['num_beams beyond the bundle', () => json({ image: base64(), num_beams: 8 }), 400, 'limit_exceeded', /7 at most/],
  [
    'max_tokens beyond the bundle',
    () => json({ image: base64(), max_tokens: 20 }),
    400,
    'limit_exceeded',
    /19 at most/,
  ],
  [
    'top_k beyond the bundle',
    () => json({ image: base64(), question: 'why?', top_k: 20 }, '/vqa'),
    400,
    'limit_exceeded',
    /19 at most/,
  ],
  ['question longer than the bundle allows', () => vqa('?'.repeat(256)), 400, 'limit_exceeded', /256.*255 at most/],
  [
    'regions that is no truth value',
    () => raw(jpeg, 'image/jpeg', '?regions=yes'),
    400,
    'invalid_request',
    /true or false/,
  ],
  ['unknown model', () => json({ image: base64(), model: 'photos@9' }), 404, 'model_not_found', /photos@1\.0\.0/],
];

const BODIES: Row[] = [
  ['broken JSON', () => server.post('/caption', '{"image": "AA', JSON_TYPE), 400, 'invalid_json', /not valid JSON/],
  ['JSON that is a list', () => json([1, 2]), 400, 'invalid_request', /object/],
  [
    'JSON in a strange charset',
    () => server.post('/caption', '{}', { 'Content-Type': 'application/json; charset=klingon' }),
    415,
    'unsupported_media_type',
    /charset/,
  ],
  [
    'body that is packed',
    () => server.post('/caption', '{}', { ...JSON_TYPE, 'Content-Encoding': 'gzip' }),
    415,
    'unsupported_media_type',
    /without a Content-Encoding/,
  ],
  [
    'form that breaks off',
    () =>
      server.post('/caption', '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb', {
        'Content-Type': 'multipart/form-data; boundary=x',
      }),
    400,
    'invalid_request',
    /malformed/,
  ],
  [
    'form without a boundary',
    () => server.post('/caption', 'x', { 'Content-Type': 'multipart/form-data' }),
    400,
    'invalid_request',
    /malformed/,
  ],
  [
    'content type of a web form',
    () => server.post('/caption', 'image=x', { 'Content-Type': 'application/x-www-form-urlencoded' }),
    415,
    'unsupported_media_type',
    /multipart\/form-data/,
  ],
  ['path that does not exist', () => server.post('/captions', null), 404, 'not_found', /\/docs/],
  ['path that is not percent-encoded', () => server.get('/docs/%E0%A4%A'), 404, 'not_found', /path/],
  ['parameter that is not', () => server.get('/v2/models/%E0%A4%A/ready'), 404, 'not_found', /percent-encoded/],
  [
    'range that a file does not have',
    () => server.get('/docs/swagger-ui.css', { headers: { Range: 'bytes=99999999-' } }),
    400,
    'invalid_request',
    /cannot be understood/,
  ],
  ['wrong method', () => server.get('/caption'), 405, 'method_not_allowed', /POST/],
  ['wrong method for a page', () => server.post('/models', null), 405, 'method_not_allowed', /GET/],
];

describe.each([
  ['images', IMAGES],
  ['fields', FIELDS],
  ['options', OPTIONS],
  ['bodies', BODIES],
])('%s', (_group, rows) => {
  test.each(rows)('%s', async (_circumstance, send, status, code, detail) => {
    expect(await send()).toMatchObject({
      status,
      type: 'application/problem+json',
      body: { status, code, type: `urn:distillvlm:problem:${code}`, detail: expect.stringMatching(detail) as unknown },
    });
    expect(await file(jpeg)).toMatchObject({ status: 200 });
  });
});

test('a method that is not allowed is told those that are', async () => {
  const { headers } = await server.get('/vqa');
  expect(headers.get('allow')).toBe('POST');
});

test('nothing of what a client sent is logged', async () => {
  await json({ image: base64(), secret_field: 'secret value' });
  await server.post('/vqa?question=secret%20question', new Uint8Array(jpeg), { 'Content-Type': 'image/jpeg' });
  await server.get('/secret-path?secret=1');
  await server.get('/v2/models/secret%E0%A4%A/ready');
  expect(server.log.length).toBeGreaterThan(2);
  expect(server.log.join()).not.toContain('secret');
});
