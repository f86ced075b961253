import type { ErrorObject } from 'ajv';
import { closest } from 'fastest-levenshtein';
import { ServiceError } from '../errors';
import { LIMITS } from './limits';

/** An error for a field that does not exist, which names the nearest one that does. */
export function unknownField(given: string, known: readonly string[]): ServiceError {
  const name = given.slice(0, LIMITS.fieldNameBytes);
  const nearest = closest(name, known);
  return new ServiceError('unknown_field', `There is no field "${name}" here; the nearest is "${nearest}".`);
}

/** Says in a sentence in what way a request breaks its schema; of values it repeats numbers alone. */
export function violation({ keyword, instancePath, params, schema, data }: ErrorObject): ServiceError {
  const name = fieldName(instancePath);
  const limit = String(schema);
  switch (keyword) {
    case 'oneOf':
      return notExactlyOne(schema as readonly { required: readonly [string] }[], params['passingSchemas'] !== null);
    case 'maximum':
    case 'minimum':
      return limitExceeded(`${name} is ${String(data)}, and may be ${limit} at ${extreme(keyword)}.`);
    case 'maxLength':
      return limitExceeded(`${name} is longer than ${limit} characters.`);
    case 'maxItems':
      return limitExceeded(`${name} is given ${(data as unknown[]).length} times, and may be ${limit} times at most.`);
    case 'minItems':
    case 'minLength':
    case 'pattern':
      return missing(name, `${name} is empty.`);
    case 'enum':
      return new ServiceError('invalid_request', `${name} must be one of ${(schema as string[]).join(', ')}.`);
    case 'type':
      return Array.isArray(data)
        ? new ServiceError('invalid_request', `${name} is given more than once.`)
        : new ServiceError('invalid_request', `${name} must be ${TYPES[limit] ?? limit}.`);
    default:
      throw new Error(`openapi.yaml limits a request by "${keyword}", for which there is no sentence`);
  }
}

const TYPES: Readonly<Record<string, string>> = {
  integer: 'a whole number',
  boolean: 'true or false',
  string: 'a text',
  array: 'a list',
};

/** `/questions/3` -> `questions[3]`. */
function fieldName(instancePath: string): string {
  return instancePath.slice(1).replace(/\/(\d+)$/, '[$1]');
}

function extreme(keyword: 'maximum' | 'minimum'): string {
  return keyword === 'maximum' ? 'most' : 'least';
}

function limitExceeded(detail: string): ServiceError {
  return new ServiceError('limit_exceeded', detail);
}

/** The schemas' only alternatives are the singular and the plural of a field. */
function notExactlyOne(alternatives: readonly { required: readonly [string] }[], both: boolean): ServiceError {
  const names = alternatives.map(({ required: [name] }) => name);
  return both
    ? new ServiceError('invalid_request', `${names.join(' and ')} are given together; send one of them.`)
    : missing(names[0] ?? '', `The request has neither ${names.join(' nor ')}.`);
}

function missing(name: string, detail: string): ServiceError {
  return new ServiceError(name.startsWith('question') ? 'missing_question' : 'missing_image', detail);
}
