import { createHash } from 'node:crypto';
import { photo } from '../photos';
import { form, TestServer } from './test-server';

let server: TestServer;
let jpeg: Buffer;
let base64: string;

beforeAll(async () => {
  server = await TestServer.start();
  jpeg = await photo();
  base64 = jpeg.toString('base64');
});
afterAll(() => server.close());
beforeEach(() => {
  server.service.jobs.length = 0;
});

const DEFAULTS = { numBeams: 5, numCaptions: 1, maxTokens: 18, topK: 4, regions: false, explain: false };

describe('a caption arrives in every form', () => {
  const RAW = { 'Content-Type': 'image/jpeg' };
  const ways: [string, () => Promise<unknown>][] = [
    ['a form', () => server.post('/caption', form(['image', jpeg], ['num_beams', '3'], ['regions', 'true']))],
    [
      'a form and a query string',
      () => server.post('/caption?num_beams=3', form(['image', jpeg], ['regions', 'true'])),
    ],
    ['a raw body', () => server.post('/caption?num_beams=3&regions=true', new Uint8Array(jpeg), RAW)],
    ['JSON with base64', () => server.postJson('/caption', { image: base64, num_beams: 3, regions: true })],
    [
      'JSON with a data URL',
      () => server.postJson('/caption', { image: `data:image/jpeg;base64,${base64}`, num_beams: 3, regions: true }),
    ],
    [
      'JSON with a blank behind each character of its base64',
      () => server.postJson('/caption', { image: base64.replace(/./g, '$& '), num_beams: 3, regions: true }),
    ],
    [
      'JSON with wrapped base64',
      () => server.postJson('/caption', { image: base64.replace(/.{76}/g, '$&\n'), num_beams: 3, regions: true }),
    ],
  ];

  test.each(ways)('%s', async (_name, send) => {
    expect(await send()).toMatchObject({
      status: 200,
      type: 'application/json',
      body: {
        model: 'photos@1.0.0',
        caption: 'caption 0 of 3 beams and 18 tokens',
        score: 0.5,
        log_probability: -1,
        width: 12,
        height: 8,
        regions: [{ box: [0, 0, 4, 4], label: 'dog', attribute: 'brown', score: 0.9 }],
      },
    });
    expect(server.service.jobs).toEqual([
      {
        task: 'caption',
        model: 'photos@1.0.0',
        image: expect.anything() as unknown,
        options: { ...DEFAULTS, numBeams: 3, regions: true },
        priority: 'interactive',
        turn: expect.anything() as unknown,
      },
    ]);
    expect(Buffer.from(server.service.jobs[0]?.image ?? []).equals(jpeg)).toBe(true);
  });
});

describe('captions', () => {
  test('no option given: those of the bundle, and no alternatives and regions', async () => {
    const { body } = await server.post('/caption', form(['image', jpeg]));
    expect(body).toEqual({
      model: 'photos@1.0.0',
      caption: 'caption 0 of 5 beams and 18 tokens',
      score: 0.5,
      log_probability: -1,
      width: 12,
      height: 8,
    });
  });

  test('three captions asked for: the other two are alternatives, best first', async () => {
    const { body } = await server.postJson('/caption', { image: base64, num_captions: 3 });
    expect(body).toMatchObject({
      log_probability: -1,
      alternatives: [
        { caption: 'caption 1 of 5 beams and 18 tokens', score: 0.5, log_probability: -2 },
        { caption: 'caption 2 of 5 beams and 18 tokens', score: 0.5, log_probability: -3 },
      ],
    });
  });

  test('explained: the words come with their weights and the regions', async () => {
    const { body } = await server.postJson('/caption', { image: base64, explain: true });
    expect(body).toMatchObject({ words: [{ word: 'caption', weights: [1] }], regions: [{ label: 'dog' }] });
  });

  test('two photos: results in the order sent', async () => {
    const wide = await photo('png');
    const { body } = await server.post('/caption', form(['image', jpeg], ['image', wide]));
    expect(body).toMatchObject({ model: 'photos@1.0.0', results: [{ image: 0 }, { image: 1 }] });
    expect(server.service.jobs.map(({ image }) => image[0])).toEqual([0xff, 0x89]);
  });

  test('one photo in the plural field: results of one', async () => {
    const asForm = await server.post('/caption', form(['images', jpeg]));
    const asJson = await server.postJson('/caption', { images: [base64] });
    expect(asForm.body).toMatchObject({ results: [{ image: 0, caption: expect.any(String) as unknown }] });
    expect(asJson.body).toEqual(asForm.body);
  });

  test('one damaged photo among three: a problem in its place, and the others stand', async () => {
    const damaged = Buffer.from('no photo at all').toString('base64');
    const { status, body } = await server.postJson('/caption', { images: [base64, damaged, base64] });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      results: [
        { image: 0, caption: expect.any(String) as unknown },
        { image: 1, problem: { code: 'unsupported_image_format', status: 415 } },
        { image: 2, caption: expect.any(String) as unknown },
      ],
    });
  });

  test('one damaged photo alone, even in the plural field: an error of the request', async () => {
    const damaged = jpeg.subarray(0, jpeg.length / 2).toString('base64');
    expect(await server.postJson('/caption', { images: [damaged] })).toMatchObject({
      status: 422,
      body: { code: 'undecodable_image' },
    });
  });

  test.each(['photos', 'photos@1.0.0'])('the model named as %s is found', async (model) => {
    expect(await server.postJson('/caption', { image: base64, model })).toMatchObject({ status: 200 });
  });
});

describe('answers', () => {
  test('one photo and one question: its answers, as many as asked for', async () => {
    const { body } = await server.post('/vqa', form(['image', jpeg], ['question', 'what is it?'], ['top_k', '2']));
    expect(body).toEqual({
      model: 'photos@1.0.0',
      question: 'what is it?',
      answers: [
        { answer: 'answer 0', score: 1 },
        { answer: 'answer 1', score: 0.5 },
      ],
      width: 12,
      height: 8,
    });
  });

  test('a raw photo with its question in the query string', async () => {
    const { body } = await server.post('/vqa?question=is%20it%20red%3F', new Uint8Array(jpeg), {
      'Content-Type': 'image/png',
    });
    expect(body).toMatchObject({ question: 'is it red?' });
  });

  test('two photos and two questions: photo by photo, question by question', async () => {
    const { body } = await server.postJson('/vqa', { images: [base64, base64], questions: ['a?', 'b?'] });
    expect(body).toMatchObject({
      results: [
        { image: 0, question: 'a?' },
        { image: 0, question: 'b?' },
        { image: 1, question: 'a?' },
        { image: 1, question: 'b?' },
      ],
    });
    expect(server.service.jobs).toHaveLength(2);
  });

  test('several questions in a form: a list; one in the plural field: a list of one', async () => {
    const two = await server.post('/vqa', form(['image', jpeg], ['question', 'a?'], ['question', 'b?']));
    const one = await server.postJson('/vqa', { image: base64, questions: ['a?'] });
    expect(two.body).toMatchObject({ results: [{ question: 'a?' }, { question: 'b?' }] });
    expect(one.body).toMatchObject({ results: [{ image: 0, question: 'a?' }] });
  });

  test('a damaged photo among two: a problem for each of its questions', async () => {
    const { body } = await server.postJson('/vqa', { images: ['AAAA', base64], questions: ['a?', 'b?'] });
    expect(body).toMatchObject({
      results: [
        { image: 0, question: 'a?', problem: { status: 415 } },
        { image: 0, question: 'b?', problem: { status: 415 } },
        { image: 1, question: 'a?', answers: expect.any(Array) as unknown },
        { image: 1, question: 'b?', answers: expect.any(Array) as unknown },
      ],
    });
  });

  test('explained: the weights of the regions', async () => {
    const { body } = await server.postJson('/vqa', { image: base64, question: 'a?', explain: true });
    expect(body).toMatchObject({ weights: [1], regions: [{ label: 'dog' }] });
  });
});

test('the priority comes by a header', async () => {
  const send = (priority: string) =>
    server.post('/caption', new Uint8Array(jpeg), { 'Content-Type': 'image/jpeg', 'X-Priority': priority });
  expect(await send('bulk')).toMatchObject({ status: 200 });
  expect(server.service.jobs).toMatchObject([{ priority: 'bulk' }]);
  expect(await send('urgent')).toMatchObject({
    status: 400,
    body: { code: 'invalid_request', detail: 'X-Priority must be one of interactive, bulk.' },
  });
});

describe('a server that keeps what it has seen of photos', () => {
  let keeping: TestServer;
  beforeAll(async () => {
    keeping = await TestServer.start({ sharesPhotos: true });
  });
  afterAll(() => keeping.close());

  test('names each photo by its bytes, and says which it knew', async () => {
    const png = await photo('png');
    keeping.service.cached = ({ image }) => image.length === png.length;
    const { headers, body } = await keeping.post('/caption', form(['image', jpeg], ['image', png]));
    expect(headers.get('x-cache')).toBe('miss, hit');
    expect(JSON.stringify(body)).not.toContain('cached');
    const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('base64');
    expect(keeping.service.jobs).toMatchObject([{ sha256: sha256(jpeg) }, { sha256: sha256(png) }]);
  });

  test('a server that keeps nothing says nothing', async () => {
    const { headers } = await server.post('/caption', form(['image', jpeg]));
    expect(headers.get('x-cache')).toBeNull();
    expect(server.service.jobs[0]).not.toHaveProperty('sha256');
  });
});
