import type { Request } from 'express';
import { ServiceError } from '../errors';
import type { PhotoJob } from '../inference/service';
import type { ModelFacts } from '../vision-language/facts';
import type { DecodingOptions } from '../vision-language/results';
import type { Body } from './body';
import type { ApiDocument } from './openapi';
import { isUrl, type PhotoSource } from './photo-sources';
import { unknownField, violation } from './violation';

export type Task = PhotoJob['task'];

/** What a request asks for, however it was sent. */
export interface InferenceRequest {
  readonly photos: readonly PhotoSource[];
  /** Empty for captions. */
  readonly questions: readonly string[];
  readonly model: string | undefined;
  /** The answer is a list even if it has one entry. */
  readonly plural: boolean;
  /**
   * What the request leaves open is as the model has it.
   * @throws ServiceError `limit_exceeded` where it asks more than the model allows
   */
  optionsFor(model: ModelFacts): DecodingOptions;
}

/** Fields that have passed the schema; `image` and `question` are lists in forms. */
interface Fields {
  readonly image?: string | readonly string[];
  readonly images?: readonly string[];
  readonly question?: string | readonly string[];
  readonly questions?: readonly string[];
  readonly model?: string;
  readonly num_beams?: number;
  readonly num_captions?: number;
  readonly max_tokens?: number;
  readonly top_k?: number;
  readonly regions?: boolean;
  readonly explain?: boolean;
}

const SCHEMAS = {
  caption: { form: 'CaptionForm', json: 'CaptionRequest' },
  vqa: { form: 'VqaForm', json: 'VqaRequest' },
} as const;

/**
 * Holds what a request says against openapi.yaml.
 * @throws ServiceError `unknown_field`, `missing_image`, `missing_question`, `limit_exceeded`, `invalid_request`
 */
export function readInferenceRequest(
  task: Task,
  document: ApiDocument,
  body: Body,
  query: Request['query'],
): InferenceRequest {
  const given = body.kind === 'form' ? formFields(body, query) : jsonFields(body.fields, query);
  const schema = SCHEMAS[task][body.kind];
  const known = document.fieldsOf(schema);
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw unknownField(unknown, known);
  }
  const error = document.check(schema, given);
  if (error !== undefined) {
    throw violation(error);
  }
  const fields: Fields = given;
  return {
    photos: body.kind === 'form' ? body.files.map(({ bytes }) => bytes) : decodePhotos(fields),
    questions: listOf(fields.questions ?? fields.question),
    model: fields.model,
    plural: isPlural(fields.image, fields.images) || isPlural(fields.question, fields.questions),
    optionsFor: (model) => decodingOptions(fields, model),
  };
}

/** Every value is a list here, and a file stands as an empty text, as OpenAPI sees binary parts. */
function formFields({ fields, files }: Body & { kind: 'form' }, query: Request['query']): Record<string, unknown> {
  const given = new Map<string, unknown[]>();
  const add = (name: string, values: unknown): void => {
    given.set(name, [...(given.get(name) ?? []), ...(Array.isArray(values) ? (values as unknown[]) : [values])]);
  };
  for (const [name, values] of [...Object.entries(query), ...Object.entries(fields)]) {
    if (name === 'image' || name === 'images') {
      throw new ServiceError('invalid_request', `${name} holds text and must be a file (curl: -F ${name}=@photo.jpg).`);
    }
    add(name, values);
  }
  for (const { field } of files) {
    if (field === 'question' || field === 'questions') {
      throw new ServiceError('invalid_request', `${field} is a file and must be text.`);
    }
    add(field, '');
  }
  return Object.fromEntries(given);
}

function jsonFields(fields: object, query: Request['query']): object {
  if (Object.keys(query).length > 0) {
    throw new ServiceError(
      'invalid_request',
      'A JSON request has its fields in the body, and none in the query string.',
    );
  }
  return fields;
}

function decodePhotos({ image, images }: Fields): PhotoSource[] {
  const name = images === undefined ? 'image' : 'images';
  return listOf(images ?? image).map((text, index) => {
    const bytes = isUrl(text) ? text : decodeBase64(text);
    if (bytes === undefined) {
      const which = name === 'images' ? `images[${index}]` : name;
      throw new ServiceError('invalid_request', `${which} must be the photo's bytes in base64, or a base64 data URL.`);
    }
    return bytes;
  });
}

/** Each character fits in one place only, so that no text makes the search go back. */
const BASE64 = /^\s*[\w+/-][\w+/\s-]*(?:=\s*){0,2}$/;

/** Base64 in either alphabet, wrapped or not, alone or in a data URL. Blanks are left for the decoder to skip. */
function decodeBase64(text: string): Uint8Array | undefined {
  const base64 = text.replace(/^data:image\/[\w.+-]+;base64,/, '');
  return BASE64.test(base64) ? Buffer.from(base64, 'base64') : undefined;
}

function decodingOptions(fields: Fields, { defaults, limits }: ModelFacts): DecodingOptions {
  const numBeams = fields.num_beams ?? defaults.numBeams;
  const options = {
    numBeams,
    numCaptions: fields.num_captions ?? Math.min(defaults.numCaptions, numBeams),
    maxTokens: fields.max_tokens ?? defaults.maxTokens,
    topK: fields.top_k ?? defaults.topK,
    regions: fields.regions ?? defaults.regions,
    explain: fields.explain ?? defaults.explain,
  };
  const longest = Math.max(0, ...listOf(fields.questions ?? fields.question).map((text) => Array.from(text).length));
  atMost('num_beams', numBeams, limits.numBeams);
  atMost('num_captions', options.numCaptions, numBeams);
  atMost('max_tokens', options.maxTokens, limits.maxTokens);
  atMost('top_k', options.topK, limits.topK);
  atMost('The number of characters of a question', longest, limits.questionCharacters);
  return options;
}

function atMost(name: string, value: number, limit: number): void {
  if (value > limit) {
    throw new ServiceError('limit_exceeded', `${name} is ${value}, and may be ${limit} at most in this request.`);
  }
}

function isPlural(singular: string | readonly string[] | undefined, plural: readonly string[] | undefined): boolean {
  return plural !== undefined || (Array.isArray(singular) && singular.length > 1);
}

function listOf(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : value;
}
