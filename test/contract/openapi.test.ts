import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ERRORS } from '../../src/errors';
import { templateOf } from '../../src/http/openapi';
import { LIMITS } from '../../src/http/limits';
import { toProblem } from '../../src/http/problem';
import { unknownField } from '../../src/http/violation';
import { DOCUMENT, TestServer } from '../http/test-server';

const ROOT = path.join(__dirname, '../..');
const { paths, components } = DOCUMENT.content;

interface Schema {
  readonly properties: Readonly<Record<string, { readonly maxItems?: number }>>;
}
interface MediaType {
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
  readonly example?: unknown;
  readonly schema: { readonly allOf: readonly [unknown, { readonly properties: Constraints }] };
}
interface Constraints {
  readonly status: { readonly const: number };
  readonly code: { readonly enum: readonly string[] };
}

const schemas = components.schemas as unknown as Readonly<Record<string, Schema>>;
const fieldsOf = (name: string): string[] => Object.keys(schemas[name]?.properties ?? {}).sort();

test('every error of the table is documented with its status, and no other', () => {
  const documented = Object.values(components.responses).flatMap(({ content }) => {
    const { schema } = content?.['application/problem+json'] as MediaType;
    const { status, code } = schema.allOf[1].properties;
    return code.enum.map((name) => [name, status.const] as const);
  });
  const table = Object.entries(ERRORS).map(([code, { status }]) => [code, status] as const);
  expect(documented.toSorted()).toEqual(table.toSorted());
});

test('the example of an error is what the server says', () => {
  const { example } = components.responses['BadRequest']?.content?.['application/problem+json'] as MediaType;
  expect(example).toEqual(toProblem(unknownField('num_beam', fieldsOf('CaptionRequest'))));
});

test('every error of the table is raised somewhere', () => {
  const sources = readdirSync(path.join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'errors.ts')
    .map((file) => readFileSync(path.join(ROOT, 'src', file), 'utf8'))
    .join('\n');
  expect(Object.keys(ERRORS).filter((code) => !sources.includes(`'${code}'`))).toEqual([]);
});

test('every route is documented, and every documented operation is a route', async () => {
  const server = await TestServer.start();
  const routes = [server.app, server.admin].flatMap(({ router }) =>
    router.stack.flatMap(({ route }) => {
      const methods = route?.stack.map(({ method }) => method).filter(Boolean) ?? [];
      return methods.map((method) => `${method} ${templateOf(route?.path ?? '')}`);
    }),
  );
  await server.close();
  const documented = Object.entries(paths).flatMap(([route, operations]) =>
    Object.keys(operations).map((method) => `${method} ${route}`),
  );
  expect([...new Set(routes)].toSorted()).toEqual(documented.toSorted());
});

test('a form, a query string and JSON have the same fields', () => {
  const { parameters } = components as unknown as { parameters: Record<string, { name: string; in: string }> };
  const queryOf = (route: string): string[] => {
    const operation = paths[route]?.['post'] as unknown as { parameters: { $ref: string }[] };
    return operation.parameters
      .map(({ $ref }) => parameters[path.basename($ref)])
      .flatMap((parameter) => (parameter?.in === 'query' ? [parameter.name] : []));
  };
  expect(fieldsOf('CaptionForm')).toEqual(fieldsOf('CaptionRequest'));
  expect(fieldsOf('VqaForm')).toEqual(fieldsOf('VqaRequest'));
  expect(['image', 'images', ...queryOf('/caption')].toSorted()).toEqual(fieldsOf('CaptionForm'));
  expect(['image', 'images', 'questions', ...queryOf('/vqa')].toSorted()).toEqual(fieldsOf('VqaForm'));
});

test('every header that is read is documented at each of the routes', () => {
  const { parameters } = components as unknown as { parameters: Record<string, { name: string; in: string }> };
  for (const route of ['/caption', '/vqa']) {
    const operation = paths[route]?.['post'] as unknown as { parameters: { $ref: string }[] };
    const headers = operation.parameters
      .map(({ $ref }) => parameters[path.basename($ref)])
      .flatMap((parameter) => (parameter?.in === 'header' ? [parameter.name] : []));
    expect(headers.toSorted()).toEqual(fieldsOf('RequestHeaders'));
  }
});

test('the limits that the form parser needs are those of the document', () => {
  expect(schemas['VqaForm']?.properties['image']?.maxItems).toBe(LIMITS.images);
  expect(schemas['VqaForm']?.properties['question']?.maxItems).toBe(LIMITS.questions);
  const text = DOCUMENT.text.replace(/\s+/g, ' ');
  expect(text).toContain(
    `A photo may have ${LIMITS.imageBytes / 1e6} MB and 50 megapixels, a form ${LIMITS.formBytes / 1e6} MB, a JSON body ${LIMITS.jsonBytes / 1e6} MB.`,
  );
});

const examples = Object.entries(paths).flatMap(([route, operations]) =>
  Object.entries(operations).flatMap(([method, { responses }]) =>
    Object.entries(responses).flatMap(([status, response]) => {
      const content = ('content' in response ? response.content : undefined) ?? {};
      return Object.entries(content as Record<string, MediaType>).flatMap(([mediaType, { examples = {} }]) =>
        Object.entries(examples).map(([name, { value }]) => ({
          route,
          method,
          status: Number(status),
          mediaType,
          name,
          value,
        })),
      );
    }),
  ),
);

test.each(examples)('the example "$name" of $method $route is valid', ({ route, method, status, mediaType, value }) => {
  expect(DOCUMENT.checkResponse(route, method, status, mediaType, value)).toBeUndefined();
});

test('the document has the version of the package', () => {
  const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect((DOCUMENT.content as unknown as { info: { version: string } }).info.version).toBe(version);
});
