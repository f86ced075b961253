import { readFileSync } from 'node:fs';
import type { ErrorObject, Options, ValidateFunction } from 'ajv';
import Ajv2020 from 'ajv/dist/2020';
import { parse } from 'yaml';

/** The part of a schema that the server itself looks at. */
interface ObjectSchema {
  readonly properties: Readonly<Record<string, unknown>>;
}

interface MediaTypes {
  readonly content?: Readonly<Record<string, unknown>>;
}

export interface Operation {
  readonly responses: Readonly<Record<string, { readonly $ref: string } | MediaTypes>>;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, ObjectSchema>>;
    readonly responses: Readonly<Record<string, MediaTypes>>;
  };
}

/** Responses where there is no operation, as the document's introduction says. */
const WITHOUT_OPERATION: Operation['responses'] = {
  400: { $ref: '#/components/responses/BadRequest' },
  404: { $ref: '#/components/responses/NotFound' },
  405: { $ref: '#/components/responses/MethodNotAllowed' },
};

export type RequestSchema = 'CaptionForm' | 'CaptionRequest' | 'VqaForm' | 'VqaRequest' | 'RequestHeaders';

/** What comes in these is text, whatever it stands for. */
const OF_TEXT: ReadonlySet<RequestSchema> = new Set(['CaptionForm', 'VqaForm', 'RequestHeaders']);

/** Id under which the validators know the document. */
const DOCUMENT = 'openapi.yaml';

/** A route's pattern as the document writes it: `/models/:name` -> `/models/{name}`. */
export function templateOf(route: string): string {
  return route.replace(/:(\w+)/g, '{$1}');
}

/** `openapi.yaml`: what is served, and what requests and responses are held against. */
export class ApiDocument {
  readonly text: string;
  readonly content: Document;
  /** JSON says what type a value has. */
  private readonly strict: Ajv2020;
  /** A form, a query string and headers are text only: "5" is a number and one value may be a list. */
  private readonly coercing: Ajv2020;

  constructor(file: string) {
    this.text = readFileSync(file, 'utf8');
    this.content = parse(this.text) as Document;
    const options: Options = {
      strict: true,
      // `oneOf: [required: [image], required: [images]]` names properties of the schema around it.
      strictRequired: false,
      verbose: true,
      formats: { binary: true, uri: true },
      // The document as a whole is compiled as a schema too, which by these keywords allows anything.
      keywords: ['openapi', 'info', 'servers', 'tags', 'paths', 'components'],
    };
    this.strict = new Ajv2020(options);
    this.coercing = new Ajv2020({ ...options, coerceTypes: 'array' });
    for (const validator of [this.strict, this.coercing]) {
      validator.addSchema(this.content, DOCUMENT, false);
    }
  }

  fieldsOf(schema: RequestSchema): readonly string[] {
    return Object.keys(this.content.components.schemas[schema]?.properties ?? {});
  }

  /** @returns the outermost error, or nothing; values that came as text are turned into their types in place. */
  check(schema: RequestSchema, fields: object): ErrorObject | undefined {
    const validator = OF_TEXT.has(schema) ? this.coercing : this.strict;
    const validate = compiled(validator, `#/components/schemas/${schema}`);
    return validate(fields) ? undefined : validate.errors?.at(-1);
  }

  /** @returns what is wrong with a response, or nothing. */
  checkResponse(path: string, method: string, status: number, mediaType: string, body: unknown): string | undefined {
    const operation = this.content.paths[path]?.[method.toLowerCase()];
    const documented = (operation?.responses ?? WITHOUT_OPERATION)[status];
    if (documented === undefined) {
      return `${method} ${path} has no documented response ${status}.`;
    }
    const [place, response] =
      '$ref' in documented
        ? [documented.$ref, this.content.components.responses[lastOf(documented.$ref)]]
        : [`#${pointer('paths', path, method.toLowerCase(), 'responses', status)}`, documented];
    if (response?.content?.[mediaType] === undefined) {
      return `${method} ${path} has no documented ${mediaType} for ${status}.`;
    }
    const validate = compiled(this.strict, `${place}${pointer('content', mediaType, 'schema')}`);
    return validate(body) ? undefined : `${method} ${path} ${status}: ${this.strict.errorsText(validate.errors)}`;
  }
}

function compiled(ajv: Ajv2020, reference: string): ValidateFunction {
  const validate = ajv.getSchema(`${DOCUMENT}${reference}`);
  if (validate === undefined) {
    throw new Error(`openapi.yaml has no ${reference}`);
  }
  return validate;
}

function pointer(...keys: readonly (string | number)[]): string {
  return keys.map((key) => `/${encodeURIComponent(String(key).replaceAll('~', '~0').replaceAll('/', '~1'))}`).join('');
}

function lastOf(reference: string): string {
  return reference.slice(reference.lastIndexOf('/') + 1);
}
